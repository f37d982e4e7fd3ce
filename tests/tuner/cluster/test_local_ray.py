"""Ray that is slow to start on this machine is waited for; one that never comes ends it."""

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.util
from ray.exceptions import AuthenticationError

from analysis.console import Console
from tests.paths import ROOT
from tests.tuner.conftest import Command
from tuner.cluster import connect, local_ray
from tuner.cluster.local_ray import PATIENCE, RayStartError

COMES_LATE = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
import psutil
from analysis.console import Console
from tuner.cluster import connect, local_ray, watch

connect.prepare_environment(verbose=False)
local_ray.prepare_environment(dashboard=False)
import ray
from ray._private import node, services

late, may_come = sys.argv[1:]
get_node = services.get_node


def ask(*where):
    try:
        return get_node(*where)
    except RuntimeError:
        Path(may_come).touch()
        raise


services.RAYLET_EXECUTABLE, services.get_node = late, ask
# On Ray's own clock its 30 s are over at once
node.time = SimpleNamespace(**{**vars(time), "monotonic": lambda: 1000 * time.monotonic()})
local_ray.SLOW_SEC = 0


def end(process):
    print(process, "has ended", flush=True)
    os._exit(7)


with watch.Watch(watch.Children().missing, end):
    local_ray.start(Console(), dashboard=False, verbose=False)
    print(ray.is_initialized(), flush=True)
    gcs, = (child for child in psutil.Process().children() if child.name() == "gcs_server")
    gcs.kill()
    time.sleep(60)
"""
TOLD_PORTS = (
    "metrics-agent-port",
    "metrics_export_port",
    "runtime_env_agent_port",
    "dashboard_agent_listen_port",
)
DIES = """
import sys
from ray._private import services
from tuner.run import main

services.RAYLET_EXECUTABLE = sys.argv.pop(1)
sys.exit(main())
"""


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, **PATIENCE},  # which Ray reads when it is imported
        capture_output=True,
        text=True,
    )


def script(path: Path, *lines: str) -> str:
    """Write a script named raylet, as Ray's own process is."""
    path.mkdir()
    raylet = path / "raylet"
    raylet.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    raylet.chmod(0o755)
    return str(raylet)


def test_a_raylet_that_comes_late_is_waited_for_with_a_line_and_a_gcs_that_dies_is_noticed(
    tmp_path: Path,
) -> None:
    """Its agents may come late too: it gives those 15 s whose ports it is not told."""
    from ray._private.services import RAYLET_EXECUTABLE

    may_come = tmp_path / "may-come"
    late = script(
        tmp_path / "late",
        f'until [ -e "{may_come}" ]; do sleep 0.1; done',
        *(f'case "$*" in *--{port}=[1-9]*) ;; *) exit 3 ;; esac' for port in TOLD_PORTS),
        f'exec {RAYLET_EXECUTABLE} "$@"',
    )
    done = run_python(COMES_LATE, late, str(may_come))
    slow = "Ray is slow to start on this machine; waiting up to 5 minutes for it"
    printed = f"{slow}\nTrue\ngcs_server has ended\n"
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 7)


def test_a_raylet_that_dies_ends_the_command_with_one_sentence_and_status_1(
    few_images: tuple[str, ...], tmp_path: Path
) -> None:
    dead = script(tmp_path / "dead", "exit 1")
    done = run_python(DIES, dead, "--storage", str(tmp_path / "results"), *few_images)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: Ray does not start on this machine (its process raylet has ended); its logs are in "
    )
    assert done.stderr.count("\n") == 1


def test_what_does_not_answer_in_minutes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def silent(question: str) -> None:
        asked.append(question)
        raise RuntimeError("not yet")

    monkeypatch.setattr(local_ray, "_lives", lambda process: len(asked) < 3)
    monkeypatch.setattr(local_ray, "POLL_SEC", 0)
    with pytest.raises(RayStartError, match="its process gcs_server has ended"):
        local_ray._patiently(silent, "gcs_server", time.monotonic() + 1e6)("port?")
    assert asked == ["port?"] * 3
    asked.clear()
    with pytest.raises(RayStartError, match="gcs_server has not answered in 5 minutes"):
        local_ray._patiently(silent, "gcs_server", 0)("port?")


