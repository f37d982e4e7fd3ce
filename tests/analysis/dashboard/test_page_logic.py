"""What the pages say for tables in every state, without a browser."""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from analysis.charts import views
from analysis.dashboard import app, search
from analysis.dashboard.address import Address
from analysis.dashboard.app import Site
from analysis.dashboard.blocks import (
    Choices,
    Code,
    Facts,
    Figure,
    Group,
    KeyFigures,
    Page,
    Table,
)
from analysis.dashboard.search import DRAWN
from analysis.dashboard.selection import Selection
from analysis.dashboard.snapshot import Store
from analysis.tables.files import publish, read, rows_of, table_path
from analysis.tables.parameters import space_text
from analysis.tables.ranking import RANKED_BY
from tests.analysis.dashboard.conftest import FAILED, RUNS, TRACEBACK, revise
from tests.analysis.made_runs import (
    SPACE,
    change,
    epoch_frame,
    make_auto_run,
    make_run,
    make_run_of_two_losses,
    put,
    run_row,
    timing_rows,
    trial_frame,
)
from trainables.hyperparameters import Parameter
from trainables.networks.registry import build
from trainables.networks.weights import SavedNetwork, save_network

SLICES = ("Learning rate", "Dropout", "Patience")
STRANGE = "a*b*_[x](http:evil)`~<b>&amp;$1$\"'<i>%2F?#"  # a folder's name: anything but a slash
PAGES = ("search", "trials", "quality", "speed", "atlas")
LONGEST = 2  # a page with one name in its query: sorted, or for a run
LOADING = "Load its network"


