"""What is timed, and how often: every setting, checked before anything starts."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from analysis.timing import machine
from analysis.timing.protocol import PASSES, SERIES_SEC
from analysis.timing.subjects import FACTORS, TORCHVISION, Finalist, Subject, catalogue, chosen
from trainables.data.image_set import ImageSet

BATCH_SIZES = (1, 8, 64, 250, 1000, 10_000)
IMAGES = 10_000  # as in the reference study
DEVICES = ("cpu", "cuda")
SHORT_PASSES, SHORT_SIZES, SHORT_IMAGES, SHORT_SERIES_SEC = 10, (1, 1000), 2000, 1.5


@dataclass(frozen=True, kw_only=True)
class TimingConfig:
    """Raises ValueError for what can't be measured here."""

    run: str
    """Whose timings table is written."""
    storage: str = "results"
    images: ImageSet
    """What a pass goes over."""
    finalists: tuple[Finalist, ...] = ()
    own: tuple[str, ...] = ()
    """Functions of the person's own, as package.module:function."""
    only: tuple[str, ...] = ()
    """Shell patterns of subjects' names; none takes all."""
    devices: tuple[str, ...] = ()
    """None takes all there are."""
    batch_sizes: tuple[int, ...] = ()
    """None takes BATCH_SIZES, as far as the images reach."""
    passes: int = PASSES
    series_sec: float = SERIES_SEC
    """How long a series may take; its passes are cut to fewer images if need be."""
    threads: int = 0
    """0 takes a thread a core."""
    seed: int = 0

    def __post_init__(self) -> None:
        for device in self.devices:
            if device not in DEVICES:
                raise ValueError(
                    f"--devices {device}: there is no such device; give {' or '.join(DEVICES)}"
                )
            if device == "cuda" and not torch.cuda.is_available():
                raise ValueError(
                    "--devices cuda: PyTorch finds no GPU here; leave it out, or give --devices cpu"
                )
        for size in self.batch_sizes:
            if not 1 <= size <= len(self.images):
                raise ValueError(
                    f"--batch-sizes {size}: {len(self.images):,} images are timed; "
                    f"give sizes between 1 and {len(self.images)}"
                )
        least = {
            "--passes": (self.passes, 2),
            "--series-sec": (self.series_sec, 0.1),
            "--threads": (self.threads, 0),
        }
        for flag, (value, minimum) in least.items():
            if not value >= minimum:
                raise ValueError(f"{flag} must be at least {minimum:g}, but got {value:g}")
        if not math.isfinite(self.series_sec):
            raise ValueError(
                f"--series-sec {self.series_sec}: give a number of seconds; 86400 is a day"
            )
        if self.threads > machine.cores():
            raise ValueError(
                f"--threads {self.threads}: there are {machine.cores()} cores; give at most that"
            )
        for name in self.own:
            if not re.fullmatch(r"[\w.]+:\w+", name):
                raise ValueError(
                    f"--subject {name!r}: give a function of your own as package.module:function"
                )
        self._fill_in()

    def _fill_in(self) -> None:
        found = DEVICES if torch.cuda.is_available() else DEVICES[:1]
        sizes = {min(size, len(self.images)) for size in self.batch_sizes or BATCH_SIZES}
        object.__setattr__(self, "devices", tuple(dict.fromkeys(self.devices or found)))
        object.__setattr__(self, "own", tuple(dict.fromkeys(self.own)))
        object.__setattr__(self, "batch_sizes", tuple(sorted(sizes)))
        object.__setattr__(self, "threads", self.threads or machine.cores())

    @property
    def subjects(self) -> list[Subject]:
        """Who is timed. Raises ValueError when a pattern of `only` fits nobody."""
        return chosen(catalogue(self.devices, self.finalists, self.own), self.only)

    @property
    def tables(self) -> Path:
        """Where tables lie."""
        return Path(self.storage) / "tables"


def short_form(run: str, storage: str, images: ImageSet, best: Finalist, seed: int) -> TimingConfig:
    """What the end of a search can afford: the best network and its ceiling against torchvision."""
    return TimingConfig(
        run=run,
        storage=storage,
        images=images.first(min(SHORT_IMAGES, len(images))),
        finalists=(best,),
        only=(*TORCHVISION, FACTORS, f"trial {best.trial}"),
        batch_sizes=tuple(min(size, len(images)) for size in SHORT_SIZES),
        passes=SHORT_PASSES,
        series_sec=SHORT_SERIES_SEC,
        seed=seed,
    )
