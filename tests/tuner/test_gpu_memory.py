"""What a trial needs of a GPU is said before the search, and refused where it can't be had; memories are given."""

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.tuner.conftest import ROOT, TINY, Command
from tests.tuner.nodes import free_port, head, own_token
from trainables.losses.loss_settings import Perceptual
from trainables.training.footprint import Footprint, footprint
from trainables.training.loop import TrainingConfig
from tuner import gpu_memory
from tuner.cluster.nodes import Node, WorkerResources
from tuner.settings import SearchConfig

MIB, GIB = 2**20, 2**30
MANY_CORES, FEW_CORES = Node(64, 1, 64), Node(2, 1, 64)
H200 = 140 * GIB


def config(**more: Any) -> SearchConfig:
    return SearchConfig(**{"batch_size": 256, "images": 45_000, "name": "r", **more})


def need(mib: int, *, passes: int = 0, **parts: int) -> Footprint:
    """So many MiB, most of them of a training step unless said otherwise."""
    return Footprint(
        images_bytes=parts.get("images", 0) * MIB,
        network_bytes=parts.get("network", 0) * MIB,
        step_bytes=(mib - sum(parts.values())) * MIB if "validation" not in parts else 0,
        validation_bytes=parts.get("validation", 0) * MIB,
        pass_bytes=passes * MIB,
    )


def told(
    needed: Footprint | None,
    gpus: float,
    gpu_bytes: int | None,
    node: Node = MANY_CORES,
    **more: Any,
) -> str:
    return gpu_memory.told(config(**more), WorkerResources(1, gpus, 0), needed, gpu_bytes, [node])


@pytest.mark.parametrize(
    ("mib", "gpus", "gpu_bytes", "line"),
    [
        (1331, 0.25, H200, "1.3 GiB of GPU memory and 512 MiB for CUDA itself: "
         "4 fit on a GPU of 140.0 GiB at --gpus-per-trial 0.25, 20 would at 0.05"),
        (330, 0.05, H200, "330 MiB of GPU memory and 512 MiB for CUDA itself: "
         "20 fit on a GPU of 140.0 GiB at --gpus-per-trial 0.05"),
        (10 * 1024, 0.25, 40 * GIB, "10.0 GiB of GPU memory and 512 MiB for CUDA itself: "
         "only 3 of the 4 at --gpus-per-trial 0.25 fit on a GPU of 40.0 GiB; give --gpus-per-trial 0.5"),
        (300, 0.05, 8 * GIB, "300 MiB of GPU memory and 512 MiB for CUDA itself: "
         "only 10 of the 20 at --gpus-per-trial 0.05 fit on a GPU of 8.0 GiB; give --gpus-per-trial 0.1"),
        (300, 0.4, 8 * GIB, "300 MiB of GPU memory and 512 MiB for CUDA itself: "
         "2 fit on a GPU of 8.0 GiB at --gpus-per-trial 0.4, 10 would at 0.1"),
        (7000, 1, 8 * GIB, "6.8 GiB of GPU memory and 512 MiB for CUDA itself: "
         "1 fit on a GPU of 8.0 GiB at --gpus-per-trial 1"),
        (300, 2, 8 * GIB, "300 MiB of GPU memory and 512 MiB for CUDA itself: "
         "1 fit on a GPU of 8.0 GiB at --gpus-per-trial 2, 10 would at 0.1"),
        (8000, 1, 8 * GIB, "7.8 GiB of GPU memory and 512 MiB for CUDA itself: "
         "only 0 of the 1 at --gpus-per-trial 1 fit on a GPU of 8.0 GiB; give a --batch-size below 256"),
        (300, 0.25, None, "300 MiB of GPU memory and 512 MiB for CUDA itself"),
    ],
)  # fmt: skip
def test_a_line_says_what_a_trial_needs_and_how_many_fit(
    mib: int, gpus: float, gpu_bytes: int | None, line: str
) -> None:
    assert told(need(mib), gpus, gpu_bytes, Node(64, 2, 64)) == f"a trial needs about {line}"


def test_more_than_there_is_memory_for_is_no_matter_where_there_are_no_cores_for_them() -> None:
    assert "only 10 of the 20" in told(need(300), 0.05, 8 * GIB, MANY_CORES)
    assert "20 fit" in told(need(300), 0.05, 8 * GIB, FEW_CORES)


