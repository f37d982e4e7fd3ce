"""What can't work is refused with one sentence; what can becomes a plan."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file

from analysis.tables.parameters import space_text, spaces_text
from tests.trainables.made_up import vgg16
from tests.tuner.few_images import write_few_images
from tests.tuner.test_arguments import store
from trainables.data import decoding
from trainables.data.examples import Splits
from trainables.errors import UsageError
from trainables.losses.loss_settings import Perceptual
from trainables.losses.vgg16_weights import Vgg16
from trainables.networks.cnn import CNN
from trainables.networks.fc import FC
from trainables.networks.registry import NETWORKS
from trainables.networks.separable import Separable
from trainables.tasks import Task
from trainables.training.loop import TrainingConfig
from trainables.training.network_facts import NetworkFacts
from trainables.training.try_out import TryOut
from tuner import gpu_memory
from tuner.cluster.nodes import Growth, Node, WorkerResources
from tuner.plan import (
    EACH_ON_CPU,
    EACH_ON_GPU,
    Plan,
    asked_flags,
    check_early,
    completed,
    load,
    make_plan,
    slots_for,
    spaces_of,
    worker_resources,
)
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage

CPU_NODE, GPU_NODE = Node(8, 0, 16), Node(16, 4, 64)


def config(**more: Any) -> SearchConfig:
    return SearchConfig(**{"name": "r", "data": "photos", **more})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_images_are_read_at_the_size_asked_for_with_a_line_of_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "QUIET_SEC", 0.0)
    for number in range(4):
        Image.new("RGB", (90, 70)).save(tmp_path / f"{number}.png")
    lines: list[str] = []
    images = check_early(config(data=str(tmp_path), image_size=(20, 30)), lines.append)
    assert images.train.shape == (3, 3, 20, 30)
    assert lines[0].startswith("images read: 1 of 4, about ")


def test_wandb_online_without_a_key_is_told(home: Path) -> None:
    sentence = (
        r"--wandb online: W&B is not logged in \(No API key configured\. .*\); "
        r"type `wandb login` first, or --wandb offline"
    )
    with pytest.raises(UsageError, match=sentence):
        check_early(config(wandb="online"))


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_without_going_online_no_key_is_needed(home: Path, mode: str) -> None:
    check_early(config(wandb=mode))


@pytest.mark.parametrize("host", ["api.wandb.ai", "my.host:8080"])
def test_a_key_will_do_wherever_wandb_itself_keeps_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    keys, key = home / ".netrc", "0" * 40
    if host == "my.host:8080":
        keys = home / "keys of another host"
        monkeypatch.setenv("NETRC", str(keys))
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(home))
        (home / "settings").write_text(f"[default]\nbase_url = http://{host}\n")
    keys.write_text(f"machine {host}\n  login user\n  password {key}\n")
    check_early(config(wandb="online"))


def test_warnings_that_would_end_rays_processes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning")
    with pytest.raises(UsageError, match="would end there; unset PYTHONWARNINGS"):
        check_early(config())
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    check_early(config())


def test_waiting_for_nodes_without_a_cluster_is_told() -> None:
    with pytest.raises(
        UsageError, match="--wait-for-nodes 2: without --address there is one node; leave"
    ):
        check_early(config(wait_for_nodes=2))
    check_early(config(wait_for_nodes=2, address="auto"))
    check_early(config())


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"start": ("lr=abc",)}, "--start lr=abc: learning_rate of fc is a number, "),
        ({"start": ("hiden=64",)}, "--start hiden=64: fc has no hyperparameter 'hiden'; it has "),
        ({"start": ("lr=0.5",)}, "--start lr=0.5: learning_rate of fc is 0.0001 to 0.01 (log) "),
        ({"start": ("size=3",), "model": "auto"}, "size=3: fc has no hyperparameter 'size'; it "),
    ],
)
def test_a_point_that_no_network_has_is_told_before_ray_starts(
    more: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        check_early(config(**more))


def test_points_that_a_network_has_pass_and_those_of_own_networks_wait_for_their_process() -> None:
    check_early(config(start=("lr=0.5",), ranges={"learning_rate": (0.1, 1.0)}))
    check_early(config(model="auto", start=("lr=1e-3", "terms=2")))
    check_early(config(model="tests.tuner.own_networks:Mine", start=("lr=abc",)))


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
    asked: float | None, nodes: list[Node], gpus: float
) -> None:
    settings = config(gpus_per_trial=asked, cpus_per_trial=2, memory_gib_per_trial=1.5)
    assert worker_resources(settings, nodes) == WorkerResources(2, gpus, 1.5)


def test_each_worker_of_a_group_gets_a_gpu_of_its_own_where_there_are_any() -> None:
    settings = config(workers_per_trial=2)
    assert worker_resources(settings, [CPU_NODE]).gpus == 0
    assert worker_resources(settings, [GPU_NODE]).gpus == 1


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
    asked: dict[str, Any], nodes: list[Node], fits: int
) -> None:
    settings = config(**asked)
    assert slots_for(settings, worker_resources(settings, nodes), nodes) == fits


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
    asked: dict[str, Any], nodes: list[Node], told: str
) -> None:
    settings = config(**asked)
    with pytest.raises(UsageError, match=re.escape(told)):
        slots_for(settings, worker_resources(settings, nodes), nodes)


def of(network: Any) -> dict[str, NetworkFacts]:
    return {network.__name__.lower(): NetworkFacts.of(network)}


def test_completion_takes_the_networks_own_budget_by_whether_there_are_gpus() -> None:
    def complete(gpus: float) -> SearchConfig:
        return completed(
            SearchConfig(model="cnn"), of(CNN), gpus=gpus, data="photos", train_images=30_000
        )

    cpu, gpu = complete(0), complete(2)
    assert (cpu.images, cpu.samples, cpu.max_epochs) == (2048, 6, 6)
    assert (gpu.images, gpu.samples, gpu.max_epochs) == (30_000, 32, 30)
    assert (cpu.data, cpu.batch_size, cpu.concurrency) == ("photos", 256, None)


def test_completion_keeps_what_was_asked() -> None:
    asked = {"images": 7, "samples": 8, "max_epochs": 9, "batch_size": 10, "concurrency": 2}
    complete = completed(SearchConfig(**asked), of(FC), gpus=1, data="d", train_images=100)
    assert {name: getattr(complete, name) for name in asked} == asked


def test_completion_never_asks_for_more_images_than_there_are_nor_fewer_epochs_than_grace() -> None:
    complete = completed(
        SearchConfig(model="cnn", grace_epochs=50), of(CNN), gpus=0, data="d", train_images=100
    )
    assert (complete.images, complete.max_epochs) == (100, 50)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"ranges": {"dropout": (0, 0.1)}},
            "--dropout: separable has no dropout; leave the flag out",
        ),
        (
            {"set": ("hidden=32:64",)},
            "--set hidden=32:64: separable has no hyperparameter 'hidden'; it has learning_rate, "
            "patience, weight_decay, schedule",
        ),
        ({"set": ("patience=a,b",)}, "--set patience=a,b: patience is a whole number"),
    ],
)
def test_a_hyperparameter_that_the_network_does_not_have_is_refused(
    asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as error:
        spaces_of(SearchConfig(model="separable", **asked), of(Separable))
    assert str(error.value) == told


def test_a_completed_search_has_the_defaults_of_its_loss_and_mse_alone_has_none() -> None:
    more = {"gpus": 0.0, "data": "photos", "train_images": 2000}
    config = completed(SearchConfig(loss="perceptual", perceptual_size=64), of(FC), **more)
    assert config.perceptual == replace(Perceptual(), size=64)
    assert (config.perceptual_layers, config.perceptual_size, config.vgg_weights) == (
        (2, 7, 14, 21, 28),
        64,
        "IMAGENET1K_V1",
    )
    assert completed(SearchConfig(), of(FC), **more).vgg_weights is None


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_few_images(tmp_path_factory.mktemp("few") / "images"))


def loaded(asked: SearchConfig) -> tuple[Vgg16 | None, Splits, dict[str, NetworkFacts]]:
    with TryOut(asked.model) as network:
        return load(asked, check_early(asked), None, network, print)


def planned(few: str, storage: Path, **more: Any) -> Plan:
    asked = config(data=few, storage=str(storage), **more)
    return make_plan(asked, RunStorage(str(storage), "r"), loaded(asked), [CPU_NODE], Growth())


def test_a_plan_has_complete_settings_the_images_that_are_used_and_what_a_trial_gets(
    few: str, tmp_path: Path
) -> None:
    plan = planned(few, tmp_path, model="separable", images=100, cpus_per_trial=2)
    assert (plan.resources, plan.slots, plan.nodes) == (WorkerResources(2, 0, 0), 4, [CPU_NODE])
    assert (len(plan.data.train), plan.available_images, plan.config.samples) == (100, 216, 16)
    assert (plan.earlier, plan.vgg, plan.gpu_memory) == (None, None, [])


def test_without_a_budget_each_network_of_auto_gets_a_few_short_trials(
    few: str, tmp_path: Path
) -> None:
    plan = planned(few, tmp_path, model="auto")
    complete = plan.config
    assert complete.samples == len(plan.networks) * EACH_ON_CPU["samples"]
    assert (complete.max_epochs, complete.images) == (EACH_ON_CPU["max_epochs"], 216)
    assert {name: one["batch_size"] for name, one in plan.training.items()} == {
        name: facts.habits.batch_size for name, facts in plan.networks.items()
    }
    more = {"gpus": 0.0, "data": "photos", "train_images": 39_000}
    assert (
        completed(SearchConfig(model="auto"), plan.networks, **more).images == EACH_ON_CPU["images"]
    )
    on_gpu = completed(SearchConfig(model="auto"), plan.networks, **more | {"gpus": 1.0})
    assert on_gpu.samples == len(plan.networks) * EACH_ON_GPU["samples"]
    assert (on_gpu.max_epochs, on_gpu.images) == (EACH_ON_GPU["max_epochs"], 39_000)


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        ({}, ""),
        ({"model": "auto", "seed": 0, "finalists": 3}, ""),
        (
            {
                "model": "separable",
                "ranges": {"learning_rate": (1e-3, 1e-2)},
                "start": ("lr=2e-3",),
            },
            "",
        ),
        (
            {
                "images": 100,
                "samples": 7,
                "max_epochs": 1,
                "threshold": 0.9,
                "image_size": (40, 50),
            },
            "--images 100 --image-size 40 50 --samples 7 --max-epochs 1 --threshold 0.9",
        ),
        (
            {"pipeline": "median", "rank_by": "psnr", "scheduler": "none"},
            "--pipeline median --scheduler none --rank-by psnr",
        ),
        (
            {"loss": "tests.trainables.own_losses:absolute_error"},
            "--loss tests.trainables.own_losses:absolute_error",
        ),
    ],
)
def test_what_was_asked_beside_network_and_images_can_be_asked_again(
    few: str, tmp_path: Path, asked: dict[str, Any], flags: str
) -> None:
    assert asked_flags(planned(few, tmp_path, **asked), "auto") == flags.split()


def test_fewer_trials_than_auto_takes_are_not_asked_of_it(few: str, tmp_path: Path) -> None:
    plan = planned(few, tmp_path, samples=4)
    assert asked_flags(plan, "separable") == ["--samples", "4"]
    assert asked_flags(plan, "auto") == []


def test_a_cluster_that_may_grow_counts_as_far_as_it_may(few: str, tmp_path: Path) -> None:
    asked = config(data=few, storage=str(tmp_path), address="auto", gpus_per_trial=0)
    head = Node(0, 0, 8, head=True)
    storage = RunStorage(str(tmp_path), "r")
    plan = make_plan(asked, storage, loaded(asked), [head], Growth((CPU_NODE,) * 3, limit=2))
    assert (plan.slots, plan.nodes) == (16, [head, CPU_NODE, CPU_NODE])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"images": 999_999}, "999,999 images were asked for, but the train split of"),
        ({"model": "separable", "ranges": {"dropout": (0, 0.1)}}, "separable has no dropout"),
        ({"cpus_per_trial": 512}, "--cpus-per-trial 512: no node has more than 8 CPUs"),
        ({"gpus_per_trial": 1}, "--gpus-per-trial 1: there are no GPUs in the cluster; leave"),
    ],
)
def test_what_does_not_fit_the_machine_the_network_or_the_images_is_refused(
    few: str, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as error:
        planned(few, tmp_path, **asked)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"pipeline": "study"}, "--pipeline study gives 4 channels; give --loss mse"),
        ({"pairs": "films", "data": "auto"}, "--pairs films gives 4 channels"),
    ],
)
def test_outputs_that_vgg16_does_not_take_are_told_with_what_made_them(
    few: str, tmp_path: Path, source: dict[str, str], told: str
) -> None:
    _, data, network = loaded(config(data=few))
    task = replace(data.task, output_shape=(4, 28, 28))
    asked = config(loss="perceptual", **source)
    given = (None, replace(data, task=task), network)
    with pytest.raises(UsageError, match=f"grey or three colours, and {told}"):
        make_plan(asked, RunStorage(str(tmp_path), "r"), given, [CPU_NODE], Growth())


def test_mistakes_of_the_weights_and_of_the_network_are_told_together(
    few: str, tmp_path: Path
) -> None:
    class Misfit(TryOut):
        def facts(self, task: Task) -> dict[str, NetworkFacts]:
            raise UsageError("the network 'own:Net' can't be imported")

    (tmp_path / "weights").write_text("no weights")
    weights = {"loss": "perceptual", "vgg_weights": str(tmp_path / "weights")}
    asked = config(data=few, **weights)
    with pytest.raises(UsageError) as error:
        load(asked, check_early(asked), None, Misfit("fc"), print)
    first, second = str(error.value).splitlines()
    assert first.startswith(f"--vgg-weights {tmp_path}/weights")
    assert second == "the network 'own:Net' can't be imported"


def test_a_network_that_can_not_be_trained_here_is_refused_unless_trials_have_gpus(
    few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def measured(*_: Any, problem: str, **__: Any) -> list[str]:
        told.append(problem)
        return []

    monkeypatch.setattr(gpu_memory, "check", measured)
    asked = config(data=few, storage=str(tmp_path))
    vgg, data, facts = loaded(asked)
    problem = "--model own:Net can't be trained: no kernel here"
    tried = vgg, data, {"fc": replace(facts["fc"], problem=problem)}
    storage = RunStorage(str(tmp_path), "r")
    with pytest.raises(UsageError, match="can't be trained: no kernel here"):
        make_plan(asked, storage, tried, [CPU_NODE], Growth())
    make_plan(asked, storage, tried, [GPU_NODE], Growth())
    assert told == [problem]


def test_where_no_network_of_auto_fits_it_says_why_of_each(few: str, tmp_path: Path) -> None:
    asked = config(data=few, storage=str(tmp_path), model="auto")
    vgg, data, facts = loaded(asked)
    unfit = {
        name: replace(one, problem=f"{name} is no use; give fc") for name, one in facts.items()
    }
    reasons = "; ".join(f"{name} is no use" for name in NETWORKS)
    with pytest.raises(UsageError, match=f"^--model auto: no network fits: {reasons}$"):
        make_plan(asked, RunStorage(str(tmp_path), "r"), (vgg, data, unfit), [CPU_NODE], Growth())


def test_auto_leaves_out_what_has_no_room_on_the_gpu_and_gives_the_others_their_share(
    few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: set[str] = {"cnn"}

    def measured(training: TrainingConfig, *_: Any, **__: Any) -> list[str]:
        if training.model in full:
            raise UsageError(f"a step of {training.model} runs out of memory; give less")
        return ["A trial needs little"]

    monkeypatch.setattr(gpu_memory, "check", measured)
    asked = config(data=few, storage=str(tmp_path), model="auto")
    tried = loaded(asked)
    storage = RunStorage(str(tmp_path), "r")
    plan = make_plan(asked, storage, tried, [GPU_NODE], Growth())
    fitting = [name for name, facts in tried[2].items() if not facts.problem]
    others = [name for name in fitting if name != "cnn"]
    assert list(plan.networks) == list(plan.spaces) == others
    assert plan.left_out["cnn"] == "a step of cnn runs out of memory; give less"
    assert plan.gpu_memory == [f"{name}: A trial needs little" for name in others]
    assert plan.config.samples == len(others) * EACH_ON_GPU["samples"]

    parts = (plan.data.train, plan.data.validation, plan.data.test)
    store(
        tmp_path,
        asked,
        space=spaces_text({name: space.parameters for name, space in plan.spaces.items()}),
        probe_outputs=plan.data.probes,
        **{f"{part.split}_fingerprint": part.fingerprint for part in parts},
    )
    again = make_plan(replace(asked, resume="r"), storage, tried, [GPU_NODE], Growth())
    assert again.earlier is not None
    assert list(again.networks) == others

    full.update(others)
    with pytest.raises(UsageError, match=rf"^a step of {fitting[0]} runs out of memory; give less"):
        make_plan(asked, storage, tried, [GPU_NODE], Growth())
    alone = config(data=few, storage=str(tmp_path), model="cnn")
    with pytest.raises(UsageError, match=r"^a step of cnn runs out of memory; give less"):
        make_plan(alone, storage, loaded(alone), [GPU_NODE], Growth())


@pytest.mark.parametrize("other", ["train", "validation", "test"])
def test_a_run_that_goes_on_with_other_images_is_refused(
    few: str, tmp_path: Path, other: str
) -> None:
    plan = planned(few, tmp_path)
    data = plan.data
    prints: dict[str, Any] = {
        "space": space_text(plan.spaces["fc"].parameters),
        "probe_outputs": data.probes,
    }
    prints |= {
        f"{part.split}_fingerprint": part.fingerprint
        for part in (data.train, data.validation, data.test)
    }
    store(tmp_path, config(storage=str(tmp_path)), **prints)
    assert planned(few, tmp_path, resume="r").earlier is not None
    store(tmp_path, config(storage=str(tmp_path)), **prints | {f"{other}_fingerprint": "others"})
    message = f"--resume r: the {other} images in {few} are not those that the run began with: "
    with pytest.raises(UsageError, match=message):
        planned(few, tmp_path, resume="r")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"data": "/no/such/place"}, "--data /no/such/place: there is no such directory"),
        (
            {"loss": "perceptual", "vgg_weights": "/no/such/file"},
            "--vgg-weights /no/such/file: there is no such file",
        ),
        ({"model": "nowhere:Net"}, "--model nowhere:Net: there is no module 'nowhere'"),
    ],
)
def test_files_that_are_not_there_are_told_at_once(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as error:
        check_early(config(**asked))
    assert "\n" not in str(error.value)


def test_all_that_is_not_there_is_told_at_once() -> None:
    names = {"data": "/no/such/place", "model": "nowhere:Net", "wait_for_nodes": 2}
    with pytest.raises(UsageError) as error:
        check_early(config(**names, loss="perceptual", vgg_weights="/no/such/file"))
    waiting, model, weights, data = str(error.value).splitlines()
    assert waiting.startswith("--wait-for-nodes 2: without --address")
    assert model.startswith("--model nowhere:Net: there is no module 'nowhere'")
    assert data.startswith("--data /no/such/place: there is no such directory")
    assert weights.startswith("--vgg-weights /no/such/file: there is no such file")


def test_weights_of_vgg16_are_read_where_the_loss_needs_them(few: str, tmp_path: Path) -> None:
    path = tmp_path / "made-up.safetensors"
    save_file(vgg16().tensors, path, {"normalisation": "imagenet"})
    weights = {"vgg_weights": str(path), "perceptual_layers": (0, 2)}
    vgg = loaded(config(data=few, loss="mse,perceptual", **weights))[0]
    assert vgg is not None
    assert {name.split(".")[1] for name in vgg.tensors} == {"0", "2"}
    assert loaded(config(data=few))[0] is None
