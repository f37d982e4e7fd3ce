"""What a search is: one dataclass, checked, and completed by what the machine offers."""

import json
import math
import re
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from analysis.tables.bucket import check_address
from trainables.networks.registry import check_name, find
from trainables.training.early_stopping import CRITERIA
from tuner import loss_flags
from tuner.storage.run_storage import RunStorage

if TYPE_CHECKING:
    from trainables.networks.base import Budget

SEARCHES = ("random", "tpe")
PRECISIONS = ("auto", "float32", "tf32", "bfloat16")
COMPILE = ("auto", "on", "off")
WANDB_MODES = ("disabled", "offline", "online")
TIMINGS = ("short", "none")
HIGHEST = {"learning_rate": 1e30, "dropout": 1.0, "patience": 1_000_000}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

CHANGEABLE_ON_RESUME = (
    "address",
    "concurrency",
    "resume",
    "storage",
    "timeout",
    "timing",
    "verbose",
    "wait_for_nodes",
    "wait_sec",
    "wandb",
)


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Every setting of `python -m tuner.run`. None stands for "what suits the machine" until `completed`.

    Raises ValueError with one sentence for the first setting that makes no sense.
    """

    model: str = "fc"
    """A registered network, or package.module:Class."""
    data: str = "auto"
    """cifar10, photos, auto or a directory."""
    images: int | None = None
    """How many training images."""
    samples: int | None = None
    """How many trials."""
    max_epochs: int | None = None
    """Epochs of a trial that nothing stops."""
    grace_epochs: int = 1
    """Epochs before ASHA may stop a trial."""
    reduction_factor: float = 3.0
    """ASHA lets one in this many trials go on at each rung."""
    search: str = "random"
    """random, or tpe (Optuna)."""
    learning_rate: tuple[float, float] | None = None
    """Lowest and highest, instead of the network's own range."""
    dropout: tuple[float, float] | None = None
    """Lowest and highest, instead of the network's own range."""
    patience: tuple[int, int] | None = None
    """Lowest and highest early-stopping patience, instead of the network's own range."""
    early_stopping: str = "best"
    """best or window."""
    loss: str = "mse"
    """mse, perceptual, or both with a comma between them: then it is searched."""
    perceptual_layers: tuple[int, ...] | None = None
    """Layers of VGG16 whose activations the perceptual loss compares."""
    perceptual_weights: tuple[float, ...] | None = None
    """What each of them weighs."""
    mse_weight: float | None = None
    """What the mean squared error weighs beside them."""
    perceptual_size: int | None = None
    """Pixels of a side to which VGG16's input is scaled."""
    vgg_weights: str | None = None
    """IMAGENET1K_V1, IMAGENET1K_FEATURES or a file."""
    vgg_normalisation: str | None = None
    """imagenet or features: what a file of weights expects that does not say so itself."""
    batch_size: int | None = None
    """Images per update, over all workers of a trial."""
    precision: str = "auto"
    """auto, float32, tf32 or bfloat16."""
    compile: str = "auto"
    """Whether networks train through torch.compile: on, off, or auto, which `tuner.compile_decision` settles."""
    cpus_per_trial: float = 1.0
    """Cores for each worker of a trial; also its threads."""
    gpus_per_trial: float | None = None
    """Share of a GPU for each worker of a trial."""
    memory_gib_per_trial: float = 0.0
    """Memory to reserve for each worker of a trial; 0 reserves none."""
    workers_per_trial: int = 1
    """More than one trains data-parallel."""
    concurrency: int | None = None
    """Trials at a time."""
    finalists: int = 3
    """Best trials that are evaluated on the test split."""
    confirm_seeds: int = 0
    """How often each finalist is trained again with another seed."""
    seed: int = 0
    name: str = ""
    """Name of the run; empty makes one from the model and the time."""
    storage: str = "results"
    """For tables, checkpoints and networks: a directory, or s3://BUCKET/PATH."""
    address: str | None = None
    """A running Ray cluster; None starts one on this machine."""
    wait_for_nodes: int | None = None
    """How many nodes that can train must be up before the search starts; None waits for none."""
    wait_sec: float = 900.0
    """Seconds to wait for them."""
    resume: str | None = None
    """Name of the run to go on with."""
    wandb: str = "offline"
    """disabled, offline or online."""
    timeout: float | None = None
    """Seconds after which the search ends with what it has."""
    timing: str = "short"
    """Whether the best network is timed after the search: short or none."""
    verbose: bool = False
    """Show Ray's own messages."""

    def __post_init__(self) -> None:
        check_name(self.model)
        self._check_choices()
        self._check_ranges()
        self._check_numbers()
        loss_flags.check(self)
        for name in (self.name or None, self.resume):
            if name is not None and not NAME.fullmatch(name):
                raise ValueError(
                    f"a run's name is made of letters, digits, dots, dashes and underscores, "
                    f"at most 64, but got {name!r}"
                )
        if "://" in self.storage:
            check_address(self.storage)

    def _check_choices(self) -> None:
        choices = {
            "search": SEARCHES,
            "early_stopping": tuple(CRITERIA),
            "precision": PRECISIONS,
            "compile": COMPILE,
            "wandb": WANDB_MODES,
            "timing": TIMINGS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{flag(name)} {getattr(self, name)}: choose one of {', '.join(allowed)}"
                )

    def _check_numbers(self) -> None:
        least = {
            "images": 1,
            "samples": 1,
            "max_epochs": 1,
            "grace_epochs": 1,
            "batch_size": 1,
            "workers_per_trial": 1,
            "concurrency": 1,
            "wait_for_nodes": 1,
            "finalists": 1,
            "confirm_seeds": 0,
            "seed": 0,
            "gpus_per_trial": 0,
            "memory_gib_per_trial": 0,
        }
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and not (value >= lowest and math.isfinite(value)):
                raise ValueError(f"{flag(name)} ≥ {lowest} must hold, but got {value}")
        for name in ("cpus_per_trial", "timeout", "wait_sec"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{flag(name)} > 0 must hold, but got {value}")
        if not (self.reduction_factor > 1 and math.isfinite(self.reduction_factor)):
            raise ValueError(f"--reduction-factor > 1 must hold, but got {self.reduction_factor}")
        if self.seed >= 2**32:
            raise ValueError(f"--seed < 2**32 must hold, but got {self.seed}")
        gpus = self.gpus_per_trial or 0
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"--gpus-per-trial {gpus}: give a fraction below 1 or a whole number")
        if self.max_epochs is not None and self.grace_epochs > self.max_epochs:
            raise ValueError(
                f"--grace-epochs ≤ --max-epochs must hold, but got {self.grace_epochs} and {self.max_epochs}"
            )

    def _check_ranges(self) -> None:
        for name in ("learning_rate", "dropout", "patience"):
            ends = getattr(self, name)
            if ends is not None and not ends[0] <= ends[1]:
                raise ValueError(
                    f"{flag(name)} LOW HIGH: LOW ≤ HIGH must hold, but got {ends[0]} {ends[1]}"
                )
            if ends is not None and ends[1] > HIGHEST[name]:
                raise ValueError(
                    f"{flag(name)} LOW HIGH: HIGH ≤ {HIGHEST[name]:g} must hold, but got {ends[1]}"
                )
        if self.learning_rate is not None and not self.learning_rate[0] > 0:
            raise ValueError(
                f"--learning-rate LOW HIGH: LOW > 0 must hold, but got {self.learning_rate[0]}"
            )
        if self.dropout is not None and not (self.dropout[0] >= 0 and self.dropout[1] < 1):
            raise ValueError(
                f"--dropout LOW HIGH: 0 ≤ LOW and HIGH < 1 must hold, but got {self.dropout}"
            )
        if self.patience is not None and not self.patience[0] >= 1:
            raise ValueError(f"--patience LOW HIGH: LOW ≥ 1 must hold, but got {self.patience[0]}")

    def budget(self, gpus: float) -> "Budget":
        """The network's own default budget where there are GPUs, or where there are none."""
        defaults = find(self.model).defaults
        return defaults.gpu if gpus else defaults.cpu

    def completed(self, *, gpus: float, data: str, train_images: int) -> "SearchConfig":
        """This search with the amount of work settled, where `gpus` are in the cluster.

        Raises ValueError for a setting that the network doesn't have.
        """
        if self.dropout is not None and find(self.model).defaults.dropout is None:
            raise ValueError(f"--dropout: {self.model} has no dropout; leave the flag out")
        budget = self.budget(gpus)
        images = self.images or min(budget.images or train_images, train_images)
        max_epochs = self.max_epochs or max(budget.max_epochs, self.grace_epochs)
        return replace(
            self,
            data=data,
            images=images,
            samples=self.samples or budget.samples,
            max_epochs=max_epochs,
            batch_size=self.batch_size or find(self.model).defaults.batch_size,
            **loss_flags.settled(self),
        )

    def to_json(self) -> str:
        """For the runs table; `from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SearchConfig":
        """The configuration of an earlier session. Keys that this version does not know are an error."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = json.loads(text)
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(
                f"the run was made by another version: it has the settings {', '.join(unknown)}"
            )
        settings: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**settings)

    @property
    def losses(self) -> tuple[str, ...]:
        """What trials may minimise; with more than one that is a hyperparameter."""
        return tuple(self.loss.split(","))

    @property
    def several_losses(self) -> bool:
        """Whether trials are compared by what `analysis.tables.ranking` has for losses of different kinds."""
        return len(self.losses) > 1

    @cached_property
    def run_storage(self) -> RunStorage:
        """Where the tables, networks and checkpoints of this run lie."""
        return RunStorage(self.storage, self.name)


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")
