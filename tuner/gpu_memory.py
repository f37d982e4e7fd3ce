"""What a trial needs of a GPU's memory, and how many trials fit on one: said, or refused, before the first starts."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainables.errors import UsageError
from tuner.cluster.nodes import Node, WorkerResources, on_each
from tuner.settings import SearchConfig
from tuner.trials.space import Space

if TYPE_CHECKING:
    from trainables.training.footprint import Footprint

SHARES = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0)  # of a GPU, to propose one of
GROUP_SHARES = SHARES[-1:]  # two workers of a trial can't share one


def check(
    config: SearchConfig,
    share: WorkerResources,
    train_images: int,
    validation_images: int,
    nodes: list[Node],
) -> str:
    """The line to print, for a completed configuration and the nodes that are up; empty where no GPU is asked for.

    Raises UsageError when a trial needs more than its share of the smallest of their GPUs. What an autoscaler may
    still start is not known. Takes 2 s, which the meta device's first use costs a process.
    """
    if not share.gpus:
        return ""
    with_gpus = [node for node in nodes if node.gpus]
    need = needed(config, train_images, validation_images)
    return told(config, share, need, smallest_bytes(config, with_gpus), with_gpus)


def needed(config: SearchConfig, train_images: int, validation_images: int) -> "Footprint | None":
    """The most that a trial of this search needs for each of its workers; None where that can't be known."""
    from trainables.training.footprint import (
        footprint,  # here, since a node is asked of its GPUs without PyTorch
    )
    from trainables.training.loop import TrainingConfig

    space = Space.of(config.model, config.ranges)
    largest = TrainingConfig(
        model=config.model,
        learning_rate=space.ranges["learning_rate"][1],
        max_epochs=1,
        seed=config.seed,
        dropout=space.ranges.get("dropout", (0.0, 0.0))[1],
        batch_size=config.batch_size or 1,
        precision=config.precision,
        loss="perceptual" if "perceptual" in config.losses else "mse",
        perceptual=config.perceptual,
    )
    counts = {"train_images": train_images, "validation_images": validation_images}
    return footprint(largest, **counts, workers=config.workers_per_trial)


@dataclass(frozen=True)
class Fit:
    """How many trials fit on a GPU."""

    need: "Footprint"
    gpu_bytes: int
    share: float
    """Of one GPU: on which a trial computes, however many it has."""
    shares: tuple[float, ...] = SHARES
    """To propose one of."""

    @property
    def cap_bytes(self) -> float:
        """What CUDA's allocator gives a trial; its context comes on top."""
        return self.share * self.gpu_bytes

    @property
    def by_memory(self) -> int:
        """As there is room for."""
        from trainables.training.footprint import CONTEXT_BYTES

        return int(self.gpu_bytes // (CONTEXT_BYTES + min(self.need.total_bytes, self.cap_bytes)))

    @property
    def by_share(self) -> int:
        """As Ray starts, if there are cores for them."""
        return int(1 / self.share + 1e-9)

    def others(self) -> list["Fit"]:
        """With the shares that hold a trial and all that Ray starts, ascending."""
        fits = [replace(self, share=share) for share in self.shares]
        return [
            fit
            for fit in fits
            if self.need.total_bytes <= fit.cap_bytes and fit.by_share <= fit.by_memory
        ]


def told(
    config: SearchConfig,
    share: WorkerResources,
    need: "Footprint | None",
    gpu_bytes: int | None,
    nodes: list[Node],
) -> str:
    """What to say where these nodes' smallest GPU has so much memory, or None when nobody knows.

    Raises UsageError when a trial needs more than its share. Where each needs less, but all with their CUDA contexts
    more than there is, the line says so and the search goes on: what a context takes is an estimate.
    """
    trial = "a trial" if config.workers_per_trial == 1 else "each worker of a trial"
    if need is None:
        return f"What {trial} needs of GPU memory is unknown: {config.model} can't be followed without a GPU"
    from trainables.training.footprint import CONTEXT_BYTES

    needs = f"{trial} needs about {size(need.total_bytes)} of GPU memory and {size(CONTEXT_BYTES)} for CUDA itself"
    if gpu_bytes is None:
        return needs
    shares = SHARES if config.workers_per_trial == 1 else GROUP_SHARES
    fit = Fit(need, gpu_bytes, min(share.gpus, 1.0), shares)
    if need.least_bytes > fit.cap_bytes:
        raise UsageError(
            f"--gpus-per-trial {share.gpus:g}: {trial} needs about {size(need.least_bytes)} of GPU memory, and its "
            f"share of a GPU of {size(gpu_bytes)} is {size(fit.cap_bytes)}; give {_instead(config, fit)}"
        )
    on, asked = f"fit on a GPU of {size(gpu_bytes)}", f"at --gpus-per-trial {share.gpus:g}"
    if fit.by_memory < min(fit.by_share, max(share.slots(node) for node in nodes)):
        return f"{needs}: only {fit.by_memory} of the {fit.by_share} {asked} {on}; give {_instead(config, fit)}"
    most = next(iter(fit.others()), fit)
    more = f", {most.by_share} would at {most.share:g}" if most.by_share > fit.by_share else ""
    return f"{needs}: {fit.by_share} {on} {asked}{more}"


def _instead(config: SearchConfig, fit: Fit) -> str:
    """The smallest share that will do, or what to make smaller where a whole GPU won't."""
    others = fit.others()
    return f"--gpus-per-trial {others[0].share:g}" if others else _smaller(config, fit.need)


def _smaller(config: SearchConfig, need: "Footprint") -> str:
    """What to change about the largest part of it."""
    images = config.images or 0
    trains = need.step_bytes > need.validation_bytes
    parts = {
        f"a --batch-size below {min(config.batch_size or images, images)}": need.step_bytes
        if trains
        else 0,
        f"--images below {images}": need.images_bytes,
        "another --model": max(need.network_bytes, 0 if trains else need.validation_bytes),
    }
    return max(parts, key=lambda part: parts[part])


def size(count: float) -> str:
    """Bytes as they are printed: 512 MiB, 1.3 GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def smallest_bytes(config: SearchConfig, nodes: list[Node]) -> int | None:
    """Memory of the smallest GPU of these nodes, of those that tell; None when none does."""
    answers = [gpu_sizes()] * len(nodes) if config.address is None else on_each(nodes, gpu_sizes)
    smallest = [_smallest(node, answer) for node, answer in zip(nodes, answers, strict=True)]
    return min((known for known in smallest if known is not None), default=None)


def _smallest(node: Node, answer: list[int] | Exception) -> int | None:
    if isinstance(answer, Exception):
        return None
    # Of GPUs of several kinds some may be hidden from Ray, and NVML does not know which
    return min(answer) if len(set(answer)) == 1 or 0 < len(answer) <= node.gpus else None


def gpu_sizes() -> list[int]:
    """Bytes of each GPU; none where there is no driver, or one is divided by MIG into parts of other sizes."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        if any(_divided(pynvml, handle) for handle in handles):
            return []
        return [pynvml.nvmlDeviceGetMemoryInfo(handle).total for handle in handles]
    except (
        Exception
    ):  # no package, no driver's library, no permission: nothing to tell, nothing to stop for
        return []


def _divided(nvml: Any, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # a GPU that can't be
        return False
