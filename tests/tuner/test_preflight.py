"""What can't work fails at once with one sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.test_arguments import store
from tuner import preflight
from tuner.cluster.ray_cluster import Node, Share
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage

CPU_NODE, GPU_NODE = Node(8, 0, 16), Node(16, 4, 64)


def config(storage: Path, **more: Any) -> SearchConfig:
    return SearchConfig(name="r", storage=str(storage), **more)


def run(storage: Path) -> RunStorage:
    return RunStorage(str(storage), "r")


def test_a_storage_that_is_not_there_yet_is_made_and_left_empty(tmp_path: Path) -> None:
    preflight.check_storage(run(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/no-such-place", "/dev/null"])
def test_a_storage_that_takes_no_files_is_told(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    storage = tmp_path / where
    with pytest.raises(
        ValueError, match=re.escape(f"--storage {storage} can't be written (")
    ) as error:
        preflight.check_storage(run(storage))
    assert str(error.value).endswith(": give another directory")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    code = f"""
import resource, tempfile
from tuner import preflight
from tuner.storage.run_storage import RunStorage
tempfile.gettempdir()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
preflight.check_storage(RunStorage({str(tmp_path)!r}, "r"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"UsageError: --storage {tmp_path} can't be written (File too large)" in done.stderr


@pytest.mark.parametrize("where", ["experiments", "tables"])
def test_a_taken_name_is_told_with_the_way_to_go_on(tmp_path: Path, where: str) -> None:
    if where == "experiments":
        (tmp_path / "experiments" / "r" / "session-001").mkdir(parents=True)
    else:
        store(tmp_path, config(tmp_path))
    with pytest.raises(
        ValueError, match=r"--name r: .* already has a run of that name; .*--resume r$"
    ):
        preflight.check_storage(run(tmp_path))
    preflight.check_storage(run(tmp_path), resumes=True)
    preflight.check_storage(RunStorage(str(tmp_path), "other"))


def test_an_empty_resume_does_not_open_a_taken_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a run's name is made of letters"):
        config(tmp_path, resume="")


HOLDER = """
import sys
from tuner.preflight import lock_run
from tuner.storage.run_storage import RunStorage
lock = lock_run(RunStorage(sys.argv[1], "r"))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_run_that_another_process_searches_is_locked_until_that_process_ends(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            ValueError,
            match="the run r is being searched by another process: wait for it or stop it",
        ):
            preflight.lock_run(run(tmp_path))
        preflight.lock_run(RunStorage(str(tmp_path), "other")).release()
        holder.kill()
        holder.wait()
    preflight.lock_run(run(tmp_path)).release()


def test_a_lock_leaves_the_name_of_the_run_free(tmp_path: Path) -> None:
    preflight.lock_run(run(tmp_path)).release()
    preflight.check_storage(run(tmp_path))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_wandb_online_without_a_key_is_told(home: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"--wandb online needs a key, .* `wandb login` first, or --wandb offline"
    ):
        preflight.check_wandb(config(tmp_path, wandb="online"))


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_without_going_online_no_key_is_needed(home: Path, tmp_path: Path, mode: str) -> None:
    preflight.check_wandb(config(tmp_path, wandb=mode))


def test_a_key_in_the_environment_or_in_netrc_will_do(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = home / ".netrc"
    netrc.write_text("machine elsewhere login user password 1234\n")
    netrc.chmod(0o600)
    with pytest.raises(ValueError, match="needs a key"):
        preflight.check_wandb(config(tmp_path, wandb="online"))
    netrc.write_text("machine api.wandb.ai login user password 1234\n")
    preflight.check_wandb(config(tmp_path, wandb="online"))
    netrc.unlink()
    monkeypatch.setenv("WANDB_API_KEY", "1234")
    preflight.check_wandb(config(tmp_path, wandb="online"))


def test_waiting_for_nodes_without_a_cluster_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="--wait-for-nodes 2: without --address there is one node; leave"
    ):
        preflight.check_waiting(config(tmp_path, wait_for_nodes=2))
    preflight.check_waiting(config(tmp_path, wait_for_nodes=2, address="auto"))
    preflight.check_waiting(config(tmp_path))


@pytest.mark.parametrize(
    ("asked", "nodes", "gpus"),
    [
        (None, [CPU_NODE], 0),
        (None, [CPU_NODE, GPU_NODE], 0.25),
        (0.0, [GPU_NODE], 0),
        (2.0, [GPU_NODE], 2),
    ],
)
def test_a_worker_gets_the_gpu_share_that_is_asked_or_a_quarter_where_there_are_any(
    tmp_path: Path, asked: float | None, nodes: list[Node], gpus: float
) -> None:
    settings = config(tmp_path, gpus_per_trial=asked, cpus_per_trial=2, memory_gib_per_trial=1.5)
    assert preflight.trial_share(settings, nodes) == Share(2, gpus, 1.5)


def test_each_worker_of_a_group_gets_a_gpu_of_its_own_where_there_are_any(tmp_path: Path) -> None:
    settings = config(tmp_path, workers_per_trial=2)
    assert preflight.trial_share(settings, [CPU_NODE]).gpus == 0
    assert preflight.trial_share(settings, [GPU_NODE]).gpus == 1


@pytest.mark.parametrize(
    ("asked", "nodes", "fits"),
    [
        ({}, [CPU_NODE], 8),
        ({}, [CPU_NODE, CPU_NODE, Node(0, 0, 16)], 16),
        ({"cpus_per_trial": 5}, [CPU_NODE, CPU_NODE], 2),
        ({"gpus_per_trial": 0.4}, [GPU_NODE], 8),
        ({"gpus_per_trial": 0.4}, [GPU_NODE, CPU_NODE], 8),
        ({"gpus_per_trial": 0.25, "cpus_per_trial": 2}, [GPU_NODE], 8),
        ({"workers_per_trial": 3}, [CPU_NODE, CPU_NODE], 5),
        ({"memory_gib_per_trial": 6}, [CPU_NODE, CPU_NODE], 4),
        ({"concurrency": 8}, [CPU_NODE], 8),
    ],
)
def test_trials_at_once_are_counted_node_by_node(
    tmp_path: Path, asked: dict[str, Any], nodes: list[Node], fits: int
) -> None:
    settings = config(tmp_path, **asked)
    assert preflight.trials_at_once(settings, preflight.trial_share(settings, nodes), nodes) == fits


@pytest.mark.parametrize(
    ("asked", "nodes", "told"),
    [
        (
            {"gpus_per_trial": 0.5},
            [CPU_NODE],
            "--gpus-per-trial 0.5: there are no GPUs in the cluster; leave",
        ),
        (
            {"gpus_per_trial": 8},
            [GPU_NODE] * 2,
            "no node has more than 4 GPUs; give at most --gpus-per-trial 4",
        ),
        ({"cpus_per_trial": 9}, [CPU_NODE] * 2, "--cpus-per-trial 9: no node has more than 8 CPUs"),
        (
            {"memory_gib_per_trial": 99},
            [CPU_NODE],
            "--memory-gib-per-trial 99: no node has more than 16 GiB",
        ),
        (
            {"cpus_per_trial": 8, "gpus_per_trial": 1},
            [CPU_NODE, Node(4, 1, 16)],
            "no single node has the CPUs, GPUs",
        ),
        (
            {"workers_per_trial": 2, "gpus_per_trial": 0.5},
            [GPU_NODE],
            "0.5: two workers of a trial would share a GPU",
        ),
        (
            {"workers_per_trial": 9},
            [CPU_NODE],
            "has room for 8; give at most --workers-per-trial 8",
        ),
        (
            {"concurrency": 9},
            [CPU_NODE],
            "--concurrency 9: 8 trials fit at once; give at most --concurrency 8",
        ),
        (
            {"concurrency": 5, "workers_per_trial": 2},
            [CPU_NODE],
            "--concurrency 5: 4 trials fit at once",
        ),
    ],
)
def test_what_ray_would_wait_for_for_ever_is_told(
    tmp_path: Path, asked: dict[str, Any], nodes: list[Node], told: str
) -> None:
    settings = config(tmp_path, **asked)
    with pytest.raises(ValueError, match=re.escape(told)):
        preflight.trials_at_once(settings, preflight.trial_share(settings, nodes), nodes)
