"""What the pages say for tables in every state, without a browser."""

import json
import math
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from analysis.dashboard.parts import as_csv
from streamlit.testing.v1 import AppTest

from analysis.dashboard.search import DRAWN
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
STRANGE = "a*b*_[x](http:evil)`~<b>$1$:smile:"  # a run's name is a folder's: anything but a slash


@pytest.fixture(scope="module", autouse=True)
def main_module() -> Iterator[None]:
    """AppTest makes the page `__main__`, which every process spawned later would import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        yield


def test_text_that_a_spreadsheet_would_run_is_text_in_a_saved_csv_file() -> None:
    frame = pd.DataFrame({"error": ["=A1", "-1; @x", "fine", None], "number": [-1.5, 2, 3, 4]})
    assert as_csv(frame).decode().splitlines() == [
        '"error","number"',
        '"\'=A1",-1.5',
        '"\'-1; @x",2.0',
        '"fine",3.0',
        '"",4.0',
    ]


def page(storage: "Path", name: str) -> None:
    """One page, as page.py draws it; AppTest knows no pages that are functions."""
    from importlib import import_module

    import streamlit as st
    from analysis.dashboard.page import _problems, _state

    from analysis.dashboard.selection import choose
    from analysis.dashboard.snapshot import Store

    store = Store(storage)
    store.version()
    selection = choose(store)
    _state(selection.trials)
    _problems(store)
    st.title(name)
    import_module(f"analysis.dashboard.{name}").show(selection)


def whole(storage: "Path") -> None:
    """The script that Streamlit runs."""
    from analysis.dashboard.page import main

    main(storage)


def opened(storage: Path, name: str = "", **chosen: Any) -> AppTest:
    """A page, or the whole script, with this in its address; it must not fail."""
    function, arguments = (page, (storage, name)) if name else (whole, (storage,))
    app = AppTest.from_function(function, default_timeout=120, args=arguments)
    for key, value in chosen.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception, app.exception[0].value
    return app


def figures(app: AppTest) -> dict[str, tuple[str, str]]:
    """Key figures with their notes."""
    return {metric.label: (metric.value, metric.delta) for metric in app.metric}


def told(app: AppTest) -> str:
    """Everything that is to be read, without the signs that keep Markdown from meaning anything."""
    return "\n".join(re.sub(r"\\(.)", r"\1", text) for _, text in written(app))


def written(app: AppTest) -> list[tuple[str, str]]:
    """Every text, with what draws it."""
    kinds = ("title", "header", "subheader", "markdown", "text", "info", "warning", "code", "error")
    return [(kind, str(element.value)) for kind in kinds for element in app.get(kind)]


def raw(app: AppTest) -> list[str]:
    """Texts in which signs of the strange name would mean something."""
    return [text for kind, text in written(app) if kind not in ("code", "text") and STRANGE in text]


def charts(app: AppTest) -> list[str]:
    """Titles of the charts."""
    return [chart.proto.alt.partition(". ")[0] for chart in app.get("vega_lite_chart")]


def drawn(app: AppTest, title: str) -> pd.DataFrame:
    """The rows behind a chart: the largest of its tables."""
    (chart,) = [
        chart for chart in app.get("vega_lite_chart") if chart.proto.alt.startswith(f"{title}. ")
    ]
    tables = [pa.ipc.open_stream(table.data.data).read_all() for table in chart.proto.datasets]
    return max(tables, key=len).to_pandas()


def test_legends_lie_below_their_chart_where_a_phone_has_room_for_them(storage: Path) -> None:
    found = opened(storage, runs=["fc-1"]).get("vega_lite_chart")
    assert found
    for chart in found:
        assert json.loads(chart.proto.spec)["config"]["legend"]["orient"] == "bottom"


def test_key_figures_are_those_of_the_run(storage: Path) -> None:
    app = opened(storage, runs=["cnn-1"])
    trials = read(storage / "tables", "trials", "cnn-1")
    best = trials[trials.stop_reason != "error"].sort_values("best_validation_loss").iloc[0]
    assert figures(app) == {
        "Trials": ("24", "0 running"),
        "Finished": ("12", "11 stopped early, 1 failed"),
        "Epochs": (f"{trials.epochs.sum()}", "0.4 h of training"),
        "Loss of the best": (f"{best.best_validation_loss:.3g}", f"trial {best.trial}, epoch 1"),
        "Cosine ≥ 0.95": (
            f"{int(best.best_validation_accuracy * 10_000) / 100:.2f} %",
            "validation, that epoch",
        ),
    }
    assert "No trial running" in told(app)
    assert charts(app) == [
        "Search history",
        "Parallel coordinates",
        "Hyperparameter importance",
        *SLICES,
    ]


def test_the_newest_run_is_shown_first(storage: Path) -> None:
    app = opened(storage)
    assert app.multiselect(key="runs").value == ["separable-1"]
    assert app.multiselect(key="runs").options == ["separable-1", "fc-photos", "cnn-1", "fc-1"]
    assert figures(app)["Trials"] == ("24", "2 running")
    assert "2 running" in told(app)


def test_a_run_of_two_losses_is_ranked_by_accuracy_and_the_pages_say_so(tmp_path: Path) -> None:
    make_run_of_two_losses(tmp_path)
    app = opened(tmp_path, "search")
    assert (
        "By the highest validation cosine accuracy at 0.95, then the highest mean cosine"
        in told(app)
    )
    found = app.dataframe[0].value
    assert list(zip(found.series, found.trial, strict=True)) == [
        ("fc, perceptual", 3),
        ("fc, mse", 0),
    ]
    app = opened(tmp_path, "quality")
    assert "Best: the highest validation cosine accuracy at 0.95" in told(app)
    assert app.selectbox(key="of").options == ["fc, perceptual", "fc, mse"]
    assert opened(tmp_path, "trials").selectbox(key="trial").options == [
        "r / 3",
        "r / 2",
        "r / 0",
        "r / 1",
    ]


def test_the_metric_that_a_run_ranks_by_is_shown_on_its_pages(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "fc-1", trials=4, rank_by="psnr", higher_is_better=True)
    change(tmp_path, "trials", best_validation_score=[20.0, 31.25, 25.0, 30.0])
    app = opened(tmp_path, "search", runs=["fc-1"])
    assert figures(app)["Mean psnr"] == ("31.25", "validation, that epoch")
    app = opened(tmp_path, "trials", runs=["fc-1"], trial="fc-1 / 3")
    assert figures(app)["Mean psnr"] == ("30", "validation")
    shown = json.loads(app.dataframe[0].proto.columns)["best_validation_score"]
    assert shown["label"] == "Mean psnr"
    assert app.dataframe[0].value.trial.tolist() == [1, 3, 2, 0]
    make_run(tmp_path, "fc-2", trials=4)
    app = opened(tmp_path, "trials", runs=["fc-2"])
    assert "best_validation_score" not in app.dataframe[0].proto.columns


def test_the_quality_page_has_a_column_for_each_metric_at_the_threshold_of_the_runs(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "fc-1", threshold=0.9)
    rows = rows_of(tmp_path / "tables", "scores", "fc-1")
    own = [row | {"metric": "edges", "value": 0.25} for row in rows if row["metric"] == "ssim"]
    rows = [row for row in rows if row["metric"] != "ssim"] + own
    publish(tmp_path / "tables", "scores", "fc-1", rows)
    app = opened(tmp_path, "quality", runs=["fc-1"])
    assert "At cosine ≥ 0.9" in told(app)
    table = app.dataframe[0].value.set_index("subject")
    assert table["mean"].loc["flat image"] == pytest.approx(0.33 + 3 * 0.05)
    assert (table.edges == 0.25).all()
    assert (table.psnr == 24).all()
    assert "Cosine ≥ 0.9" in figures(opened(tmp_path, "search", runs=["fc-1"]))

    make_run(tmp_path, "fc-2")  # at 0.95, which both have
    app = opened(tmp_path, "quality", runs=["fc-1", "fc-2"])
    assert "At cosine ≥ 0.95" in told(app)


def test_runs_of_one_pipeline_whose_code_changed_are_told_and_never_pooled(tmp_path: Path) -> None:
    edited = np.full(64 * 784, 0.5, "<f4").tobytes()
    make_run(tmp_path, "fc-1", pipeline="mine.py:blur")
    make_run(tmp_path, "fc-2", pipeline="mine.py:blur", probe_outputs=edited, day=1)
    app = opened(tmp_path, runs=["fc-1", "fc-2"])
    assert "mine.py:blur gives other outputs in fc-2 than in fc-1" in told(app)
    assert drawn(app, "Search history").series.nunique() == 2


def test_losses_on_different_data_are_series_of_their_own(storage: Path) -> None:
    app = opened(storage, runs=list(RUNS))
    assert figures(app)["Trials"] == ("96", "2 running")
    assert not {"Loss of the best", "Cosine ≥ 0.95"} & set(figures(app))
    remark = (
        "There are 4 series: networks, pipelines, losses, training or validation images differ."
    )
    assert remark in told(app)
    series = {"cnn on cifar10", "fc on cifar10", "fc on photos", "separable on cifar10"}
    assert set(drawn(app, "Search history").series) == series
    assert set(app.dataframe[0].value.series) == series
    assert set(drawn(app, "Runs side by side").label) == {
        "cnn-1 · cnn on cifar10", "fc-1 · fc on cifar10", "fc-photos · fc on photos",
        "separable-1 · separable on cifar10"
    }  # fmt: skip


def test_runs_on_the_same_data_have_no_sentence_about_it(storage: Path) -> None:
    app = opened(storage, runs=["fc-1", "cnn-1"])
    assert "sets of validation images" not in told(app)
    assert set(drawn(app, "Search history").series) == {"cnn", "fc"}


def test_filters_leave_only_the_runs_that_match(storage: Path) -> None:
    app = opened(storage, networks=["fc"])
    assert app.multiselect(key="runs").options == ["fc-photos", "fc-1"]
    assert set(drawn(app, "Search history").run) == {"fc-photos"}
    app = opened(storage, networks=["fc"], data=["cifar10"])
    assert app.multiselect(key="runs").options == ["fc-1"]
    assert set(drawn(app, "Search history").run) == {"fc-1"}


def test_a_run_of_the_address_that_is_gone_is_no_error(storage: Path) -> None:
    assert opened(storage, runs=["nothing"]).title[0].value == "Search"


def test_an_empty_folder_says_how_to_begin(tmp_path: Path) -> None:
    app = opened(tmp_path)
    assert app.title[0].value == "No runs yet"
    assert f"python -m tuner.run --storage {tmp_path}" in told(app)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("search", "These runs have no trials yet."), ("trials", "These runs have no trials yet."),
     ("quality", "No scores yet"), ("speed", "No timings yet")],
)  # fmt: skip
def test_a_run_without_trials_is_told(name: str, hint: str, tmp_path: Path) -> None:
    publish(tmp_path / "tables", "runs", "fc-1", [run_row("fc-1")])
    app = opened(tmp_path, name)
    assert "No trial running" in told(app)
    if name != "search":
        assert hint in told(app)
    else:
        assert figures(app)["Trials"] == ("0", "0 running")
        assert "No epoch with a finite loss has ended yet in these runs." in told(app)
    assert charts(app) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("search", "No epoch with a finite loss has ended yet in these runs."),
        ("trials", "No epoch has ended yet in these runs."),
        ("quality", "No scores yet: a search measures its finalists"),
        ("speed", "No timings yet: they are measured"),
    ],
)
def test_trials_without_an_epoch_are_told(name: str, hint: str, tmp_path: Path) -> None:
    make_run(tmp_path, trials=3, tested=False)
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
    app = opened(tmp_path, name, trial="fc-1 / 0")
    assert hint in told(app)
    assert "3 running" in told(app)
    if name == "trials":
        assert "No epoch of it has ended yet." in told(app)
        assert "It has no checkpoint yet." in told(app)
        assert charts(app) == ["Timeline"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("search", ["Search history", "Parallel coordinates"]),
        ("trials", ["Learning curves", "Timeline"]),
    ],
)
def test_one_trial_with_one_epoch_is_drawn(name: str, shown: list[str], tmp_path: Path) -> None:
    make_run(tmp_path, trials=1, epochs=1, tested=False)
    app = opened(tmp_path, name)
    assert charts(app) == shown
    if name == "search":
        assert "Validation loss of 1 trial in their order" in told(app)
        assert "Hyperparameter importance needs 20 trials" in told(app)


def test_a_file_that_is_damaged_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1", tested=False)
    make_run(tmp_path, "fc-2", tested=False, day=1)
    path = table_path(tmp_path / "tables", "trials", "fc-1")
    path.write_bytes(path.read_bytes()[:-100])
    app = opened(tmp_path, runs=["fc-1", "fc-2"])
    assert app.warning[0].value == "1 of the files can't be used and are left out:"
    assert app.code[0].value.startswith(f"{path}: can't be read: ")
    assert figures(app)["Trials"] == ("24", "0 running")
    assert set(drawn(app, "Search history").run) == {"fc-2"}


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("search", ["Search history", "Parallel coordinates", *SLICES]),
        ("trials", ["Learning curves", "Loss by epoch"]),
    ],
)
def test_losses_of_zero_are_told_instead_of_drawn(
    name: str, left_out: list[str], tmp_path: Path
) -> None:
    make_run(tmp_path, trials=3, epochs=2, tested=False)
    change(tmp_path, "trials", best_validation_loss=0.0)
    change(tmp_path, "epochs", train_loss=0.0, validation_loss=0.0)
    app = opened(tmp_path, name, trial="fc-1 / 0")
    for title in left_out:
        assert f"{title}: no value is above 0, and its axis is logarithmic." in told(app)
    assert not set(charts(app)) & set(left_out)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("search", "No epoch with a finite loss has ended yet"), ("trials", "Trial 0 of fc-1")],
)
def test_trials_that_all_diverged_are_no_error(name: str, shown: str, tmp_path: Path) -> None:
    make_run(tmp_path, trials=2, epochs=2, tested=False)
    nothing = dict.fromkeys(("best_epoch", *RANKED_BY))
    change(tmp_path, "trials", stop_reason="diverged", **nothing)
    change(tmp_path, "epochs", train_loss=math.inf, validation_loss=math.inf)
    assert shown in told(opened(tmp_path, name, trial="fc-1 / 0"))


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
    ("name", "count"), [("search", 6), ("trials", 2), ("quality", 1), ("speed", 1)]
)
def test_beside_the_copy_of_a_run_and_doubled_rows_every_page_shows_the_rest_and_names_them(
    name: str, count: int, with_a_copy: Path
) -> None:
    app = opened(with_a_copy, name, runs=["fc-1", "fc-1-backup", "fc-2"])
    assert len(charts(app)) >= count
    assert app.multiselect(key="runs").value == ["fc-1", "fc-2"]
    assert figures(app).get("Trials", ("24",))[0] == "24"
    assert "files can't be used and are left out:" in app.warning[0].value
    tables = with_a_copy / "tables"
    for text in (
        f"{table_path(tables, 'runs', 'fc-1-backup')}: column run, row 1: is fc-1, "
        "should be fc-1-backup as its folder says; put a sound copy in its place, or move it away",
        f"{table_path(tables, 'trials', 'fc-2')}: row 4: has the key of an earlier row (trial 0); "
        "so are 2 more rows; put a sound copy in its place, or move it away",
    ):
        assert text in app.code[0].value


def test_a_file_of_a_newer_version_is_named_too(tmp_path: Path) -> None:
    make_run(tmp_path, tested=False)
    path = table_path(tmp_path / "tables", "trials", "fc-1")
    newer = {**pq.read_schema(path).metadata, b"schema_version": b"99"}
    grown = pq.read_table(path).append_column("news", pa.nulls(24))
    pq.write_table(grown.replace_schema_metadata(newer), path)
    assert "it has schema version 99" in opened(tmp_path).code[0].value


def test_timings_without_a_search_are_shown(tmp_path: Path) -> None:
    for name in ("timing-2026-01-01", "timing-2026-01-02"):
        publish(tmp_path / "tables", "timings", name, timing_rows(name))
    app = opened(tmp_path)
    assert app.multiselect(key="runs").options == ["timing-2026-01-02", "timing-2026-01-01"]
    assert "No trial running" in told(app)
    assert "Verdicts of 9 series: 6 valid, 3 rough." in told(opened(tmp_path, "speed"))
    assert "These runs have no trials yet." in told(opened(tmp_path, "trials"))
    assert "No scores yet" in told(opened(tmp_path, "quality"))


def test_of_very_many_trials_the_best_are_drawn_and_that_is_told(tmp_path: Path) -> None:
    make_run(tmp_path, trials=DRAWN + 100, epochs=1, tested=False)
    app = opened(tmp_path)
    assert figures(app)["Trials"] == ("2,100", "0 running")
    assert "Validation loss of the 2,000 best of 2,100 trials in their order" in told(app)
    assert "One line a trial, the 2,000 best of 2,100 trials" in told(app)
    shown = drawn(app, "Search history")
    losses = read(tmp_path / "tables", "trials").best_validation_loss.sort_values()
    assert sorted(shown.best_validation_loss) == losses.head(DRAWN).tolist()
    trials = opened(tmp_path, "trials")
    assert "Validation loss of the 100 best of 2,100 trials by epoch" in told(trials)
    assert drawn(trials, "Learning curves").trial.nunique() == 100
    assert len(trials.dataframe[0].value) == 2100


@pytest.mark.parametrize("name", ["search", "trials", "quality", "speed"])
def test_names_with_signs_of_markdown_or_html_are_plain_text(name: str, tmp_path: Path) -> None:
    make_run(tmp_path, STRANGE, day=1)
    make_run(tmp_path, "fc-2")
    app = opened(tmp_path, name, runs=[STRANGE, "fc-2"])
    assert app.multiselect(key="runs").value == [STRANGE, "fc-2"]
    assert not raw(app)
    if name in ("trials", "quality"):
        assert STRANGE in told(app)


def test_an_opened_trial_of_such_a_run_has_it_as_plain_text(tmp_path: Path) -> None:
    make_run(tmp_path, STRANGE, trials=1, epochs=1, tested=False)
    assert not raw(opened(tmp_path, "trials", trial=f"{STRANGE} / 0"))


def test_data_of_such_a_name_is_plain_text(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1", data=STRANGE)
    make_run(tmp_path, "fc-2", data="other", validation_fingerprint="v", test_fingerprint="t")
    assert not raw(opened(tmp_path, "quality", runs=["fc-1", "fc-2"]))


def test_a_folder_with_signs_of_markdown_is_plain_text(tmp_path: Path) -> None:
    strange = tmp_path / "a*b*_c_"
    strange.mkdir()
    assert str(strange) not in opened(strange).info[0].value


def test_data_with_signs_of_markdown_is_plain_text_in_the_filter(tmp_path: Path) -> None:
    for name, data in (("fc-1", "a*b*"), ("fc-2", "c")):
        make_run(
            tmp_path, name, data=data, validation_fingerprint=data, trials=1, epochs=1, tested=False
        )
    assert "a*b*" not in opened(tmp_path).button_group(key="data").proto.options[0].content


def test_a_failed_trial_shows_its_traceback_as_it_is(storage: Path) -> None:
    app = opened(storage, "trials", runs=["cnn-1"], trial=f"cnn-1 / {FAILED}")
    assert app.error[0].value == "It failed:"
    assert app.code[0].value == TRACEBACK
    assert f"Trial {FAILED} of cnn-1" in told(app)
    assert "cnn, error after 3 epochs, on cpu" in told(app)
    assert "Images are kept of a search's finalists only" in told(app)


def test_the_lines_that_load_a_finalist_load_it(tmp_path: Path) -> None:
    make_run(tmp_path, trials=4)
    network = build("fc", dropout=0.1).eval()
    weights = tmp_path / "networks" / "run=fc-1" / "trial-0002.safetensors"
    save_network(weights, network.state_dict(), SavedNetwork("fc", {"dropout": 0.1}, {}))
    lines = opened(tmp_path, "trials", trial="fc-1 / 2").code[0].value
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    found = {"images": images}
    exec(lines, found)
    assert torch.equal(found["outputs"], network(images.float() / 255))


def test_whatever_a_run_searched_is_drawn_and_shown_and_builds_its_network(tmp_path: Path) -> None:
    own = {"channels": Parameter(2, 4), "slope": Parameter(0.0, 1.0), "depth": Parameter(4)}
    make_run(tmp_path, trials=24, tested=False, space=space_text({**SPACE, **own}))
    said = [f'{{"channels": {2 + n % 3}, "slope": {n / 100}}}' for n in range(24)]
    change(tmp_path, "trials", parameters=said, checkpoint=str(tmp_path))
    app = opened(tmp_path, "trials", trial="fc-1 / 2")
    assert [metric.label for metric in app.metric][:5] == [
        *("Learning rate", "Dropout", "Patience"),
        *("Channels", "Slope"),
    ]
    assert [metric.value for metric in app.metric][3:5] == ["4", "0.02"]
    assert "channels=4, slope=0.02, depth=4" in app.code[0].value
    shown = told(opened(tmp_path, "search"))
    assert "Channels" in shown
    assert "Slope" in shown


def test_pages_of_a_run_of_several_networks_show_each_with_its_own_hyperparameters(
    tmp_path: Path,
) -> None:
    make_auto_run(tmp_path, trials=60)
    app = opened(tmp_path, "search")
    best = app.dataframe[0].value
    assert list(zip(best.series, best.trial, strict=True)) == [("kron", 2), ("cnn", 1), ("fc", 0)]
    assert {"Search history", "Parallel coordinates", "Terms", "Dropout"} < {*charts(app)}
    assert set(drawn(app, "Terms").series) == {"kron"}
    assert "kron" not in set(drawn(app, "Dropout").series)
    shares = drawn(app, "Hyperparameter importance")
    assert "Terms" in set(shares.name[shares.series == "kron"])
    assert "Terms" not in set(shares.name[shares.series == "fc"])

    app = opened(tmp_path, "trials", trial="auto-1 / 2")
    (row,) = [row for row in rows_of(tmp_path / "tables", "trials", "auto-1") if row["trial"] == 2]
    shown = figures(app)
    assert shown["Terms"][0] == str(json.loads(row["parameters"])["terms"])
    assert "Dropout" not in shown
    assert "kron, asha after 1 epochs, on cpu" in told(app)
    every = next(table.value for table in app.dataframe if len(table.value) == 60)
    assert set(every.series) == {"fc", "cnn", "kron"}


@pytest.mark.parametrize("best", [True, False])
def test_the_lines_that_load_a_checkpoint_load_it(best: bool, tmp_path: Path) -> None:
    make_run(tmp_path, trials=4, tested=False)
    weights, others = build("fc", dropout=0.1).state_dict(), build("fc", dropout=0.1).state_dict()
    torch.save(
        {"weights": others if best else weights, "best_weights": weights if best else None},
        tmp_path / "state.pt",
    )
    revise(tmp_path, "fc-1", [2], checkpoint=str(tmp_path))
    app = opened(tmp_path, "trials", trial="fc-1 / 2")
    found: dict[str, Any] = {}
    exec(app.code[0].value, found)
    assert all(
        torch.equal(value, weights[name]) for name, value in found["network"].state_dict().items()
    )
    assert "Only finalists have a weights file" in told(app)


def test_the_lines_that_load_a_network_of_several_build_it_from_its_own_whole_numbers(
    tmp_path: Path,
) -> None:
    make_auto_run(tmp_path)
    (row,) = [row for row in rows_of(tmp_path / "tables", "trials", "auto-1") if row["trial"] == 2]
    network = build("kron", extra=0, **json.loads(row["parameters"]))
    torch.save({"weights": network.state_dict(), "best_weights": None}, tmp_path / "state.pt")
    revise(tmp_path, "auto-1", [2], checkpoint=str(tmp_path))
    app = opened(tmp_path, "trials", trial="auto-1 / 2")
    found: dict[str, Any] = {}
    exec(app.code[0].value, found)
    assert found["network"].state_dict().keys() == network.state_dict().keys()


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
    app = opened(tmp_path, "speed", runs=["fc-1", "timing-1"])
    labels = app.selectbox(key="measurement").options
    assert len(labels) == 3
    assert sum("Intel Xeon" in label for label in labels) == 1
    for label in labels:
        app.selectbox(key="measurement").set_value(label).run()
        assert not app.exception
        run, number = (
            ("timing-1", 3) if "Intel" in label else ("fc-1", 1 if "session 1" in label else 2)
        )
        times = pd.DataFrame(timing_rows(run, session=number))
        times = times[times.turn.notna()].assign(
            us=lambda rows: 1e6 * rows.end_to_end_sec / rows.images
        )
        medians = times.groupby(["subject", "batch_size"]).us.median()
        shown = drawn(app, "Time an image, CPU").set_index(["subject", "batch_size"])
        assert shown.processes.eq(10).all()
        assert shown.us.to_dict() == pytest.approx(medians.to_dict())
    side_by_side = drawn(app, "Best time of each subject, CPU")
    assert not side_by_side.duplicated(["subject", "measurement"]).any()
    assert "dashed: the study's numbers" in told(app)
    assert set(side_by_side.measurement) == set(labels)
    assert (
        "3 measurements, on 2 different machines or settings; separate series, never pooled."
        in told(app)
    )


def test_where_nothing_is_a_result_it_says_what_to_type(tmp_path: Path) -> None:
    make_run(tmp_path, "fc-1")
    assert "No valid timing yet" not in told(opened(tmp_path, "speed", runs=["fc-1"]))
    invalid = [row | {"verdict": "invalid", "reason": "hot"} for row in timing_rows("fc-1")]
    publish(tmp_path / "tables", "timings", "fc-1", invalid)
    text = told(opened(tmp_path, "speed", runs=["fc-1"]))
    assert "No valid timing yet: type python -m analysis.timing --run NAME" in text
    assert "trial 0: unknown: no valid timing" in text


def test_every_series_stands_with_its_interval_and_the_quantiles_of_single_calls(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "fc-1")
    calls = {"calls": 700, "p50_sec": 2e-4, "p90_sec": 3e-4, "p99_sec": 4e-4}
    rows = [row | calls if row["batch_size"] == 1 else row for row in timing_rows("fc-1")]
    publish(tmp_path / "tables", "timings", "fc-1", rows)
    (table,) = (one.value for one in opened(tmp_path, "speed", runs=["fc-1"]).dataframe)
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
    app = opened(tmp_path, "speed", runs=["fc-1"])
    assert "bars: its 95 % interval." in told(app)
    assert "study" not in told(app)