def test_where_the_token_has_no_place_the_sentence_says_what_to_type(
    command: Command, few_images: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", "/proc/nowhere")
    status, output = command.call(*few_images)
    assert (status, output) == (
        1,
        "error: Ray keeps its token in ~/.ray/auth_token, which can't be made (No such file or "
        "directory): put HOME=DIRECTORY before the command, with one that can be written\n",
    )


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize(
    ("directory", "reason"),
    [("/proc/nowhere", "No such file or directory"), (100 * "d", "AF_UNIX path length cannot")],
)
def test_a_place_that_takes_no_sockets_of_rays_is_named_with_the_cure(
    command: Command,
    few_images: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    directory: str,
    reason: str,
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / directory))
    status, output = command.call(*few_images)
    assert status == 1
    assert output.startswith("error: Ray does not start on this machine (")
    assert reason in output
    assert f"{tmp_path / directory}/ray: put {variable}=/tmp before the command" in output
    assert output.count("\n") == 1


def test_a_token_file_that_is_not_there_is_named_with_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_token(**_: object) -> None:
        raise AuthenticationError(
            "RAY_AUTH_TOKEN_PATH is set but file cannot be opened: /x. Ensure"
        )

    monkeypatch.setattr(connect, "init", no_token)
    sentence = (
        "(RAY_AUTH_TOKEN_PATH is set but file cannot be opened: /x); unset RAY_AUTH_TOKEN_PATH, "
        "and it takes the token in ~/.ray/auth_token"
    )
    with pytest.raises(RayStartError, match=re.escape(sentence)):
        local_ray.start(Console(), dashboard=False, verbose=False)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("the minimum allowed is 78643200 bytes."), "(the minimum allowed is 78643200"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "(Cannot allocate memory); its logs are"),
        (OSError(errno.EMFILE, "Too many open files"), "(Too many open files); its logs are in "),
        (RuntimeError("can't start new thread"), "(can't start new thread); its logs are in "),
    ],
)
def test_where_there_is_no_memory_the_sentence_says_to_try_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def no_memory(**_: object) -> None:
        raise error

    monkeypatch.setattr(connect, "init", no_memory)
    with pytest.raises(RayStartError) as raised:
        local_ray.start(Console(), dashboard=False, verbose=False)
    assert sentence in str(raised.value)
    assert str(raised.value).endswith("the command again when there is memory, and less runs here")


def test_a_cluster_of_ones_own_takes_a_port_that_is_free_whatever_the_environment_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_GCS_SERVER_PORT": "6379"})
    local_ray.prepare_environment(dashboard=False)
    assert "RAY_GCS_SERVER_PORT" not in os.environ


def test_where_a_process_of_ray_dies_on_a_full_disk_the_sentence_names_the_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ends(**_: object) -> None:
        raise RayStartError("its process gcs_server has ended")

    monkeypatch.setattr(connect, "init", ends)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    with pytest.raises(RayStartError, match=r"put TMPDIR=/tmp before the command, .* has room"):
        local_ray.start(Console(), dashboard=False, verbose=False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, None),
        ({"http_proxy": "http://p:9"}, "localhost,127.0.0.1,10.1.2.3"),
        (
            {"HTTPS_PROXY": "http://p:9", "no_proxy": "a.b, 127.0.0.1", "NO_PROXY": ".c"},
            "a.b,127.0.0.1,.c,localhost,10.1.2.3",
        ),
        ({"http_proxy": "http://p:9", "no_proxy": "*"}, "*"),
    ],
)
def test_no_request_to_this_machine_goes_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: str | None
) -> None:
    monkeypatch.setattr(os, "environ", dict(before))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.1.2.3")
    local_ray._go_round_proxies()
    assert os.environ.get("no_proxy") == after
    if after != "*":
        assert os.environ.get("NO_PROXY") == after