class Shares:
    """What works out importances: never, or at once."""

    finished = 0

    def __init__(self, function: Callable[..., pd.DataFrame | None]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> pd.DataFrame | None:
        return self.function(*arguments)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Pages without what takes seconds: their scripts, and the forests of importances."""
    with pytest.MonkeyPatch.context() as patch:
        names = ("icon.svg", "page.css", "page.js", "vega.js")
        patch.setattr(app, "assets", lambda: dict.fromkeys(names, ""))
        patch.setattr(search, "shares_of", Shares(lambda *_: None))
        yield


class Text(HTMLParser):
    """Everything of a page that is to be read, a line for each text; its elements and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self._in_a_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_a_script = tag == "script"
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if (tag, name) == ("a", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._in_a_script = False

    def handle_data(self, data: str) -> None:
        if not self._in_a_script and data.strip():
            self.lines.append(data.strip())


@dataclass
class Seen:
    """A page as the server drew it."""

    status: int
    html: str
    selection: Selection
    page: Page

    @property
    def text(self) -> str:
        return "\n".join(Text(self.html).lines)

    def blocks(self, kind: type) -> list[Any]:
        """All blocks of a kind, also those within groups."""
        every = [
            one
            for block in self.page.blocks
            for one in (block.blocks if isinstance(block, Group) else [block])
        ]
        return [one for one in every if isinstance(one, kind)]

    @property
    def figures(self) -> dict[str, tuple[str, str]]:
        """Key figures with their notes."""
        rows = self.blocks(KeyFigures)
        return {one.label: (one.value, one.note) for row in rows for one in row.figures}

    @property
    def charts(self) -> list[str]:
        """Titles of the charts that are drawn."""
        return [one.title for one in self.blocks(Figure) if not one.missing]

    def drawn(self, title: str) -> pd.DataFrame:
        """The rows behind a chart: the largest of its tables."""
        (found,) = self.panels(title)
        return found

    def panels(self, title: str) -> list[pd.DataFrame]:
        """The rows behind each chart of this title."""
        figures = [one for one in self.blocks(Figure) if one.title == title]
        return [pd.DataFrame(max(one.specified["datasets"].values(), key=len)) for one in figures]

    def table(self, name: str) -> Table:
        (table,) = [one for one in self.blocks(Table) if one.name == name]
        assert isinstance(table, Table)
        return table

    def code(self, title: str) -> str:
        return next(one.text for one in self.blocks(Code) if one.title == title)

    def choices(self, label: str) -> list[str]:
        return next(
            [option.text for option in one.options]
            for one in self.blocks(Choices)
            if one.label == label
        )


class Remembering(Site):
    """A site that keeps what it drew last."""

    last: tuple[Selection, Page]

    def page(self, address: Address) -> tuple[Selection, Page]:
        self.last = super().page(address)
        return self.last


def opened(storage: Path, path: str = "search", **query: str | list[str]) -> Seen:
    """A page with this in its address."""
    site = Remembering(Store(storage))
    asked = [(name, [value] if isinstance(value, str) else value) for name, value in query.items()]
    address = Address(path, tuple((name, one) for name, values in asked for one in values))
    return Seen(*site.html(address), *site.last)


def answered(storage: Path, path: str, query: tuple[tuple[str, str], ...] = ()) -> tuple[int, str]:
    """Status and text of a page that may not be there."""
    status, html = Site(Store(storage)).html(Address(path, query))
    return status, "\n".join(Text(html).lines)


def trial(run: str, number: int) -> str:
    """The path of a trial's page."""
    return f"trial/{quote(run, safe='')}/{number}"


def test_key_figures_are_those_of_the_run(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "shares_of", Shares(views.importances))
    seen = opened(storage, run="cnn-1")
    trials = read(storage / "tables", "trials", "cnn-1")
    best = trials[trials.stop_reason != "error"].sort_values("best_validation_loss").iloc[0]
    assert seen.figures == {
        "Trials": ("24", "0 running"),
        "Finished": ("12", "11 stopped early, 1 failed"),
        "Epochs": (f"{trials.epochs.sum()}", "24:00 of training"),
        "Loss of the best": (f"{best.best_validation_loss:.3g}", f"trial {best.trial}, epoch 1"),
        "Cosine ≥ 0.95": (
            f"{int(best.best_validation_accuracy * 1000) / 10:.1f} %",
            "of 5,000 validation images, that epoch",
        ),
    }
    for label, (value, note) in seen.figures.items():
        assert "\n".join(one for one in (label, value, note) if one) in seen.text
    assert "separable-1: running" in seen.text, "whichever is shown"
    assert sorted(seen.charts) == sorted(
        ["Search history", "Parallel coordinates", "Hyperparameter importance", *SLICES]
    )


def test_the_newest_run_is_shown_first(storage: Path) -> None:
    seen = opened(storage)
    assert seen.selection.names == ("separable-1",)
    assert seen.selection.options == ("separable-1", "fc-photos", "cnn-1", "fc-1")
    assert seen.figures["Trials"] == ("24", "2 running")
    assert "separable-1: running, 24 trials" in seen.text


def test_what_a_running_search_is_doing_stands_beside_every_page(tmp_path: Path) -> None:
    asked = {"config": json.dumps({"model": "fc", "samples": 40}), "left_sec": 100.0}
    make_run(tmp_path, "fc-1", status="running", phase="searching", tested=False, **asked)
    for path in ("", *PAGES, "run/fc-1", trial("fc-1", 0)):
        assert "searching, 24 of 40 trials, about 1:40 left" in opened(tmp_path, path).text


def test_the_page_of_a_run_says_where_its_settings_come_from(tmp_path: Path) -> None:
    config = {"model": "kron", "samples": 8, "pipeline": "blur", "seed": 0, "timeout": None}
    origins = {"model": "file", "samples": "flag", "pipeline": "run"}
    asked = {"config": json.dumps(config), "given": json.dumps(origins)}
    make_run(tmp_path, "kron-1", trials=2, tested=False, **asked)
    facts = next(
        one for one in opened(tmp_path, "run/kron-1").blocks(Facts) if one.title == "Configuration"
    )
    assert facts.pairs == [
        ("model", "kron · from --config"),
        ("samples", "8 · typed"),
        ("pipeline", "blur · from --like"),
        ("seed", "0"),
    ]


def test_a_run_of_two_losses_is_ranked_by_accuracy_and_the_pages_say_so(tmp_path: Path) -> None:
    make_run_of_two_losses(tmp_path)
    seen = opened(tmp_path)
    assert (
        "By the highest validation cosine accuracy at 0.95, then the highest mean cosine"
        in seen.text
    )
    found = seen.table("best").frame
    assert list(zip(found.series, found.trial, strict=True)) == [
        ("fc, perceptual", 3),
        ("fc, mse", 0),
    ]
    seen = opened(tmp_path, "quality", images="worst")
    assert "Best: the highest validation cosine accuracy at 0.95" in seen.text
    assert seen.choices("of") == ["fc, perceptual", "fc, mse"]
    assert opened(tmp_path, "trials").table("trials").frame.trial.tolist() == [3, 2, 0, 1]


def test_the_metric_that_a_run_ranks_by_is_shown_on_its_pages(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1", trials=4, rank_by="psnr", higher_is_better=True)
    change(tmp_path, "trials", best_validation_score=[20.0, 31.25, 25.0, 30.0])
    assert opened(tmp_path).figures["Mean psnr"] == ("31.25", "validation, that epoch")
    assert opened(tmp_path, trial("fc-1", 3)).figures["Mean psnr"] == ("30", "validation")
    table = opened(tmp_path, "trials", run="fc-1").table("trials")
    heads = {column.key: column.head for column in table.columns}
    assert heads["best_validation_score"] == "Mean psnr"
    assert table.frame.trial.tolist() == [1, 3, 2, 0]
    make_run(tmp_path, "fc-2", trials=4)
    table = opened(tmp_path, "trials", run="fc-2").table("trials")
    assert "best_validation_score" not in {column.key for column in table.columns}


def test_the_quality_page_has_a_column_for_each_metric_at_the_threshold_of_the_runs(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "fc-1", threshold=0.9)
    rows = rows_of(tmp_path / "tables", "scores", "fc-1")
    own = [row | {"metric": "edges", "value": 0.25} for row in rows if row["metric"] == "ssim"]
    rows = [row for row in rows if row["metric"] != "ssim"] + own
    publish(tmp_path / "tables", "scores", "fc-1", rows)
    seen = opened(tmp_path, "quality", run="fc-1")
    assert "At cosine ≥ 0.9" in seen.text
    table = seen.table("accuracy")
    assert "edges" in {column.key for column in table.columns}
    scores = table.frame.set_index("subject")
    assert scores["mean"].loc["flat image"] == pytest.approx(0.33 + 3 * 0.05)
    assert (scores.edges == 0.25).all()
    assert (scores.psnr == 24).all()
    assert "Cosine ≥ 0.9" in opened(tmp_path, run="fc-1").figures

    make_run(tmp_path, "fc-2")  # at 0.95, which both have
    assert "At cosine ≥ 0.95" in opened(tmp_path, "quality", run=["fc-1", "fc-2"]).text


def test_runs_of_one_pipeline_whose_code_changed_are_told_and_never_pooled(tmp_path: Path) -> None:
    edited = np.full(64 * 784, 0.5, "<f4").tobytes()
    make_run(tmp_path, "fc-1", pipeline="mine.py:blur")
    make_run(tmp_path, "fc-2", pipeline="mine.py:blur", probe_outputs=edited, day=1)
    seen = opened(tmp_path, run=["fc-1", "fc-2"])
    assert "mine.py:blur gives other outputs in fc-2 than in fc-1" in seen.text
    assert [one.series.nunique() for one in seen.panels("Search history")] == [1, 1]


def test_losses_on_different_data_are_series_of_their_own(storage: Path) -> None:
    seen = opened(storage, run=list(RUNS))
    assert seen.figures["Trials"] == ("96", "2 running")
    assert not {"Loss of the best", "Cosine ≥ 0.95"} & set(seen.figures)
    remark = (
        "There are 4 series: networks, pipelines, losses, training or validation images differ."
    )
    assert remark in seen.text
    cifar = {"cnn on cifar10", "fc on cifar10", "separable on cifar10"}
    assert [set(one.series) for one in seen.panels("Search history")] == [cifar, {"fc on photos"}]
    assert set(seen.table("best").frame.series) == cifar | {"fc on photos"}
    assert set(seen.drawn("Runs side by side").label) == {
        "cnn-1 · cnn on cifar10", "fc-1 · fc on cifar10", "separable-1 · separable on cifar10"
    }  # fmt: skip


def test_filters_of_runs_leave_only_those_that_match(storage: Path) -> None:
    seen = opened(storage, network="fc")
    assert seen.selection.options == ("fc-photos", "fc-1")
    assert set(seen.drawn("Search history").run) == {"fc-photos"}
    seen = opened(storage, network="fc", data="cifar10")
    assert seen.selection.options == ("fc-1",)
    assert set(seen.drawn("Search history").run) == {"fc-1"}
    assert "No run is left by these filters." in opened(storage, network="nothing").text


@pytest.mark.parametrize("path", ["search", "trials"])
def test_filters_of_trials_leave_only_those_within(path: str, storage: Path) -> None:
    trials = read(storage / "tables", "trials", "fc-1")
    rates = trials.learning_rate
    limits = {"learning_rate.from": "1e-4", "learning_rate.to": "1e-2", "state": "stopped"}
    wanted = set(
        trials.trial[rates.between(1e-4, 1e-2) & trials.stop_reason.isin(["asha", "median"])]
    )
    assert 0 < len(wanted) < len(trials)
    seen = opened(storage, path, run="fc-1", **limits)
    if path == "search":
        assert set(seen.drawn("Search history").trial) == wanted
        assert seen.figures["Trials"][0] == str(len(wanted))
    else:
        assert set(seen.table("trials").frame.trial) == wanted
    assert {(one.name, one.low, one.high) for one in seen.selection.filters if one.low} == {
        ("learning_rate", "1e-4", "1e-2")
    }
    assert {one.name: one.chosen for one in seen.selection.filters if one.chosen} == {
        "state": ("stopped",)
    }


@pytest.mark.parametrize("path", ["search", "trials", "quality"])
def test_filters_that_leave_no_trial_are_told(path: str, storage: Path) -> None:
    seen = opened(storage, path, run="fc-1", **{"learning_rate.to": "1e-9"})
    assert "No trial is left by these filters." in seen.text


def test_a_state_that_no_trial_has_is_told_with_those_there_are(storage: Path) -> None:
    seen = opened(storage, run="fc-1", state="lost")
    assert "No trial has state lost: there are finished, stopped." in seen.text
    assert seen.figures["Trials"][0] == "24"


@pytest.mark.parametrize(
    ("path", "word"), [("search", "tiny"), ("trials", "nan"), ("quality", "1,5")]
)
def test_an_end_of_an_interval_that_is_no_number_is_told_in_a_sentence(
    path: str, word: str, storage: Path
) -> None:
    status, text = answered(storage, path, (("run", "fc-1"), ("learning_rate.from", word)))
    assert status == 400
    assert f"learning_rate.from={word}: give a number, such as 1e-3" in text


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nothing", "There is no page nothing."),
        ("run/nothing", "There is no run nothing here"),
        ("trial/nothing/1", "There is no run nothing here"),
        ("trial/fc-1/99", "The run fc-1 has no trial 99"),
        ("trial/fc-1/x", "The run fc-1 has no trial x"),
        ("trial/fc-1", "There is no page trial/fc-1."),
    ],
)
def test_an_address_of_what_is_not_there_says_so(path: str, told: str, storage: Path) -> None:
    status, text = answered(storage, path)
    assert status == 404
    assert told in text


def test_a_run_of_the_address_that_is_gone_is_told_and_another_is_shown(storage: Path) -> None:
    seen = opened(storage, run="nothing")
    assert seen.page.title == "Search"
    assert "There is no run nothing here any more." in seen.text
    seen = opened(storage, run=["nothing", "fc-1"])
    assert seen.selection.names == ("fc-1",)
    assert "There is no run nothing here any more." in seen.text


def test_an_empty_folder_says_how_to_begin(tmp_path: Path) -> None:
    for path in ("", *PAGES):
        seen = opened(tmp_path, path)
        assert seen.page.title == "No runs yet"
        assert f"python -m tuner.run --storage {tmp_path}" in seen.text


@pytest.mark.parametrize(
    ("path", "hint"),
    [("search", "No epoch with a finite loss has ended yet in these runs."),
     ("trials", "There are no trials of these runs yet"),
     ("quality", "No scores yet"), ("speed", "No timings yet"), ("", "1 runs")],
)  # fmt: skip
def test_a_run_without_trials_is_told(path: str, hint: str, tmp_path: Path) -> None:
    publish(tmp_path / "tables", "runs", "fc-1", [run_row("fc-1")])
    seen = opened(tmp_path, path)
    assert "No search is running." in seen.text
    assert hint in seen.text
    if path == "search":
        assert seen.figures["Trials"] == ("0", "0 running")
    assert seen.charts == []


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("search", "No epoch with a finite loss has ended yet in these runs."),
        ("trials", "No epoch has ended yet in these runs."),
        ("quality", "No scores yet: a search measures its finalists"),
        ("speed", "No timings yet: they are measured"),
        ("trial/fc-1/0", "No epoch of it has ended yet."),
    ],
)
def test_trials_without_an_epoch_are_told(path: str, hint: str, tmp_path: Path) -> None:
    make_run(tmp_path, trials=3, tested=False, status="running")
    nothing = {
        "best_epoch": None,
        "best_validation_loss": None,
        "best_validation_accuracy": None,
        "epochs": 0,
    }
    revise(
        tmp_path,
        "fc-1",
        range(3),
        stop_reason=None,
        ended_at=None,
        device=None,
        checkpoint=None,
        **nothing,
    )
    put(tmp_path / "tables", "epochs", "fc-1", epoch_frame(trial_frame(run_row("fc-1"), 0, 1), 1))
    seen = opened(tmp_path, path)
    assert hint in seen.text
    assert "fc-1: running, 3 trials" in seen.text
    assert seen.charts == (["Timeline"] if path == "trials" else [])
    if path == trial("fc-1", 0):
        assert "It has no checkpoint yet" in seen.text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("search", ["Search history", "Parallel coordinates"]),
        ("trials", ["Learning curves", "Timeline"]),
    ],
)
def test_one_trial_with_one_epoch_is_drawn(path: str, shown: list[str], tmp_path: Path) -> None:
    make_run(tmp_path, trials=1, epochs=1, tested=False)
    seen = opened(tmp_path, path)
    assert seen.charts == shown
    if path == "search":
        assert "Validation loss of 1 trial in their order" in seen.text
        assert "Hyperparameter importance needs 20 trials" in seen.text


