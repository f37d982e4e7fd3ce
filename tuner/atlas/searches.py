"""The searches of an atlas: what each budget does, which are done, and how one is gone on with.

A search is one run of `tuner.run` for a pipeline, with all networks that fit (`--model auto`), and
then one session of `analysis.timing`. A run for each cell would start Ray, make or read targets and
measure the pipeline's own speed once for each network, 30 s and more a cell. In one run the
networks share the images, and in one session their turns alternate with those of the pipeline.
The finalists of such a run are the best of each network, so that each is trained again with other
seeds, and a run that is resumed goes on at the trial that it was at.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.answer import IN_A_WORD
from analysis.tables.bucket import local_directory
from analysis.tables.files import Row, rows_of
from analysis.timing.subjects import TORCHVISION
from trainables.errors import INTERRUPTED, UsageError, last_line
from trainables.networks.registry import AUTO, names_of
from trainables.settings_fields import as_flags
from trainables.tasks import STUDY_NAME
from tuner.settings import SETTINGS, SearchConfig

Call = Callable[[Sequence[str], Path], int]
"""Runs `python -m …` with its output in a file, and returns its exit status."""
NOT_AT_ALL = IN_A_WORD[""]
SLUG = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much each search of an atlas does.

    Attributes:
        images: Training images; None for all.
        samples: Trials of each network.
        max_epochs: Epochs of a trial that nothing stops.
        finalists: Trials that are measured on the test images, the best of each network with them.
        confirm_seeds: How often each finalist is trained again.
        timed_images: Test images that are timed.
        batch_sizes: Images a call.
    """

    images: int | None
    samples: int
    max_epochs: int
    finalists: int
    confirm_seeds: int
    timed_images: int
    batch_sizes: tuple[int, ...]

    def settings(self, model: str) -> dict[str, Any]:
        """Return what a search is asked for, by the names of its settings.

        Networks that do not fit leave their trials to those that do, so that every pipeline costs
        about the same.
        """
        networks = names_of(model)
        asked = {
            "images": self.images,
            "samples": len(networks) * self.samples,
            "max_epochs": self.max_epochs,
            "finalists": self.finalists,
            "confirm_seeds": self.confirm_seeds,
            "start": sum((START.get(network, ()) for network in networks), ()) or None,
        }
        return {name: value for name, value in asked.items() if value is not None}


START = {
    "kron": (
        "terms=8,width=0,start=map",  # filters and geometry, which are sums of products or nearly
        "terms=2,width=32,start=map,activation=GELU",  # what each pixel goes through alone
    ),
    "can": ("channels=32,depth=4,block=0",),
}
"""What the first trials of a network begin with: with two trials a search finds no such thing."""


BUDGETS = {
    # The gallery's twenty in less than two hours on 2 cores: five minutes each, with their timings.
    # Trials of cnn are most of it
    "small": Budget(
        images=3_000,
        samples=2,
        max_epochs=4,
        finalists=1,
        confirm_seeds=1,
        timed_images=1_024,
        batch_sizes=(1, 64),
    ),
    "full": Budget(
        images=None,
        samples=8,
        max_epochs=20,
        finalists=1,
        confirm_seeds=2,
        timed_images=10_000,
        batch_sizes=(1, 64, 250, 1000),
    ),
}
"""What `--budget` may be."""


