"""What is shown: the runs and trials that an address asks for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import pandas as pd

from analysis.charts.labels import data_names, labelled, task_names
from analysis.dashboard.address import Address
from analysis.dashboard.snapshot import Store
from analysis.tables.parameters import shown_space
from trainables.errors import UsageError
from trainables.hyperparameters import Parameter, label

FILTERS = (  # name in the address, what stands above it, the column
    ("pipeline", "Pipelines", "task_name"),
    ("network", "Networks", "model"),
    ("data", "Data", "data_name"),
)
LOSS = "best_validation_loss"
GONE = 5  # runs that are named where they are not there
FROM, TO = ".from", ".to"  # of a filter's name: the ends of an interval


@dataclass(frozen=True)
class Filter:
    """A choice of trials in the sidebar.

    Attributes:
        name: In the address; of an interval with FROM and TO behind it.
        options: What can be chosen; none for an interval.
    """

    name: str
    label: str
    options: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Selection:
    """The runs that are shown, and their tables.

    Attributes:
        every: All rows of `runs`, the newest first, with `task_name` and `data_name`.
        options: The runs that can be chosen, the newest first.
        names: Those that are.
        gone: Asked for, but not there.
    """

    store: Store
    address: Address
    every: pd.DataFrame
    options: tuple[str, ...]
    names: tuple[str, ...]
    gone: tuple[str, ...]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The chosen rows of `runs`."""
        return self.every[self.every.run.isin(self.names)]

    @cached_property
    def all_trials(self) -> pd.DataFrame:
        """Trials of the chosen runs, as `labels.labelled` makes them."""
        return labelled(self.store.frame("trials", self.runs.run), self.runs)

    @cached_property
    def space(self) -> dict[str, Parameter]:
        """What their hyperparameters may be, all runs together."""
        return shown_space(self.runs, self.all_trials)

    @cached_property
    def series(self) -> list[str]:
        """Every series of the chosen runs: each keeps its colour, whatever is filtered."""
        return sorted(self.all_trials.series.unique())

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Trials of the chosen runs that the filters leave.

        Raises UsageError when an end of an interval is no number.
        """
        left = self.all_trials
        for one in self.filters:
            if one.chosen:
                left = left[left[one.name].astype(str).isin(one.chosen)]
            if one.low:
                left = left[left[one.name] >= _number(one.name + FROM, one.low)]
            if one.high:
                left = left[left[one.name] <= _number(one.name + TO, one.high)]
        return left

    @cached_property
    def filters(self) -> list[Filter]:
        """What the trials can be chosen by."""
        trials, found = self.all_trials, []
        for name, head in (("series", "Series"), ("state", "State")):
            if trials[name].nunique() > 1 or self.address.every(name):
                found.append(self._choice(name, head))
        if trials[LOSS].notna().any():
            found.append(self._interval(LOSS, "Validation loss"))
        for name, parameter in self.space.items():
            if trials[name].nunique() < 2:
                continue
            if parameter.is_numeric:
                found.append(self._interval(name, label(name)))
            else:
                found.append(self._choice(name, label(name)))
        return found

    @property
    def missing_runs(self) -> str:
        """Which runs the address names that are not there, as a sentence; empty for none."""
        names = [*self.gone[:GONE], *(["others"] if len(self.gone) > GONE else [])]
        return f"There is no run {' or '.join(names)} here any more." if names else ""

    @cached_property
    def unknown(self) -> list[str]:
        """What the address asks for that no trial has, a sentence each."""
        return [
            f"No trial has {one.label.lower()} {value}: there are {', '.join(one.options)}."
            for one in self.filters
            if one.options
            for value in self.address.every(one.name)
            if value not in one.options
        ]

    def table(self, table: str) -> pd.DataFrame:
        """Return a table's rows of the chosen runs.

        Without its row of `runs` only the timings of a run can be shown.
        """
        return self.store.frame(table, self.names if table == "timings" else self.runs.run)

    def _choice(self, name: str, head: str) -> Filter:
        options = tuple(map(str, sorted(self.all_trials[name].dropna().unique())))
        chosen = tuple(one for one in self.address.every(name) if one in options)
        return Filter(name, head, options, chosen)

    def _interval(self, name: str, head: str) -> Filter:
        low, high = (self.address.one(name + end).strip() for end in (FROM, TO))
        return Filter(name, head, low=low, high=high)


@lru_cache(maxsize=4)
def every_run(store: Store, _key: object) -> pd.DataFrame:
    """Return all rows of `runs`, the newest first, with a name of task and data.

    They are made once for each `_key` of that table.
    """
    runs = store.frame("runs").sort_values("started_at", ascending=False, kind="stable")
    named = {"data_name": data_names(runs), "task_name": task_names(runs)}
    return runs.assign(**{name: one.reindex(runs.run).to_numpy() for name, one in named.items()})


def choose(
    store: Store, address: Address, asked: Sequence[str] | None = None, *, of_all: bool = False
) -> Selection:
    """Return what an address asks for; the newest run where it names none.

    Args:
        store: The tables.
        address: Names runs, or what they have in common.
        asked: Runs in place of those that it names.
        of_all: Whether it asks for all runs, and not for the newest, where it names none.
    """
    runs = every_run(store, store.key("runs"))
    left = runs
    for name, _, column in FILTERS:
        if wanted := address.every(name):
            left = left[left[column].isin(wanted)]
    # Timings without a search are named by their times
    alone = sorted(set(store.runs("timings")) - set(store.runs()), reverse=True)
    options = (*left.run, *alone)
    there = {*runs.run, *alone}
    if asked is None:
        asked = address.every("run")
        names = tuple(name for name in asked if name in options)
        names = names or (options if of_all else options[:1])
    else:
        names = tuple(name for name in asked if name in there)
    return Selection(
        store, address, runs, options, names, tuple(name for name in asked if name not in there)
    )


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
        if math.isnan(value):
            raise ValueError
    except ValueError:
        raise UsageError(f"{name}={text}: give a number, such as 1e-3") from None
    return value