def test_a_file_that_is_damaged_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1", tested=False)
    make_run(tmp_path, "fc-2", tested=False, day=1)
    path = table_path(tmp_path / "tables", "trials", "fc-1")
    path.write_bytes(path.read_bytes()[:-100])
    seen = opened(tmp_path, run=["fc-1", "fc-2"])
    assert "1 file can't be used and is left out:" in seen.text
    assert f"{path}: can't be read: " in seen.text
    assert seen.figures["Trials"] == ("24", "0 running")
    assert set(seen.drawn("Search history").run) == {"fc-2"}


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("search", ["Search history", "Parallel coordinates", *SLICES]),
        ("trials", ["Learning curves"]),
        ("trial/fc-1/0", ["Loss by epoch"]),
    ],
)
def test_losses_of_zero_are_told_instead_of_drawn(
    path: str, left_out: list[str], tmp_path: Path
) -> None:
    make_run(tmp_path, trials=3, epochs=2, tested=False)
    change(tmp_path, "trials", best_validation_loss=0.0)
    change(tmp_path, "epochs", train_loss=0.0, validation_loss=0.0)
    seen = opened(tmp_path, path)
    for title in left_out:
        assert f"{title}: no value is above 0, and its axis is logarithmic." in seen.text
    assert not set(seen.charts) & set(left_out)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("", "All runs"),
        ("search", "No epoch with a finite loss has ended yet"),
        ("trials", "All trials"),
        ("trial/fc-1/0", "Trial 0 of fc-1"),
    ],
)
def test_trials_that_all_diverged_are_no_error(path: str, shown: str, tmp_path: Path) -> None:
    make_run(tmp_path, trials=2, epochs=2, tested=False)
    nothing = dict.fromkeys(("best_epoch", *RANKED_BY))
    change(tmp_path, "trials", stop_reason="diverged", **nothing)
    change(tmp_path, "epochs", train_loss=math.inf, validation_loss=math.inf)
    assert shown in opened(tmp_path, path).text


