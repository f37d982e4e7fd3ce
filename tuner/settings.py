"""Every setting of a search, declared once: flag, help, default, check, JSON and documentation."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from analysis.tables.bucket import check_address
from analysis.tables.schema import TABLES
from trainables import own_code
from trainables.data.images import size_of
from trainables.errors import UsageError
from trainables.goal import LOSS as BY_LOSS
from trainables.hyperparameters import COLUMNS, KNOWN, Asked, Range, point_of
from trainables.losses import loss_registry
from trainables.losses.loss_registry import LOSSES
from trainables.losses.loss_settings import NORMALISATIONS, PUBLISHED, SMALLEST, Perceptual
from trainables.metrics import metric_registry
from trainables.metrics.metric_registry import METRICS, MetricSet
from trainables.networks.registry import AUTO, NETWORKS, check_name, names_of
from trainables.pipelines.catalogue import ASKED, TAKES
from trainables.settings_fields import Setting, declared, flag, setting
from trainables.tasks import STUDY_NAME
from trainables.thresholds import THRESHOLD
from trainables.training.early_stopping import CRITERIA
from trainables.training.schedules import SCHEDULES

SEARCHED, LOSS, TRAINING, RESOURCES, RUN = (
    "what is searched",
    "the loss",
    "how trials train",
    "resources",
    "the run",
)
RANDOM, TPE = "random", "tpe"
ASHA, MEDIAN, UNSTOPPED = "asha", "median", "none"
GRACE_EPOCHS = 2
MOST_TRIALS = 1_000_000  # their numbers are kept in memory
TPE_MEMORY = 500  # trials of a network that TPE knows at most, so that asking takes 20 ms
DEFAULT_VGG_WEIGHTS = "IMAGENET1K_V1"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Settings of the perceptual loss, and what `Perceptual` calls them
PERCEPTUAL = {
    "perceptual_layers": "layers",
    "perceptual_weights": "layer_weights",
    "mse_weight": "mse_weight",
    "perceptual_size": "size",
}
ONLY_PERCEPTUAL = (*PERCEPTUAL, "vgg_weights", "vgg_normalisation")
USED_BY = {
    "grace_epochs": ("scheduler", (ASHA, MEDIAN)),
    "reduction_factor": ("scheduler", (ASHA,)),
    "startup_trials": ("search", (TPE,)),
}
"""Settings that only some values of another one use."""
# Of the table and, the last one, of pages: beside them each metric has one of its name there
COLUMNS_OF_SCORES = (*(column.name for column in TABLES["scores"]), "series")


RANGES = {
    name: Setting(
        group=TRAINING,
        help=f"{KNOWN[name].meaning}: the range that is searched; equal ends fix it",
        default_text="the network's own",
        type=KNOWN[name].kind,
        nargs=2,
        metavar=("LOW", "HIGH"),
    )
    for name in COLUMNS
}


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Every setting of `python -m tuner.run`. None stands for what suits network or machine.

    Raises UsageError with one sentence for the first setting that makes no sense.
    """

    model: str = setting(
        "fc",
        f"{', '.join(NETWORKS)}, package.module:Class, path/file.py:Class, or {AUTO}: each of this "
        f"project that fits the task gets its share of the trials",
        group=SEARCHED,
    )
    pipeline: str = setting(
        "study",
        f"what is to be replaced: {ASKED}",
        group=SEARCHED,
    )
    takes: str | None = setting(
        None,
        "what a pipeline of your own is called with: a PIL image, a tensor (3, H, W) of bytes or "
        "of numbers in [0, 1], an array (H, W, 3), or image=array",
        default_text="the first of them of which it makes an image",
        choices=TAKES,
        group=SEARCHED,
    )
    data: str = setting(
        "auto",
        "cifar10, photos, a directory, or auto: CIFAR-10 if it can be had, else photos",
        may_change=True,
        group=SEARCHED,
    )
    pairs: str | None = setting(
        None,
        "in place of --data and --pipeline: a directory with input/ and target/, or a parquet file "
        "with two columns of images",
        default_text="none",
        metavar="PATH",
        may_change=True,
        group=SEARCHED,
    )
    images: int | None = setting(
        None,
        "training images",
        default_text="all; fewer for cnn without a GPU",
        least=1,
        group=SEARCHED,
    )
    image_size: tuple[int, ...] | None = setting(
        None,
        "height and width to which images are scaled and cropped; one number for squares",
        default_text="32",
        least=1,
        metavar="PIXELS",
        group=SEARCHED,
    )
    samples: int | None = setting(
        None,
        "trials; a run that is resumed may have more than it began with",
        default_text="the network's own, more where there is a GPU",
        least=1,
        below=MOST_TRIALS + 1,
        may_change=True,
        group=SEARCHED,
    )
    max_epochs: int | None = setting(
        None,
        "epochs of a trial that nothing stops",
        default_text="the network's own",
        least=1,
        group=SEARCHED,
    )
    scheduler: str = setting(
        ASHA,
        "what stops a trial early: at ASHA's rungs all but the best, by the median rule one whose "
        "best is worse than the median of the others' averages, or nothing",
        choices=(ASHA, MEDIAN, UNSTOPPED),
        group=SEARCHED,
    )
    grace_epochs: int | None = setting(
        None,
        "epochs before a trial may be stopped",
        default_text=f"{GRACE_EPOCHS}, or as many as --max-epochs",
        least=1,
        group=SEARCHED,
    )
    reduction_factor: float = setting(
        3.0, "ASHA lets one trial in this many go on at each rung", above=1, group=SEARCHED
    )
    search: str = setting(
        TPE,
        "how trials are proposed; tpe is Optuna's, multivariate",
        choices=(RANDOM, TPE),
        group=SEARCHED,
    )
    startup_trials: int = setting(
        5,
        "trials of each network that must have ended before tpe learns from them; until then its "
        "trials are those of random search",
        least=1,
        below=TPE_MEMORY // 2,
        group=SEARCHED,
    )
    start: tuple[str, ...] | None = setting(
        None,
        "hyperparameters to try first, as NAME=VALUE with commas between several; what is not "
        "named is drawn as for any trial; once for each point",
        default_text="none",
        repeated=True,
        metavar="NAME=VALUE",
        group=SEARCHED,
    )
    seed: int = setting(
        0, "from which every trial's own seed is derived", least=0, below=2**32, group=SEARCHED
    )
    finalists: int = setting(
        3,
        "best trials to evaluate on the test split, the best of each network and loss among them",
        least=1,
        group=SEARCHED,
    )
    rank_by: str = setting(
        BY_LOSS,
        f"what the best epoch and the best trial have on the validation images: the lowest loss, "
        f"or the best {', '.join(METRICS)}, or metric of your own by its name",
        metavar="METRIC",
        group=SEARCHED,
    )
    threshold: float = setting(
        THRESHOLD,
        "cosine similarity from which an output counts as equal",
        above=0,
        below=1,
        metavar="T",
        group=SEARCHED,
    )
    metric: str | None = setting(
        None,
        "metrics of your own that finalists are measured with too: package.module:function or "
        "path/file.py:function, with commas between several",
        default_text="none",
        metavar="METRICS",
        group=SEARCHED,
    )
    confirm_seeds: int = setting(
        0, "train each finalist this many times more, with other seeds", least=0, group=SEARCHED
    )

    loss: str = setting(
        "mse",
        f"{', '.join(LOSSES)}, package.module:function or path/file.py:function; "
        f"{','.join(LOSSES)} searches it too",
        group=LOSS,
    )
    perceptual_layers: tuple[int, ...] | None = setting(
        None,
        "convolutions of VGG16 whose activations the perceptual loss compares",
        default_text="2 7 14 21 28",
        metavar="N",
        group=LOSS,
    )
    perceptual_weights: tuple[float, ...] | None = setting(
        None,
        "what each of these layers weighs",
        default_text="1 each",
        least=0,
        metavar="W",
        group=LOSS,
    )
    mse_weight: float | None = setting(
        None,
        "what the mean squared error weighs beside these layers",
        default_text="1",
        least=0,
        metavar="W",
        group=LOSS,
    )
    perceptual_size: int | None = setting(
        None,
        "side in pixels to which VGG16's input is enlarged",
        default_text="224",
        least=SMALLEST,
        metavar="PIXELS",
        group=LOSS,
    )
    vgg_weights: str | None = setting(
        None,
        f"{' or '.join(PUBLISHED)} of torchvision, fetched once into the cache, or a file",
        default_text=DEFAULT_VGG_WEIGHTS,
        metavar="WEIGHTS",
        group=LOSS,
    )
    vgg_normalisation: str | None = setting(
        None,
        "for a file of weights that does not say which of them it expects",
        default_text="what the file says",
        choices=tuple(NORMALISATIONS),
        group=LOSS,
    )

    ranges: Mapping[str, Range] = field(default_factory=dict, metadata={"settings": RANGES})
    """Lowest and highest value of hyperparameters by name, instead of the network's own range."""
    set: tuple[str, ...] | None = setting(
        None,
        "search or fix any hyperparameter of the network, as NAME=LOW:HIGH, NAME=LOW:HIGH:log, "
        "NAME=A,B,C or NAME=VALUE; once for each",
        default_text="the network's own",
        repeated=True,
        metavar="NAME=VALUES",
        group=TRAINING,
    )
    schedule: str | None = setting(
        None,
        f"{', '.join(SCHEDULES)}: {KNOWN['schedule'].meaning}; cosine,one-cycle searches both",
        default_text="the network's own",
        group=TRAINING,
    )
    batch_size: int | None = setting(
        None,
        "images per update, over all workers of a trial; one number",
        default_text="the network's own: 256",
        least=1,
        group=TRAINING,
    )
    precision: str = setting(
        "auto",
        "auto takes bfloat16 where it pays and the hardware has it, else float32; "
        "tf32 needs NVIDIA's Ampere or later",
        choices=("auto", "float32", "tf32", "bfloat16"),
        group=TRAINING,
    )
    early_stopping: str = setting(
        "best",
        "best asks for an improvement by 1e-6 within the patience; window, for the lowest loss "
        "since then to be 1e-6 below the loss that many epochs ago; neither where the learning "
        "rate falls",
        choices=tuple(CRITERIA),
        group=TRAINING,
    )
    compile: str = setting(
        "off", "whether networks train through torch.compile", choices=("on", "off"), group=TRAINING
    )

    cpus_per_trial: float = setting(
        1.0, "cores for each worker of a trial, and its threads", above=0, group=RESOURCES
    )
    gpus_per_trial: float | None = setting(
        None,
        "GPUs for each worker of a trial; of a fraction it gets that share of the memory",
        default_text="0.25 if there are any, 1 with several workers",
        least=0,
        group=RESOURCES,
    )
    memory_gib_per_trial: float = setting(
        0.0,
        "memory to reserve for each worker of a trial",
        default_text="none",
        least=0,
        group=RESOURCES,
    )
    workers_per_trial: int = setting(
        1,
        "more than one trains data-parallel, over nodes too, at about 10 s and 2 GB a trial",
        least=1,
        group=RESOURCES,
    )
    concurrency: int | None = setting(
        None,
        "trials at a time",
        default_text="as many as fit",
        least=1,
        may_change=True,
        group=RESOURCES,
    )
    address: str | None = setting(
        None,
        "a running Ray cluster, as auto or HOST:PORT",
        default_text="start one on this machine",
        may_change=True,
        group=RESOURCES,
    )
    wait_for_nodes: int | None = setting(
        None,
        "on a cluster, start when so many nodes that can train are up; an autoscaler is asked "
        "for them",
        default_text="start at once",
        least=1,
        metavar="N",
        may_change=True,
        group=RESOURCES,
    )
    wait_sec: float = setting(
        900.0, "how long to wait for them", above=0, metavar="SEC", may_change=True, group=RESOURCES
    )

    name: str = setting("", "the run's name", default_text="model, date and time", group=RUN)
    storage: str = setting(
        "results",
        "where tables, checkpoints and networks are kept: a directory, or s3://BUCKET/PATH",
        metavar="DIR",
        may_change=True,
        group=RUN,
    )
    resume: str | None = setting(
        None,
        "go on with a run that was interrupted, or with more --samples",
        default_text="start a new one",
        metavar="NAME",
        may_change=True,
        group=RUN,
    )
    timeout: float | None = setting(
        None,
        "end the search after so many seconds with what it has",
        default_text="none",
        above=0,
        metavar="SEC",
        may_change=True,
        group=RUN,
    )
    wandb: str = setting(
        "offline",
        "Weights & Biases",
        choices=("disabled", "offline", "online"),
        may_change=True,
        group=RUN,
    )
    timing: str = setting(
        "short",
        "whether the best network is timed after the search, for less than a minute",
        choices=("short", "none"),
        may_change=True,
        group=RUN,
    )
    trace: str | None = setting(
        None,
        "write where the seconds went to this file, which chrome://tracing and Perfetto show",
        default_text="none",
        metavar="FILE",
        may_change=True,
        group=RUN,
    )
    verbose: bool = setting(
        False, "show Ray's own messages", default_text="off", short="-v", may_change=True, group=RUN
    )

    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each setting comes from that was given: `flag`, `file` or `run`, by name."""

    def __post_init__(self) -> None:
        if self.compile == "auto":
            raise UsageError(
                "--compile auto: on an NVIDIA H100 a compiled plain loop was not faster either; "
                "choose on or off"
            )
        for name, value in self.flat().items():
            SETTINGS[name].check(name, value)
        for name in self.models:
            check_name(name, AUTO)
        size_of(self.image_size)
        if self.pairs is not None and self.data != "auto":
            raise UsageError(
                f"--pairs {self.pairs} and --data {self.data}: both say where images are; give one "
                f"of both"
            )
        if self.pairs is not None and self.pipeline != STUDY_NAME:
            raise UsageError(
                f"--pairs {self.pairs} and --pipeline {self.pipeline}: pairs say what the pipeline "
                f"makes; give one of both"
            )
        self._check_loss()
        self._check_ranking()
        for name, (low, high) in self.ranges.items():
            if not low <= high:
                raise UsageError(
                    f"{flag(name)} LOW HIGH: LOW ≤ HIGH must hold, but got {low} {high}"
                )
            for end, value in (("LOW", low), ("HIGH", high)):
                if limit := KNOWN[name].broken_limit(value):
                    raise UsageError(
                        f"{flag(name)} LOW HIGH: {end} {limit} must hold, but got {value}"
                    )
        self._check_schedule()
        self._check_search()
        self.asked.check()
        gpus = self.gpus_per_trial or 0
        if gpus > 1 and gpus != int(gpus):
            raise UsageError(f"--gpus-per-trial {gpus}: give a fraction below 1 or a whole number")
        if (self.grace_epochs or 1) > (self.max_epochs or math.inf):
            raise UsageError(
                f"--grace-epochs ≤ --max-epochs must hold, "
                f"but got {self.grace_epochs} and {self.max_epochs}"
            )
        for given in (self.name or None, self.resume):
            if given is not None and not NAME.fullmatch(given):
                raise UsageError(
                    f"a run's name is made of letters, digits, dots, dashes and underscores, "
                    f"at most 64, but got {given!r}"
                )
        if "://" in self.storage:
            check_address(self.storage)

    def _check_search(self) -> None:
        if self.resume is not None:
            return  # these are the run's, and were checked when it began
        for text in self.start or ():
            point_of(text)
        for name, (by, users) in USED_BY.items():
            value, chosen = getattr(self, name), getattr(self, by)
            if value != SETTINGS[name].default and chosen not in users:
                raise UsageError(
                    f"{flag(name)} {value}: {flag(by)} {chosen} does not use that; leave it out, "
                    f"or give {flag(by)} {' or '.join(users)}"
                )

    def _check_schedule(self) -> None:
        if self.schedule is None:
            return
        names = self.schedule.split(",")
        if not set(names) <= set(SCHEDULES):
            raise UsageError(
                f"--schedule {self.schedule}: choose one of {', '.join(SCHEDULES)}, or several "
                f"with commas between"
            )
        if len(set(names)) < len(names):
            raise UsageError(f"--schedule {self.schedule}: name each schedule once")
        for one in self.set or ():
            if one.startswith("schedule="):
                raise UsageError(f"--set {one} and --schedule: say once what schedule is to be")

    def _check_loss(self) -> None:
        loss_registry.check(self.loss)
        if self.resume is not None:
            return  # the rest must be what the run began with, and was checked then
        given = [flag(name) for name in ONLY_PERCEPTUAL if getattr(self, name) is not None]
        if given and "perceptual" not in self.losses:
            raise UsageError(
                f"{' and '.join(given)}: --loss {self.loss} does not use that; "
                f"add --loss perceptual, or leave it out"
            )
        try:
            self.perceptual  # noqa: B018 - it checks itself
        except ValueError as error:
            flags = {theirs: flag(ours) for ours, theirs in PERCEPTUAL.items()}
            words = re.compile(rf"\b({'|'.join(flags)})\b")
            raise UsageError(words.sub(lambda word: flags[word[0]], str(error))) from None

    def _check_ranking(self) -> None:
        if self.metric is not None:
            metric_registry.check(self.metric, COLUMNS_OF_SCORES)
        own = [own_code.short(name) for name in self.own_metrics]
        if self.resume is None and self.rank_by not in (BY_LOSS, *METRICS, *own):
            raise UsageError(
                f"--rank-by {self.rank_by}: choose one of "
                f"{', '.join((BY_LOSS, *METRICS, *own))}, or name a function of your own by "
                f"--metric path/file.py:function, and here as it is called there"
            )

    @property
    def models(self) -> tuple[str, ...]:
        """Networks that may be trained; not all of them need fit the task."""
        return names_of(self.model)

    @property
    def source(self) -> str:
        """Where images are read from."""
        return self.pairs or self.data

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of images."""
        return size_of(self.image_size)

    @property
    def asked(self) -> Asked:
        """What of the network's hyperparameters is asked for, instead of its own."""
        settings = self.set or ()
        if self.schedule is not None:
            settings += (f"schedule={self.schedule}",)
        return Asked(self.ranges, settings)

    @property
    def losses(self) -> dict[str, str]:
        """What trials may minimise, by name; with more than one that is a hyperparameter.

        Each value is what `loss_registry.find` takes in any directory.
        """
        names = self.loss.split(",")
        return {own_code.short(name): own_code.absolute(name) for name in names}

    @property
    def own_losses(self) -> list[str]:
        """Losses of a person's own, as they were given."""
        return [name for name in self.loss.split(",") if name not in LOSSES]

    @property
    def own_metrics(self) -> list[str]:
        """Metrics of a person's own, as they were given."""
        return self.metric.split(",") if self.metric else []

    @property
    def metrics(self) -> MetricSet:
        """What finalists are measured with."""
        return MetricSet(tuple(map(own_code.absolute, self.own_metrics)), self.threshold)

    @property
    def own_names(self) -> list[str]:
        """What is a person's own of network, losses and metrics, as they were given."""
        names = [*self.models, *self.own_losses, *self.own_metrics]
        return [name for name in names if own_code.is_own(name)]

    @property
    def ranking_metric(self) -> str:
        """What the search ranks by, as `metric_registry.find` takes it; empty where it is none."""
        if self.rank_by == BY_LOSS:
            return ""
        own = {own_code.short(name): own_code.absolute(name) for name in self.own_metrics}
        return own.get(self.rank_by, self.rank_by)

    @property
    def mixed_losses(self) -> bool:
        """Whether trials are compared by what `analysis.tables.ranking` has for mixed losses."""
        return len(self.losses) > 1

    @property
    def perceptual(self) -> Perceptual:
        """What the perceptual loss is made of, where it is a loss of this search."""
        given = {theirs: getattr(self, ours) for ours, theirs in PERCEPTUAL.items()}
        if self.perceptual_layers is not None and self.perceptual_weights is None:
            given["layer_weights"] = (1.0,) * len(self.perceptual_layers)
        return Perceptual(**{name: value for name, value in given.items() if value is not None})

    def named(self) -> Self:
        """Return settings with a name for the run, where they have none: network, date and time."""
        if self.name:
            return self
        model = own_code.short(self.model).lower().strip("_")
        return replace(self, name=f"{model}-{datetime.now():%Y%m%d-%H%M%S}")

    def flat(self) -> dict[str, Any]:
        """Return the values by the names in SETTINGS; a range that is not given is None."""
        values = {name: getattr(self, name, None) for name in SETTINGS}
        return {**values, **self.ranges}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from what `flat` returned, or from a part of that, or as JSON has it."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        ranges = {name: given.pop(name) for name in COLUMNS if name in given}
        return cls(**given, ranges={k: ends for k, ends in ranges.items() if ends is not None})

    @classmethod
    def from_run(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from what a run keeps: `flat`, as JSON has it.

        Raises UsageError also where names are missing, or are none: another version's.
        """
        other = {
            "lacks": sorted(set(SETTINGS) - set(values)),
            "has": sorted(set(values) - set(SETTINGS)),
        }
        differences = [f"{what} {', '.join(names)}" for what, names in other.items() if names]
        if differences:
            raise UsageError(
                f"these are settings of another version of transform-tuner: it "
                f"{' and '.join(differences)}"
            )
        return cls.from_flat(values)


SETTINGS = declared(SearchConfig)
"""Every setting by name, in the order of `--help`."""
