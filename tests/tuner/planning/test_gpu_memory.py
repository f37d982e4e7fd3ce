"""What a trial needs of a GPU is said before the search, and refused where it can't be had."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from tests.paths import ROOT
from tests.tuner.conftest import as_a_process
from tests.tuner.nodes import free_port, head, own_token
from trainables.errors import UsageError
from trainables.hyperparameters import Parameter
from trainables.training.loop import TrainingConfig
from trainables.training.step_memory import StepMemory
from tuner.cluster import connect
from tuner.cluster import nodes as cluster
from tuner.cluster.nodes import Node, WorkerResources
from tuner.planning import gpu_memory
from tuner.trials.space import Space

MIB, GIB = 2**20, 2**30
MANY_CORES = Node(64, 1, 64, "here", gpu_model="H100")
FEW_CORES = Node(2, 1, 64, "here", gpu_model="H100")
LOSSES = {"mse": "mse"}
TRAINING = {"model": "cnn", "max_epochs": 50, "batch_size": 256, "compiled": True}
RANGES = {
    "learning_rate": Parameter(1e-4, 1e-2, log=True),
    "patience": Parameter(2, 10),
    "weight_decay": Parameter(0.0),
    "schedule": Parameter("constant"),
}
SPACE = Space(
    {
        **RANGES,
        "dropout": Parameter(0.1, 0.5),
        "channels": Parameter(choices=(128, 64)),
        "kind": Parameter(choices=("a", "b")),
    }
)


def step(mib: int, gpu_gib: int, fraction: float = 0.25) -> StepMemory:
    return StepMemory(
        fraction=fraction,
        reserved_bytes=mib * MIB,
        context_bytes=512 * MIB,
        gpu_bytes=gpu_gib * GIB,
    )


def line(found: StepMemory, gpus: float, node: Node = MANY_CORES, workers: int = 1) -> str:
    return gpu_memory.describe(found, WorkerResources(1, gpus, 0), node, workers=workers)


@pytest.mark.parametrize(
    ("mib", "gpus", "gpu_gib", "said"),
    [
        (1331, 0.25, 140, "1.3 GiB of GPU memory and 512 MiB for CUDA itself: "
         "4 fit on the H100 of 140.0 GiB at --gpus-per-trial 0.25, 20 would at 0.05"),
        (330, 0.05, 140, "330 MiB of GPU memory and 512 MiB for CUDA itself: "
         "20 fit on the H100 of 140.0 GiB at --gpus-per-trial 0.05"),
        (10 * 1024, 0.25, 40, "10.0 GiB of GPU memory and 512 MiB for CUDA itself: "
         "only 3 of 4 at --gpus-per-trial 0.25 fit on the H100 of 40.0 GiB; give 0.5"),
        (300, 0.05, 8, "300 MiB of GPU memory and 512 MiB for CUDA itself: "
         "only 10 of 20 at --gpus-per-trial 0.05 fit on the H100 of 8.0 GiB; give 0.1"),
        (300, 0.4, 8, "300 MiB of GPU memory and 512 MiB for CUDA itself: "
         "2 fit on the H100 of 8.0 GiB at --gpus-per-trial 0.4, 10 would at 0.1"),
        (7000, 1, 8, "6.8 GiB of GPU memory and 512 MiB for CUDA itself: "
         "1 fit on the H100 of 8.0 GiB at --gpus-per-trial 1"),
        (300, 2, 8, "300 MiB of GPU memory and 512 MiB for CUDA itself: "
         "1 fit on the H100 of 8.0 GiB at --gpus-per-trial 2, 10 would at 0.1"),
    ],
)  # fmt: skip
def test_a_line_says_what_a_trial_needs_and_how_many_fit(
    mib: int, gpus: float, gpu_gib: int, said: str
) -> None:
    found = step(mib, gpu_gib, fraction=min(gpus, 1.0))
    assert line(found, gpus, Node(64, 2, 64, gpu_model="H100")) == f"A trial needs {said}"


def test_more_than_there_is_memory_for_is_no_matter_where_there_are_no_cores_for_them() -> None:
    assert "only 10 of 20" in line(step(300, 8, 0.05), 0.05, MANY_CORES)
    assert "20 fit" in line(step(300, 8, 0.05), 0.05, FEW_CORES)


def test_workers_are_spoken_of_where_a_trial_has_several_and_share_no_gpu() -> None:
    assert "would at" in line(step(300, 140, 1.0), 1)
    said = line(step(300, 140, 1.0), 1, workers=2)
    assert said.startswith("Each worker of a trial needs 300 MiB")
    assert "would at" not in said


@pytest.mark.parametrize(
    ("found", "gpus", "sentence"),
    [
        (
            step(1331, 16, 1.0),
            0.05,
            "--gpus-per-trial 0.05: a training step runs out of memory within that share of here's "
            "H100 of 16.0 GiB, and takes 1.3 GiB with all of it; give --gpus-per-trial 0.2",
        ),
        (step(5000, 16, 1.0), 0.25, "takes 4.9 GiB with all of it; give --gpus-per-trial 0.5"),
        (step(15_800, 16, 1.0), 0.3, "give --gpus-per-trial 1"),
        (
            step(15_800, 16, math.inf),
            0.3,
            "--gpus-per-trial 0.3: a training step runs out of memory on here's H100 of 16.0 GiB, "
            "even with all of it; give a smaller --batch-size or fewer --images",
        ),
        (
            step(15_800, 16, math.inf),
            4,
            "--gpus-per-trial 4: a training step runs out of memory on",
        ),
    ],
)
def test_a_trial_that_can_not_fit_is_refused_with_what_to_type(
    found: StepMemory, gpus: float, sentence: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        line(found, gpus)


def test_the_largest_trial_has_the_largest_of_everything_and_is_not_compiled() -> None:
    expected = TrainingConfig(
        model="cnn",
        learning_rate=1e-4,
        chosen={"dropout": 0.5, "channels": 128, "kind": "a"},
        max_epochs=1,
        seed=0,
        batch_size=256,
    )
    assert gpu_memory.largest(SPACE, TRAINING, LOSSES, workers=1) == expected
    fixed = Space(RANGES)
    assert gpu_memory.largest(fixed, TRAINING, LOSSES, workers=1).chosen == {}


def test_with_two_losses_the_perceptual_one_needs_most() -> None:
    both = Space(RANGES, losses=("mse", "perceptual"))
    losses = {"mse": "mse", "perceptual": "perceptual"}
    assert gpu_memory.largest(both, TRAINING, losses, workers=1).loss == "perceptual"


def test_a_loss_of_ones_own_is_taken_to_need_more_than_the_squared_error() -> None:
    losses = {"mse": "mse", "mine": "/own.py:mine"}
    assert gpu_memory.largest(SPACE, TRAINING, losses, workers=1).loss == "/own.py:mine"


def test_workers_divide_the_batch() -> None:
    assert gpu_memory.largest(SPACE, TRAINING, LOSSES, workers=3).batch_size == 86


def check(resources: WorkerResources, nodes: list[Node], **more: Any) -> list[str]:
    counts = {"train_images": 64, "validation_images": 32}
    training = gpu_memory.largest(SPACE, {**TRAINING, "model": "fc"}, LOSSES, workers=1)
    return gpu_memory.check(training, resources, nodes, workers=1, vgg=None, **counts, **more)


def test_nothing_is_said_where_no_gpu_is_asked_for() -> None:
    assert check(WorkerResources(1, 0, 0), [MANY_CORES]) == []


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    """A node that Ray believes to have four H100s, which is not so."""
    flags = ("--num-cpus=2", "--num-gpus=4", '--resources={"accelerator_type:H100": 1}')
    with own_token(), head(*flags, port=free_port()) as address, as_a_process("run.py"):
        connect.prepare_environment(verbose=False)
        ray.init(address, log_to_driver=False, logging_level="ERROR")
        yield cluster.nodes()
        ray.shutdown()


def test_a_process_with_a_trials_share_measures_on_a_node_of_each_kind(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    (node,) = nodes
    assert node.gpu_model == "H100"

    def measured(
        resources: WorkerResources, training: Any, counts: dict[str, int], vgg: None
    ) -> StepMemory:
        assert len(ray.get_gpu_ids()) == 1
        assert ray.get_runtime_context().get_assigned_resources()["GPU"] == resources.gpus == 0.25
        assert counts == {"train_images": 64, "validation_images": 32}
        return StepMemory(
            fraction=resources.gpus,
            reserved_bytes=2**29,
            context_bytes=2**29,
            gpu_bytes=2**34,
        )

    monkeypatch.setattr(gpu_memory, "_measure", measured)
    assert check(WorkerResources(1, 0.25, 0), [node, node]) == [
        "A trial needs 512 MiB of GPU memory and 512 MiB for CUDA itself: "
        "4 fit on the H100 of 16.0 GiB at --gpus-per-trial 0.25, 10 would at 0.1"
    ]


def test_what_can_not_be_measured_is_said_to_be_unknown_with_the_cause(nodes: list[Node]) -> None:
    (said,) = check(WorkerResources(1, 0.25, 0), nodes)
    assert said.startswith(
        f"What a trial needs of the memory of {nodes[0].name}'s GPU is unknown: "
    )
    assert re.search("NVIDIA driver|CUDA", said), said


def test_a_gpu_that_does_not_get_free_ends_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(reference: str, timeout: float) -> None:
        raise ray.exceptions.GetTimeoutError(f"{reference} after {timeout:g} s")

    monkeypatch.setattr(gpu_memory, "submit", lambda *task, **gets: "a step")
    monkeypatch.setattr(ray, "get", never)
    (said,) = check(WorkerResources(1, 0.25, 0), [MANY_CORES])
    assert said.endswith("is unknown: no answer within 180 s")
    with pytest.raises(UsageError, match="it can't be trained on a CPU"):
        check(
            WorkerResources(1, 0.25, 0), [MANY_CORES], problem="it can't be trained on a CPU either"
        )


def test_a_step_that_hangs_ends_its_process() -> None:
    code = (
        "import threading\n"
        "from tuner.planning import gpu_memory\n"
        "from tuner.cluster.nodes import WorkerResources\n"
        "gpu_memory.STEP_SEC = 0.1\n"
        "gpu_memory.measure = lambda *training, **more: threading.Event().wait()\n"
        "gpu_memory._measure(WorkerResources(1, 1, 0), None, {}, None)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=300).returncode == 1