@pytest.fixture(scope="module")
def with_a_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, its folder copied beside it, and one whose trials are doubled."""
    storage = tmp_path_factory.mktemp("copied")
    make_run(storage, "fc-1")
    make_run(storage, "fc-2", trials=3, tested=False)
    for folder in (storage / "tables").glob("*/run=fc-1"):
        shutil.copytree(folder, folder.with_name("run=fc-1-backup"))
    trials = read(storage / "tables", "trials", "fc-2")
    put(storage / "tables", "trials", "fc-2", pd.concat([trials, trials]))
    return storage


@pytest.mark.parametrize(
    ("path", "count"), [("", 0), ("search", 5), ("trials", 2), ("quality", 1), ("speed", 1)]
)
def test_beside_the_copy_of_a_run_and_doubled_rows_every_page_shows_the_rest_and_names_them(
    path: str, count: int, with_a_copy: Path
) -> None:
    seen = opened(with_a_copy, path, run=["fc-1", "fc-1-backup", "fc-2"])
    assert len(seen.charts) >= count
    assert set(seen.selection.runs.run) == {"fc-1", "fc-2"}
    assert seen.figures.get("Trials", ("24",))[0] == "24"
    assert "files can't be used and are left out:" in seen.text
    tables = with_a_copy / "tables"
    for text in (
        f"{table_path(tables, 'runs', 'fc-1-backup')}: column run, row 1: is fc-1, "
        "should be fc-1-backup as its folder says; put a sound copy in its place, or move it away",
        f"{table_path(tables, 'trials', 'fc-2')}: row 4: has the key of an earlier row (trial 0); "
        "so are 2 more rows; put a sound copy in its place, or move it away",
    ):
        assert text in seen.text


def test_a_file_of_a_newer_version_is_named_too(tmp_path: Path) -> None:
    make_run(tmp_path, tested=False)
    path = table_path(tmp_path / "tables", "trials", "fc-1")
    newer = {**pq.read_schema(path).metadata, b"schema_version": b"99"}
    grown = pq.read_table(path).append_column("news", pa.nulls(24))
    pq.write_table(grown.replace_schema_metadata(newer), path)
    assert "it has schema version 99" in opened(tmp_path).text


def test_timings_without_a_search_are_shown(tmp_path: Path) -> None:
    for name in ("timing-2026-01-01", "timing-2026-01-02"):
        publish(tmp_path / "tables", "timings", name, timing_rows(name))
    seen = opened(tmp_path, "speed")
    assert seen.selection.options == ("timing-2026-01-02", "timing-2026-01-01")
    assert "No search is running." in seen.text
    assert "Verdicts of 9 series: 6 valid, 3 rough." in seen.text
    assert "There are no trials of these runs yet" in opened(tmp_path, "trials").text
    assert "No scores yet" in opened(tmp_path, "quality").text
    assert opened(tmp_path).status == opened(tmp_path, "").status == 200


def test_of_very_many_trials_the_best_are_drawn_and_that_is_told(tmp_path: Path) -> None:
    make_run(tmp_path, trials=DRAWN + 100, epochs=1, tested=False)
    seen = opened(tmp_path)
    assert seen.figures["Trials"] == ("2,100", "0 running")
    assert "Validation loss of the 2,000 best of 2,100 trials in their order" in seen.text
    assert "One line a trial, the 2,000 best of 2,100 trials" in seen.text
    shown = seen.drawn("Search history")
    losses = read(tmp_path / "tables", "trials").best_validation_loss.sort_values()
    assert sorted(shown.best_validation_loss) == losses.head(DRAWN).tolist()
    trials = opened(tmp_path, "trials")
    assert "Validation loss of the 100 best of 2,100 trials by epoch" in trials.text
    assert trials.drawn("Learning curves").trial.nunique() == 100
    table = trials.table("trials")
    assert (len(table.frame), len(table.shown)) == (2100, 100)
    assert [part.text for part in table.parts][-1] == "2,001 to 2,100"


def test_a_long_table_is_turned_page_by_page_in_the_order_that_was_asked_for(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, trials=250, epochs=1, tested=False)
    rates = read(tmp_path / "tables", "trials").learning_rate.sort_values(ascending=False)
    order = {"run": "fc-1", "trials-by": "-learning_rate"}
    second = opened(tmp_path, "trials", **order, **{"trials-from": "100"}).table("trials")
    assert second.shown.learning_rate.tolist() == rates.iloc[100:200].tolist()
    assert [part.is_chosen for part in second.parts] == [False, True, False]
    for nonsense in ("-1", "x", "9" * 40, "250"):
        asked = {**order, "trials-from": nonsense}
        assert opened(tmp_path, "trials", **asked).table("trials").start == 0


def test_a_head_sorts_up_then_down_and_says_how(storage: Path) -> None:
    table = opened(storage, "trials", run="fc-1").table("trials")
    heads = {column.key: (link, state) for column, link, state in table.heads()}
    assert all(state == "" for _, state in heads.values())
    assert heads["epochs"][0].endswith("?run=fc-1&trials-by=epochs")
    seen = opened(storage, "trials", run="fc-1", **{"trials-by": "best_validation_loss"})
    losses = seen.table("trials").shown.best_validation_loss
    assert losses.is_monotonic_increasing
    assert 'aria-sort="ascending"' in seen.html
    heads = {column.key: link for column, link, _ in seen.table("trials").heads()}
    assert heads["best_validation_loss"].endswith("?run=fc-1&trials-by=-best_validation_loss")
    unknown = opened(storage, "trials", run="fc-1", **{"trials-by": "nothing"})
    assert unknown.table("trials").shown.equals(table.shown)


@pytest.mark.parametrize("path", ["", "search", "trials", "quality", "speed"])
def test_names_that_would_mean_something_in_html_are_plain_text(path: str, tmp_path: Path) -> None:
    make_run(tmp_path, STRANGE, day=1, data=STRANGE)
    make_run(tmp_path, "fc-2", validation_fingerprint="v", test_fingerprint="t")
    seen = opened(tmp_path, path, run=[STRANGE, "fc-2"])
    assert set(seen.selection.names) == {STRANGE, "fc-2"}
    read = Text(seen.html)
    assert not {"b", "i"} & read.tags
    assert STRANGE in seen.text


def test_pages_of_a_run_with_such_a_name_are_found_by_the_links_to_it(tmp_path: Path) -> None:
    make_run(tmp_path, STRANGE, trials=1, epochs=1, tested=False)
    revise(tmp_path, STRANGE, [0], stop_reason="error", error=f"{STRANGE}</pre></script>")
    links = Text(opened(tmp_path, "trials", run=STRANGE).html).links
    for kind in ("run", "trial"):
        link = next(one for one in links if one.startswith(f"./{kind}/"))
        seen = opened(tmp_path, link.partition("?")[0].removeprefix("./"))
        assert seen.status == 200
        assert STRANGE in seen.page.title
        assert not {"b", "i"} & Text(seen.html).tags
    assert f"{STRANGE}</pre></script>" in seen.text


def test_every_link_leads_to_a_page(storage: Path) -> None:
    site = Site(Store(storage))
    followed = set()
    queue = ["http://here/", "http://here/compare?trial=fc-1/8&trial=fc-1/2"]
    while queue:
        parts = urlsplit(queue.pop())
        query = tuple(parse_qsl(parts.query))
        kind = (parts.path.split("/")[1], *sorted(dict(query)))
        if kind[0] in ("static", "save") or kind in followed or len(kind) > LONGEST:
            continue
        followed.add(kind)
        status, html = site.html(Address(parts.path.strip("/"), query))
        assert status == 200, parts.geturl()
        queue += [urljoin(parts.geturl(), link) for link in Text(html).links if link[0] != "#"]
    assert {kind[0] for kind in followed} == {"", *PAGES, "run", "trial", "compare"}


def test_a_failed_trial_shows_its_traceback_as_it_is(storage: Path) -> None:
    seen = opened(storage, trial("cnn-1", FAILED))
    assert seen.page.title == f"Trial {FAILED} of cnn-1"
    assert seen.code("It failed") == TRACEBACK
    assert TRACEBACK in seen.text
    assert "cnn, 3 epochs (failed), on cpu" in seen.text
    assert "Images are kept of a search's finalists only" in seen.text


def test_ticked_trials_stand_side_by_side(storage: Path) -> None:
    seen = opened(storage, "compare", trial=["fc-1/8", "fc-1/2", "fc-1/99"])
    assert "1 of the 3 trials that were asked for are not there." in seen.text
    table = seen.table("compared").frame.set_index("")
    trials = read(storage / "tables", "trials", "fc-1").set_index("trial")
    assert {*table.columns} == {"fc, trial 8", "fc, trial 2"}
    for number in (8, 2):
        assert table.loc["Loss", f"fc, trial {number}"] == (
            f"{trials.best_validation_loss[number]:#.3g}"
        )
    assert set(seen.drawn("Learning curves").series) == {"fc, trial 8", "fc, trial 2"}
    two_runs = opened(storage, "compare", trial=["fc-1/8", "cnn-1/8"])
    assert {"fc, trial 8 of fc-1", "cnn, trial 8 of cnn-1"} < {*two_runs.table("compared").frame}
    assert "Tick trials in the table" in opened(storage, "compare").text


def test_the_page_of_a_run_says_what_was_asked_and_how_to_go_on(storage: Path) -> None:
    seen = opened(storage, "run/cnn-1")
    assert "python -m tuner.run --model fc" in seen.code("Command")
    for text in (
        *("AMD EPYC", "45,000, SHA-256 train-pixels", "not run from a checkout"),
        f"python -m tuner.run --resume cnn-1 --storage {storage}",
        f"python -m analysis.timing --run cnn-1 --storage {storage}",
    ):
        assert text in seen.text, text


def test_the_lines_that_load_a_finalist_load_it(tmp_path: Path) -> None:
    make_run(tmp_path, trials=4)
    network = build("fc", dropout=0.1).eval()
    weights = tmp_path / "networks" / "run=fc-1" / "trial-0002.safetensors"
    save_network(weights, network.state_dict(), SavedNetwork("fc", {"dropout": 0.1}, {}))
    lines = opened(tmp_path, trial("fc-1", 2)).code(LOADING)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    found = {"images": images}
    exec(lines, found)
    assert torch.equal(found["outputs"], network(images.float() / 255))
    assert "Only finalists have a weights file" in opened(tmp_path, trial("fc-1", 0)).text


def test_whatever_a_run_searched_is_drawn_and_shown_and_builds_its_network(tmp_path: Path) -> None:
    own = {"channels": Parameter(2, 4), "slope": Parameter(0.0, 1.0), "depth": Parameter(4)}
    make_run(tmp_path, trials=24, tested=False, space=space_text({**SPACE, **own}))
    said = [f'{{"channels": {2 + n % 3}, "slope": {n / 100}}}' for n in range(24)]
    change(tmp_path, "trials", parameters=said, checkpoint=str(tmp_path))
    seen = opened(tmp_path, trial("fc-1", 2))
    assert list(seen.figures)[:5] == [
        *("Learning rate", "Dropout", "Patience"),
        *("Channels", "Slope"),
    ]
    assert [value for value, _ in seen.figures.values()][3:5] == ["4", "0.02"]
    assert "channels=4, slope=0.02, depth=4" in seen.code(LOADING)
    assert {"Channels", "Slope"} <= set(opened(tmp_path).charts)


def test_pages_of_a_run_of_several_networks_show_each_with_its_own_hyperparameters(
    tmp_path: Path,
) -> None:
    make_auto_run(tmp_path, trials=12)
    seen = opened(tmp_path)
    best = seen.table("best").frame
    assert list(zip(best.series, best.trial, strict=True)) == [("kron", 2), ("cnn", 1), ("fc", 0)]
    assert {"Search history", "Parallel coordinates", "Terms", "Dropout"} < {*seen.charts}
    assert set(seen.drawn("Terms").series) == {"kron"}
    assert "kron" not in set(seen.drawn("Dropout").series)

    seen = opened(tmp_path, trial("auto-1", 2))
    (row,) = [row for row in rows_of(tmp_path / "tables", "trials", "auto-1") if row["trial"] == 2]
    assert seen.figures["Terms"][0] == str(json.loads(row["parameters"])["terms"])
    assert "Dropout" not in seen.figures
    assert "kron, 1 epoch (stopped by ASHA), on cpu" in seen.text
    table = opened(tmp_path, "trials").table("trials").frame
    assert (len(table), set(table.series)) == (12, {"fc", "cnn", "kron"})


def test_times_of_different_sessions_or_machines_are_never_pooled(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1")
    rows = [*timing_rows("fc-1"), *timing_rows("fc-1", session=2)]
    publish(tmp_path / "tables", "timings", "fc-1", rows)
    publish(
        tmp_path / "tables",
        "timings",
        "timing-1",
        timing_rows("timing-1", session=3, cpu_model="Intel Xeon"),
    )
    runs = {"run": ["fc-1", "timing-1"]}
    labels = opened(tmp_path, "speed", **runs).choices("Measurement")
    assert len(labels) == 3
    assert sum("Intel Xeon" in label for label in labels) == 1
    for label in labels:
        seen = opened(tmp_path, "speed", **runs, measurement=label)
        run, number = (
            ("timing-1", 3) if "Intel" in label else ("fc-1", 1 if "session 1" in label else 2)
        )
        times = pd.DataFrame(timing_rows(run, session=number))
        times = times[times.turn.notna()].assign(
            us=lambda rows: 1e6 * rows.end_to_end_sec / rows.images,
            subject=lambda rows: rows.subject.replace("trial 0", "fc, trial 0"),
        )
        medians = times.groupby(["subject", "batch_size"]).us.median()
        shown = seen.drawn("Time an image, CPU").set_index(["subject", "batch_size"])
        assert shown.processes.eq(10).all()
        assert shown.us.to_dict() == pytest.approx(medians.to_dict())
    side_by_side = seen.drawn("Best time of each subject, CPU")
    assert not side_by_side.duplicated(["subject", "measurement"]).any()
    assert "dashed: the study's numbers" in seen.text
    assert set(side_by_side.measurement) == set(labels)
    assert (
        "3 measurements, on 2 different machines or settings; separate series, never pooled."
        in seen.text
    )


def test_where_nothing_is_a_result_it_says_what_to_type(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1")
    assert "No valid timing yet" not in opened(tmp_path, "speed").text
    invalid = [row | {"verdict": "invalid", "reason": "hot"} for row in timing_rows("fc-1")]
    publish(tmp_path / "tables", "timings", "fc-1", invalid)
    text = opened(tmp_path, "speed").text
    assert "No valid timing yet: type python -m analysis.timing" in text
    assert "trial 0\nunknown: no valid timing" in text


def test_every_series_stands_with_its_interval_and_the_quantiles_of_single_calls(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "fc-1")
    calls = {"calls": 700, "p50_sec": 2e-4, "p90_sec": 3e-4, "p99_sec": 4e-4}
    rows = [row | calls if row["batch_size"] == 1 else row for row in timing_rows("fc-1")]
    publish(tmp_path / "tables", "timings", "fc-1", rows)
    table = opened(tmp_path, "speed").table("series-cpu").frame
    single = table[table.batch_size == 1].iloc[0]
    assert (single.calls, single.p50_us, single.p90_us, single.p99_us) == pytest.approx(
        (700, 200, 300, 400)
    )
    assert table[table.batch_size > 1].p50_us.isna().all()
    assert (table.lower <= table.us).all()
    assert (table.fast_us <= table.us).all()
    assert table.processes.eq(10).all()


def test_where_the_study_is_not_quoted_no_rule_of_it_is_explained(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1")
    rows = [row for row in timing_rows("fc-1") if row["kind"] != "study"]
    publish(tmp_path / "tables", "timings", "fc-1", rows)
    text = opened(tmp_path, "speed").text
    assert "bars: its 95 % interval." in text
    assert "study" not in text


def test_the_atlas_is_of_all_runs_unless_some_are_named(storage: Path) -> None:
    seen = opened(storage, "atlas")
    assert seen.charts == ["What replaces what"]
    found = seen.table("cells").frame
    assert set(found.run) == {"fc-1", "cnn-1", "fc-photos"}
    assert set(found.answer) == {"rough"}
    assert "A network replaces its pipeline exactly with" in seen.text
    seen = opened(storage, "atlas", run="cnn-1")
    assert list(seen.table("cells").frame.network) == ["cnn"]
    assert seen.choices("Runs") == ["all", "the chosen"]
    tiles = seen.drawn("What replaces what")
    assert list(zip(tiles.network, tiles.share, tiles.psnr, strict=True)) == [
        ("cnn", "87.0 %", "24.0 dB")
    ]
    assert len(seen.table("cells").saved("csv").splitlines()) == 2


def test_an_atlas_without_scores_says_what_brings_them(storage: Path) -> None:
    assert "python -m tuner.atlas" in opened(storage, "atlas", run="separable-1").text


def test_a_run_that_has_written_nothing_for_long_may_be_over(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1", status="running", phase="searching", left_sec=36.0, ended_at=None)
    assert "searching, 24 trials, about 0:36 left" in opened(tmp_path, "").text
    long_ago = time.time() - 600
    for path in (tmp_path / "tables").rglob("*.parquet"):
        os.utime(path, (long_ago, long_ago))
    text = opened(tmp_path, "").text
    assert re.search(r"but it has written nothing for 10:0\d: it may be over", text)
    assert "left" not in text.partition("All runs")[0]


def test_what_runs_is_said_beside_every_page_whichever_run_is_shown(storage: Path) -> None:
    assert "separable-1: running" in opened(storage, run="fc-1").text


def test_blocks_of_several_panels_are_saved_each_by_its_own_name(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1", pipeline="dir/mine.py:blur")
    make_run(tmp_path, "fc-2", pipeline="dir/yours.py:blur", day=1)
    seen = opened(tmp_path, run=["fc-1", "fc-2"])
    names = [one.name for one in seen.blocks(Figure) if one.title == "Search history"]
    assert names == ["history", "history-1"], "no name of a pipeline, which may have a slash"