def test_workers_are_spoken_of_where_a_trial_has_several() -> None:
    assert told(need(300), 0.25, H200, workers_per_trial=2).startswith(
        "each worker of a trial needs about 300 MiB"
    )


def test_workers_of_one_trial_are_not_told_to_share_a_gpu() -> None:
    assert "would at" in told(need(300), 1, H200)
    assert "would at" not in told(need(300), 1, H200, workers_per_trial=2)


def test_what_can_not_be_known_is_said_to_be_unknown() -> None:
    line = told(None, 0.25, H200, model="own_networks:Mine")
    assert line == (
        "What a trial needs of GPU memory is unknown: own_networks:Mine can't be followed without a GPU"
    )


@pytest.mark.parametrize(
    ("needed", "gpus", "gpu_bytes", "sentence"),
    [
        (need(1331), 0.05, 16 * GIB, "--gpus-per-trial 0.05: a trial needs about 1.3 GiB of GPU memory, and its share "
         "of a GPU of 16.0 GiB is 819 MiB; give --gpus-per-trial 0.2"),
        (need(5000), 0.25, 16 * GIB, "its share of a GPU of 16.0 GiB is 4.0 GiB; give --gpus-per-trial 0.5"),
        (need(15_800), 0.3, 16 * GIB, "give --gpus-per-trial 1"),
        (need(17_000), 1, 16 * GIB, "its share of a GPU of 16.0 GiB is 16.0 GiB; give a --batch-size below 256"),
        (need(17_000), 4, 16 * GIB, "--gpus-per-trial 4: a trial needs about 16.6 GiB"),
        (need(17_000, images=16_000), 0.25, 16 * GIB, "give --images below 45000"),
        (need(17_000, network=16_000), 0.25, 16 * GIB, "give another --model"),
        (need(0, images=500, validation=17_000), 0.25, 16 * GIB, "give another --model"),
    ],
)  # fmt: skip
def test_a_trial_that_can_not_fit_is_refused_with_what_to_type(
    needed: Footprint, gpus: float, gpu_bytes: int, sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        told(needed, gpus, gpu_bytes)


def test_a_batch_of_all_images_is_not_called_larger_than_they_are() -> None:
    with pytest.raises(ValueError, match=r"give a --batch-size below 2000$"):
        told(need(17_000), 1, 16 * GIB, images=2000, batch_size=10**6)


def test_passes_through_vgg16_that_will_be_halved_do_not_count_against_a_trial() -> None:
    with pytest.raises(ValueError, match=r"needs about 1\.5 GiB"):
        told(need(1500, passes=3000), 0.25, 4 * GIB)
    assert told(need(900, passes=3000), 0.25, 4 * GIB).startswith("a trial needs about 3.8 GiB")


def counted(**more: Any) -> Footprint | None:
    settings = {
        "model": "cnn",
        "learning_rate": 1e-2,
        "max_epochs": 1,
        "seed": 0,
        "batch_size": 1024,
        **more,
    }
    return footprint(TrainingConfig(**settings), train_images=5000, validation_images=1000)


def test_what_is_needed_is_that_of_the_largest_trial_of_the_search() -> None:
    plain = config(model="cnn", batch_size=1024)
    assert gpu_memory.needed(plain, 5000, 1000) == counted(dropout=0.5) != counted(dropout=0.0)
    without = config(model="cnn", batch_size=1024, ranges={"dropout": (0.0, 0.0)})
    assert gpu_memory.needed(without, 5000, 1000) == counted(dropout=0.0)
    exact = config(model="cnn", batch_size=1024, precision="float32")
    assert (
        gpu_memory.needed(exact, 5000, 1000)
        == counted(dropout=0.5, precision="float32")
        != counted(dropout=0.5)
    )


def test_with_two_losses_the_perceptual_one_is_what_needs_most() -> None:
    searched = config(
        model="cnn",
        batch_size=1024,
        loss="mse,perceptual",
        perceptual_size=32,
        perceptual_layers=(2,),
    )
    small = Perceptual(layers=(2,), layer_weights=(1.0,), size=32)
    found = gpu_memory.needed(searched, 5000, 1000)
    assert found == counted(dropout=0.5, loss="perceptual", perceptual=small)
    assert found is not None
    assert found.vgg_bytes > 0


def test_each_of_several_workers_needs_its_part() -> None:
    one, four = (
        gpu_memory.needed(config(model="cnn", workers_per_trial=n), 5000, 1000) for n in (1, 4)
    )
    assert one is not None
    assert four is not None
    assert one.step_bytes > 3 * four.step_bytes


class Nvml(ModuleType):
    """Stands for `pynvml` with these sizes; those that are divided by MIG, or can't be."""

    class NVMLError(Exception):
        pass

    def __init__(
        self, sizes: list[int], divided: list[bool] | None = None, working: bool = True
    ) -> None:
        super().__init__("pynvml")
        self.sizes, self.divided, self.working = sizes, divided, working

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.working:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.sizes)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMigMode(self, index: int) -> list[int]:  # noqa: N802
        if self.divided is None:
            raise self.NVMLError("Not Supported")
        return [int(self.divided[index]), 0]

    def nvmlDeviceGetMemoryInfo(self, index: int) -> Any:  # noqa: N802
        return type("Memory", (), {"total": self.sizes[index]})