SLIM = """
import os, sys, time
import psutil
from analysis.console import Console
from tuner.cluster import connect, local_ray
from tuner.trials import tune_run
from ray.tune.execution.class_cache import _ActorClassCache


class Trial:
    def process(self):
        return os.getpid()


def processes():
    found = {}
    for one in psutil.Process().children(recursive=True):
        try:
            found[one.pid] = " ".join(one.cmdline())
        except psutil.Error:
            pass
    return found


connect.prepare_environment(verbose=False)
local_ray.prepare_environment(dashboard=False)
local_ray.start(Console(), dashboard=False, verbose=False)
while not (ahead := [pid for pid, line in processes().items() if line.startswith("ray::IDLE")]):
    time.sleep(0.1)
import ray

tune_run._take_processes_that_are_there()
trial = _ActorClassCache().get(Trial).remote()
print(ray.get(trial.process.remote()) in ahead, end=" ")
lines = " ".join(processes().values())
print([name for name in ("raylet", "gcs_server", "monitor.py", "dashboard.py") if name in lines])
"""


def test_ray_starts_without_what_nobody_asks_and_trials_take_processes_that_it_started_ahead() -> (
    None
):
    done = run_python(SLIM)
    assert done.stdout.splitlines()[-1:] == ["True ['raylet', 'gcs_server']"], done.stderr


WATCHED = """
import atexit, os, sys, threading

UNUSED = "aiohttp", "ray.air.integrations.wandb", "ray.air.integrations.mlflow"


def new_variable(event, args):
    if event == "os.putenv" and threading.active_count() > 1:
        name = args[0].decode()
        if name not in os.environ:
            print("new:", name, flush=True)


sys.addaudithook(new_variable)
atexit.register(lambda: print("imported:", [name for name in UNUSED if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, few_images: tuple[str, ...]) -> str:
    """What a search prints that tells of variables which come late, and of modules."""
    directory = tmp_path_factory.mktemp("watched")
    (directory / "sitecustomize.py").write_text(WATCHED)
    ours = {*connect.QUIET, *connect.BEHAVIOUR, *PATIENCE, *local_ray.AHEAD} - {"RAY_AUTH_MODE"}
    before = {name: value for name, value in os.environ.items() if name not in ours}
    flags = "--model separable --samples 1 --max-epochs 1 --images 64 --timing none --storage"
    ended = subprocess.run(
        [sys.executable, "-m", "tuner.run", *flags.split(), str(directory), *few_images],
        env={**before, "PYTHONPATH": f"{directory}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Best: trial 0" in ended.stdout
    return ended.stdout


CLAIMED = """
import os, sys
from trainables.errors import UsageError
from tuner import run
from tuner.cluster import connect, local_ray


def claim(*_, **__):
    print("missing:", {*connect.BEHAVIOUR, *local_ray.PATIENCE} - os.environ.keys())
    raise UsageError("another has the run")


run.claim_run = claim
sys.exit(run.main(sys.argv[1:]))
"""


def test_what_ray_reads_is_in_the_environment_before_a_bucket_has_its_threads(
    tmp_path: Path, few_images: tuple[str, ...]
) -> None:
    ours = {*connect.BEHAVIOUR, *PATIENCE} - {"RAY_AUTH_MODE"}
    ended = subprocess.run(
        [sys.executable, "-c", CLAIMED, "--storage", str(tmp_path), *few_images],
        env={name: value for name, value in os.environ.items() if name not in ours},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (2, "missing: set()\n"), ended.stderr


def test_no_variable_comes_into_the_environment_while_threads_may_read_it(watched: str) -> None:
    assert "new:" not in watched


def test_a_search_imports_nothing_that_only_rays_dashboard_and_statistics_need(
    watched: str,
) -> None:
    assert watched.splitlines()[-1] == "imported: []"
