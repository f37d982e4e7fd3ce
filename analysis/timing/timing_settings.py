"""What is timed, and how often: every setting of the command, declared and checked once."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.console import DEFAULT_STORAGE
from analysis.timing.subjects import (
    ENVIRONMENTS,
    FACTORS,
    PIPELINE,
    STEADY,
    Finalist,
    Subject,
    catalogue,
    chosen,
    in_environments,
)
from trainables import own_code
from trainables.data.images import size_of
from trainables.errors import UsageError
from trainables.pipelines.catalogue import TAKES, check
from trainables.settings_fields import declared, setting
from trainables.tasks import STUDY_NAME, Task

BATCH_SIZES, LARGEST_ON_GPU = (1, 64, 250, 1000), 10_000
IMAGES = 10_000  # as in the reference study
DEVICES = ("cpu", "cuda")
OWN_FUNCTION = "package.module:function or path/file.py:function"
SERIES_SEC, LEAST_SERIES_SEC = 2.5, 1.5
SHORT_SIZES, SHORT_IMAGES, SHORT_SERIES_SEC = (1, 250), 1000, 2.5


@dataclass(frozen=True, kw_only=True)
class TimingSettings:
    """Every setting of `python -m analysis.timing`. What is empty, 0 or None suits the machine.

    Raises UsageError with one sentence for the first setting that can't be measured here.
    """

    run: str | None = setting(
        None,
        "a finished search: its finalists are timed, on its test images",
        default_text="none",
        metavar="NAME",
    )
    data: str | None = setting(
        None,
        "without --run: whose test images, as for tuner.run; the tables then go to a run "
        "timing-DATE-TIME",
        default_text="auto",
        metavar="SOURCE",
    )
    pipeline: str | None = setting(
        None,
        "without --run: what is timed, as for tuner.run",
        default_text=STUDY_NAME,
        metavar="PIPELINE",
    )
    takes: str | None = setting(
        None,
        "without --run: what a pipeline of your own is called with, as for tuner.run",
        default_text="found out",
        choices=TAKES,
    )
    image_size: tuple[int, ...] | None = setting(
        None,
        "without --run: height and width of images, as for tuner.run",
        default_text="32",
        least=1,
        metavar="PIXELS",
    )
    storage: str = setting(DEFAULT_STORAGE, "where runs are kept, s3:// too")
    subject: tuple[str, ...] = setting(
        (),
        f"a function of your own, {OWN_FUNCTION}; may be given several times",
        default_text="none",
        repeated=True,
        metavar="FUNCTION",
    )
    only: tuple[str, ...] = setting(
        (),
        "subjects by name, as in a shell: 'torchvision*'; your own are timed in any case",
        default_text="all",
        metavar="PATTERN",
    )
    devices: tuple[str, ...] = setting(
        (), "where to time", default_text="all there are", choices=DEVICES, metavar="DEVICE"
    )
    batch_sizes: tuple[int, ...] = setting(
        (),
        "images a call",
        default_text=f"{' '.join(map(str, BATCH_SIZES))}, on a GPU {LARGEST_ON_GPU} too",
        least=1,
        metavar="N",
    )
    images: int | None = setting(
        None,
        "test images that passes go over, round and round",
        default_text=f"the test split, at most {IMAGES}",
        least=1,
    )
    series_sec: float = setting(
        SERIES_SEC,
        "how long a series' turns may take until its interval is small enough",
        least=LEAST_SERIES_SEC,
        metavar="SEC",
    )
    environments: tuple[str, ...] = setting(
        (STEADY,),
        "steady: threads sleep when they wait, and freed memory is kept, so that times repeat; "
        "default: as PyTorch and the system do it",
        default_text=STEADY,
        choices=ENVIRONMENTS,
        metavar="ENVIRONMENT",
    )
    threads: int = setting(0, "CPU threads", default_text="one a core", least=0)
    seed: int = setting(0, "draws the order of the series")

    def __post_init__(self) -> None:
        # Here, since they import PyTorch: --help would take 2 s
        import torch

        from analysis.timing import machine

        for name, one in SETTINGS.items():
            one.check(name, getattr(self, name))
        if self.run and self.data:
            raise UsageError("--data goes without --run: a run is timed on its own test images")
        if self.run and (self.pipeline or self.takes or self.image_size):
            raise UsageError(
                "--pipeline, --takes and --image-size go without --run: a run is timed as it was"
            )
        size_of(self.image_size)
        check(self.pipeline or STUDY_NAME, self.takes)
        if "cuda" in self.devices and not torch.cuda.is_available():
            raise UsageError(
                "--devices cuda: PyTorch finds no GPU here; leave it out, or give --devices cpu"
            )
        if self.threads > machine.cores():
            raise UsageError(
                f"--threads {self.threads}: there are {machine.cores()} cores; give at most that"
            )
        for name in self.subject:
            if not own_code.is_own(name):
                raise UsageError(
                    f"--subject {name!r}: give a function of your own as {OWN_FUNCTION}"
                )
            own_code.check_there("--subject", name)

    def subjects(self, task: Task, finalists: Sequence[Finalist] = ()) -> list[Subject]:
        """List who is timed, each doing the task.

        Raises UsageError where a pattern of `only` fits nobody.
        """
        import torch  # here for the same reason as above

        devices = dict.fromkeys(
            self.devices or (DEVICES if torch.cuda.is_available() else DEVICES[:1])
        )
        own = tuple(dict.fromkeys(self.subject))
        found = chosen(catalogue(devices, finalists, own, task), self.only)
        return in_environments(found, tuple(dict.fromkeys(self.environments)))

    def sizes(self, images: int, device: str) -> list[int]:
        """Return the batch sizes that are timed where there are so many images, ascending.

        Raises UsageError for one that is larger than that.
        """
        for size in self.batch_sizes:
            if size > images:
                raise UsageError(
                    f"--batch-sizes {size}: {images:,} images are timed; "
                    f"give sizes between 1 and {images}"
                )
        usual = BATCH_SIZES if device == "cpu" else (*BATCH_SIZES, LARGEST_ON_GPU)
        return sorted({min(size, images) for size in self.batch_sizes or usual})


SETTINGS = declared(TimingSettings)
"""What is declared of each setting, by name, in the order of `--help`."""


def short_form(images: int, seed: int) -> TimingSettings:
    """Return what the end of a search can afford, for `images` of at most SHORT_IMAGES.

    Whom it can afford is for `short_subjects` to say.
    """
    return TimingSettings(
        batch_sizes=tuple(min(size, images) for size in SHORT_SIZES),
        series_sec=SHORT_SERIES_SEC,
        seed=seed,
    )


def short_subjects(subjects: Sequence[Subject], trial: int) -> list[Subject]:
    """Return the network of `trial` as it was trained, the pipeline as named first, its factors."""
    pipelines = {one.device: one for one in reversed(subjects) if one.kind == PIPELINE}
    return [
        one
        for one in subjects
        if one == pipelines.get(one.device) or one.name in (FACTORS, f"trial {trial}")
    ]