@pytest.mark.parametrize(
    ("nvml", "gpus", "smallest"),
    [
        (Nvml([8, 8]), 2, 8),
        (Nvml([8, 16], [False, False]), 2, 8),
        (Nvml([8, 8]), 1, 8),
        (Nvml([8, 16]), 1, None),  # one is hidden from Ray, and nobody knows which
        (Nvml([8], [True]), 1, None),
        (Nvml([]), 1, None),
        (Nvml([8], working=False), 1, None),
    ],
)
def test_the_smallest_gpu_of_a_node_counts_unless_it_may_be_hidden(
    monkeypatch: pytest.MonkeyPatch, nvml: Nvml, gpus: int, smallest: int | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpu_memory.smallest_bytes(config(), [Node(8, gpus, 16)]) == smallest


def test_without_a_gpu_or_its_driver_there_is_no_memory() -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert gpu_memory.gpu_sizes() == []
        assert gpu_memory.smallest_bytes(config(), [Node(8, 1, 16)]) is None
    else:
        sizes = gpu_memory.gpu_sizes()
        assert all(size > GIB for size in sizes)


def test_nothing_is_said_where_no_gpu_is_asked_for() -> None:
    assert gpu_memory.check(config(), WorkerResources(1, 0, 0), 45_000, 5000, [MANY_CORES]) == ""


STAND_IN = """
class NVMLError(Exception): ...
def nvmlInit(): ...
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetMigMode(handle): raise NVMLError
def nvmlDeviceGetMemoryInfo(handle):
    class Memory:
        total = 2**30
    return Memory
"""


@pytest.fixture(scope="module")
def one_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a node that says it had a GPU, and whose NVML says this had 1 GiB."""
    directory = tmp_path_factory.mktemp("stand-in")
    (directory / "pynvml.py").write_text(STAND_IN)
    more = {"PYTHONPATH": f"{directory}:{ROOT}"}
    with own_token(), head("--num-cpus=4", "--num-gpus=1", port=free_port(), more=more) as address:
        yield address


def test_a_search_whose_trials_can_not_fit_on_a_nodes_gpu_is_refused(
    one_gpu: str, command: Command
) -> None:
    asked = ("--model", "cnn", "--batch-size", "2000", "--gpus-per-trial", "0.5")
    code, output = command.run("--address", one_gpu, *asked, *TINY, timeout=150)
    assert code == 2
    assert re.fullmatch(
        r"error: --gpus-per-trial 0.5: a trial needs about 1\.\d GiB of GPU memory, and its share of a GPU of 1.0 GiB "
        r"is 512 MiB; give a --batch-size below 2000\n",
        output,
    ), output


def test_a_search_says_first_how_many_trials_fit_on_a_nodes_gpu(
    one_gpu: str, command: Command
) -> None:
    code, output = command.run(
        "--address", one_gpu, "--model", "fc", "--samples", "1", *TINY, timeout=150
    )
    assert code == 1  # there is no GPU in truth
    line = next(line for line in output.splitlines() if line.startswith("a trial needs about "))
    assert re.fullmatch(
        r"a trial needs about \d\d MiB of GPU memory and 512 MiB for CUDA itself: "
        r"only 1 of the 4 at --gpus-per-trial 0.25 fit on a GPU of 1.0 GiB; give --gpus-per-trial 1",
        line,
    ), output
