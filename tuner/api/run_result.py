"""`Result`: what a run found, for Python and notebooks."""

import html
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.answer import Answer, answer, speed_in_words
from analysis.console import DEFAULT_STORAGE, command_text, hyperparameters
from analysis.tables.bucket import local_directory
from analysis.tables.files import Row, read, rows_of, run_of
from analysis.tables.parameters import wide
from analysis.tables.ranking import goal_of, has_mixed_losses, ranked
from analysis.tables.table_sources import BUCKET
from trainables.errors import UsageError
from trainables.hyperparameters import said_of
from trainables.networks.registry import AUTO, NETWORKS
from tuner.api.search_process import follow
from tuner.storage.run_storage import RunStorage

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


def resuming(name: str, storage: str) -> str:
    """Return what to type in Python to go on with a run."""
    more = "" if storage == DEFAULT_STORAGE else f", storage={storage!r}"
    return f"search(resume={name!r}{more})"


class Result:
    """What a run found. A notebook shows it as a card with the answer.

        result = Result("fc-20260101-120000")  # of an earlier run; `search` returns one
        network = result.network()

    Tables are read anew each time, so that a run may still be going on.

    Args:
        name: The run's name.
        storage: Where it lies: a directory, or s3://BUCKET/PATH.
        network: The class of the network, where it is a person's own.

    Raises:
        UsageError: There is no such run, or its tables are not sound; so do all methods.
    """

    def __init__(
        self,
        name: str,
        storage: str | Path = DEFAULT_STORAGE,
        network: "type[nn.Module] | None" = None,
    ) -> None:
        self.name = str(name)  # a number names no run, which is said
        self.storage = str(storage)
        self._network = network
        self.run  # noqa: B018 - it raises where there is none

    @property
    def run(self) -> Row:
        """The row of `runs`: settings, machine, images, task."""
        return run_of(self.storage, self._tables(), self.name)

    @property
    def best(self) -> Row:
        """The row of `trials` of the best trial, with every hyperparameter under its name."""
        _, _, best = self._state()
        if best is None:
            raise UsageError(
                f"{self.name} has no best trial: none has finished an epoch with a finite loss; "
                f"result.trials() says how each ended"
            )
        return {**best, **json.loads(best["parameters"] or "{}")}

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """The hyperparameters of the best trial, by name."""
        return said_of(self.best)

    def network(self, network: "type[nn.Module] | None" = None) -> "nn.Module":
        """Load the network of the best trial, in eval mode. Imports PyTorch.

        Args:
            network: The class, where it is a person's own and was not given to `search` or `Result`
                as an object: a table must not choose what code runs.
        """
        from trainables.networks.weights import load_network

        own, model = network or self._network, self.best["model"]
        if own is None and model not in NETWORKS:
            raise UsageError(
                f"{self.name} searched {model}, a network of your own: give its class, "
                f"result.network(TheClass)"
            )
        local_directory(self.storage, self.name)
        weights = self._place.weights(self.best["trial"])
        if not weights.is_file():
            raise UsageError(
                f"{self.name} has no weights of its best trial yet: a search writes them when it "
                f"ends; go on with {resuming(self.name, self.storage)}"
            )
        return load_network(weights, own if model not in NETWORKS else None)

    def trials(self) -> "pd.DataFrame":
        """Return a row a trial, a column a hyperparameter."""
        trials = wide(self._read("trials"), self._read("runs"))
        return trials.sort_values("trial", ignore_index=True)

    def epochs(self) -> "pd.DataFrame":
        """Return a row an epoch of a trial."""
        return self._read("epochs")

    def scores(self) -> "pd.DataFrame":
        """Return a row a finalist, floor or ceiling by one metric, with its 95 % interval."""
        return self._read("scores")

    def timings(self) -> "pd.DataFrame":
        """Return a row a timed pass of one subject; none before the run is timed."""
        return self._read("timings")

    def report(self) -> Path:
        """Write the run as a page with its figures; return the page's path.

        Raises UsageError where the packages for it are not installed, and SearchError where it
        can't be written.
        """
        follow("analysis.report", [self.name, "--storage", self.storage], _Quiet())
        kept = DEFAULT_STORAGE if self.storage.startswith(BUCKET) else self.storage
        return Path(kept) / "reports" / self.name / "report.html"

    @property
    def answer(self) -> Answer:
        """Whether the best network replaces the pipeline, how exactly and how fast, in words."""
        return self._answer(*self._state())

    def __repr__(self) -> str:
        return f"<Result {self.name}: {self.answer.sentence}>"

    def _repr_html_(self) -> str:
        tables, run, best = self._state()
        found = self._answer(tables, run, best)
        lines = [f"<b>{html.escape(found.question)} {html.escape(found.reply)}</b>"]
        lines.append(html.escape(found.sentence))
        if best is not None:
            is_auto = run["model"] == AUTO
            chosen = hyperparameters(best, model=is_auto, loss=has_mixed_losses(run))
            lines.append(html.escape(f"Best: trial {best['trial']} ({chosen})"))
        lines.append(f"Run <code>{html.escape(self.name)}</code>")
        return f"<div>{'<br>'.join(lines)}</div>"

    def _answer(self, tables: Path, run: Row, best: Row | None) -> Answer:
        from analysis.timing import comparison  # here, since it imports pandas

        speed = ""
        if best is not None:
            turns, series = comparison.last_measured(read(tables, "timings", self.name))
            command = command_text("analysis.timing", "--run", self.name, storage=self.storage)
            speed = speed_in_words(turns, series, best["trial"], command)
        return answer(run, best, rows_of(tables, "scores", self.name), speed)

    @cached_property
    def _place(self) -> RunStorage:
        return RunStorage(self.storage, self.name)

    def _tables(self) -> Path:
        """Return the directory of tables; of a bucket what has changed is fetched first."""
        return local_directory(self.storage, self.name) / "tables"

    def _read(self, table: str) -> "pd.DataFrame":
        return read(self._tables(), table, self.name)

    def _state(self) -> tuple[Path, Row, Row | None]:
        """Return the directory of the tables, fetched once, and the rows of run and best trial."""
        tables = self._tables()
        run = run_of(self.storage, tables, self.name)
        trials = rows_of(tables, "trials", self.name)
        best = next(iter(ranked(trials, goal_of(run).between(has_mixed_losses(run)))), None)
        return tables, run, best


class _Quiet:
    """Shows nothing."""

    def line(self, text: str) -> None:
        pass

    def progress(self, text: str) -> None:
        pass