@dataclass(frozen=True)
class Search:
    """One search of an atlas.

    Attributes:
        config: Its settings.
        budget: Of the atlas.
    """

    config: SearchConfig
    budget: Budget

    @classmethod
    def of(cls, budget: str, pipeline: str, model: str, prefix: str, **more: Any) -> "Search":
        """Return the search of a pipeline; `more` are settings beside those of the budget.

        Raises UsageError with one sentence for what makes no sense.
        """
        short = [SLUG.sub("-", name.rpartition(":")[2]) for name in (pipeline, model)]
        parts = [prefix, budget, *(short[:1] if model == AUTO else short)]
        asked = BUDGETS[budget].settings(model) | {"pipeline": pipeline, "model": model} | more
        asked |= {"name": "-".join(parts), "wandb": "disabled", "timing": "none"}
        return cls(SearchConfig.from_flat(asked), BUDGETS[budget])

    @property
    def title(self) -> str:
        """What it is called in lines."""
        model = "" if self.config.model == AUTO else f" × {self.config.model}"
        return f"{self.config.pipeline}{model}"

    def tables(self) -> Path:
        """Return the directory of the tables, brought here from a bucket."""
        return local_directory(self.config.storage, self.config.name) / "tables"

    def row(self) -> Row | None:
        """Return its row of `runs`; None where it has not begun."""
        return next(iter(rows_of(self.tables(), "runs", self.config.name)), None)

    def check(self) -> None:
        """Raise UsageError where a run of its name was asked for something else."""
        row = self.row()
        if row is None:
            return
        earlier = json.loads(row["config"])
        asked = self.budget.settings(self.config.model)
        asked |= {"pipeline": self.config.pipeline, "model": self.config.model}
        for name, value in json.loads(json.dumps(asked)).items():  # tuples are lists there
            if earlier.get(name) != value:
                raise UsageError(
                    f"{self.config.storage} has a run {self.config.name} whose {name} is "
                    f"{earlier.get(name)}, not {value}: give another --name"
                )
        if self.config.data not in ("auto", row["data"]):
            raise UsageError(
                f"{self.config.storage} has a run {self.config.name} on {row['data']}, not "
                f"{self.config.data}: give another --name"
            )

    def is_searched(self) -> bool:
        """Return whether its search has come to its end."""
        row = self.row()
        return row is not None and row["status"] == "finished"

    def is_done(self) -> bool:
        """Return whether its networks were timed too."""
        rows = rows_of(self.tables(), "timings", self.config.name)
        timed = any(row["turn"] is not None and row["verdict"] is not None for row in rows)
        return self.is_searched() and timed

    def do(self, call: Call, log: Path) -> str:
        """Do what is left of it; return why it failed, empty where it did not.

        Args:
            call: Runs a command.
            log: Gets what it prints.

        Raises:
            KeyboardInterrupt: A person ended it, or the command.
        """
        if not self.is_searched() and (why := _failure(call, self.search_command(), log)):
            return why
        if not self.is_done():
            return _failure(call, self.timing_command(), log)
        return ""

    def search_command(self) -> list[str]:
        """Return what follows `python -m` to begin the search, or to go on with it."""
        config = self.config
        names = ["storage", "address"]
        settings: dict[str, Any] = {"resume": config.name}
        if self.row() is None:
            names += ["pipeline", "model", "data", "name", "image_size", "wandb", "timing"]
            settings = self.budget.settings(config.model)
        settings |= {name: getattr(config, name) for name in names}
        given = {name: value for name, value in settings.items() if value is not None}
        return ["tuner.run", *as_flags(SETTINGS, given)]

    def timing_command(self) -> list[str]:
        """Return what follows `python -m` to time the networks that replace the pipeline beside it.

        Where none does, all that were measured are timed. They run in eager float32, as their
        accuracy was measured.
        """
        from analysis.atlas.cells import best_of  # here, since it imports pandas

        config = self.config
        cells = best_of(self.tables().parent, [config.name])
        replacing = cells[cells.answer != NOT_AT_ALL]
        trials = {int(trial) for trial in (replacing if len(replacing) else cells).trial}
        pipeline = config.pipeline.rpartition("/")[2]
        if config.pipeline == STUDY_NAME:
            pipeline = next(iter(TORCHVISION))
        only = [pipeline, *(f"trial {trial}" for trial in sorted(trials))]
        command = ["analysis.timing", "--storage", config.storage, "--run", config.name]
        images = min(self.budget.timed_images, (self.row() or {})["test_images"])
        sizes = sorted({min(size, images) for size in self.budget.batch_sizes})
        command += ["--images", str(images), "--batch-sizes", *map(str, sizes)]
        return [*command, "--only", *only]


def _failure(call: Call, command: Sequence[str], log: Path) -> str:
    """Run a command; return why it failed, or nothing."""
    status = call(command, log)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status == 0:
        return ""
    said = last_line(log.read_text(errors="replace")) if log.exists() else ""
    return f"{said or f'exit status {status}'} ({log})"


def call(command: Sequence[str], log: Path) -> int:
    """Run `python -m …`, its output behind that of earlier ones in `log`; return its exit status.

    It is in a process group of its own, so that a Ctrl-C in the terminal reaches it once, from
    here, and it ends as it does by itself.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Not SIGINT, which it ignores where this command was put behind `&`
            process.terminate()
            process.wait()
            raise
