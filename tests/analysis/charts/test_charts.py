"""Every chart is drawn, from whatever a search has left so far."""

import functools
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest

from analysis.charts import drawing, quality, search, speed, style, views
from analysis.charts import trials as curves
from analysis.charts.labels import labelled, machines
from analysis.charts.views import importances
from analysis.dashboard.snapshot import Store
from analysis.tables.files import publish
from analysis.timing import comparison
from tests.analysis.made_runs import SPACE, START, change, make_run, searched, timing_rows
from tests.analysis.timing.session_rows import compared, series_rows, torchvision

Charts = dict[str, alt.Chart | alt.LayerChart]
NOW = pd.Timestamp(START) + pd.Timedelta(hours=2)
SLICES = {f"slice {name}" for name in SPACE}
EARLY = {"history", "compare", "parallel", "curves", "training", "timeline", *SLICES}
SPEED = {"times end_to_end", "times device", "speedup", "pareto", "measurements"}
ALL = EARLY | SPEED | {"importance", "thresholds", "images"}
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
KINDS = {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-"}
ENDS = {"png": b"IEND\xaeB`\x82", "pdf": b"%%EOF"}


def charts_of(storage: Path) -> Charts:
    """Return every chart that there is something for, from the tables as the pages read them."""
    store = Store(storage)
    store.version()
    trials = labelled(store.frame("trials"), store.frame("runs"))
    found: Charts = {"timeline": curves.timeline(trials, NOW)} if len(trials) else {}
    if trials.best_validation_loss.notna().any():
        found |= _of_search(trials)
    epochs = store.frame("epochs").merge(trials[["run", "trial", "series"]], on=["run", "trial"])
    if len(epochs):
        one = epochs[(epochs.run == epochs.run[0]) & (epochs.trial == epochs.trial[0])]
        found["curves"] = curves.curves(epochs, views.bests(trials))
        found["training"] = curves.training(one, trials.best_epoch[0])
    scores, best = store.frame("scores"), views.bests(trials)
    if len(scores):
        networks = views.accuracy_of(scores, best)
        baselines = views.accuracies(views.baselines_of(scores, scores.run[0]))
        found["thresholds"] = quality.thresholds(networks, baselines, [0.95])
        series = best.series.iloc[0]
        found["images"] = quality.images(
            *views.image_grid(store.frame("samples"), best, "spread", series, 8, True)
        )
    timings = store.frame("timings")
    return found | _of_speed(timings) if len(timings) else found


def _of_search(trials: pd.DataFrame) -> Charts:
    best, shares = views.best_so_far(trials), importances(trials, SPACE)
    found: Charts = {
        "history": search.history(trials, best, SPACE),
        "parallel": search.parallel(trials, SPACE),
    }
    found |= {"compare": search.compare(best.assign(label=best.run))} if len(best) else {}
    found |= {
        f"slice {name}": search.slices(trials, name, SPACE)
        for name in SPACE
        if trials[name].notna().any()
    }
    return found | ({"importance": search.importance(shares)} if len(shares) else {})


def _of_speed(timings: pd.DataFrame) -> Charts:
    every = [
        (one, comparison.turns(timings[timings.run == one.run], one.session))
        for one in machines(timings).itertuples()
    ]
    turns = every[0][1]
    series = comparison.summary(turns)
    study = views.study_marks(timings, "cpu")
    bests = comparison.best(series)
    bests = views.measured(bests.assign(unbeaten=comparison.pareto(bests)), "end_to_end")
    side_by_side = [
        views.measured(comparison.best(comparison.summary(rows)), "end_to_end").assign(
            measurement=one.label
        )
        for one, rows in every
    ]
    return {
        **{
            f"times {name}": speed.times(views.measured(series, name), study)
            for name in ("end_to_end", "device")
        },
        "speedup": speed.speedup(views.speedups(turns, series, "cpu")),
        "pareto": speed.pareto(bests),
        "measurements": speed.measurements(pd.concat(side_by_side)),
    }


def drawn(chart: alt.TopLevelMixin) -> str:
    return drawing.drawn(style.specification(chart))


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


def visible(svg: str) -> str:
    """What is drawn, without the descriptions for screen readers."""
    return re.sub(r'aria-label="[^"]*"', "", svg)


def networks_on_different_data(storage: Path) -> None:
    photos = {"data": "photos", "validation_fingerprint": "other"}
    make_run(storage, "fc-1")
    make_run(storage, "fc-2", day=1, seed=1, loss="perceptual")
    make_run(storage, "cnn-1", day=2, model="cnn", seed=2, trials=4, **photos)
    make_run(storage, "separable-1", day=3, model="separable", seed=3, trials=4)
    make_run(storage, "own-1", day=4, model="my.networks:Small", seed=4, trials=4, **photos)


def one_trial_with_one_epoch_that_runs_on(storage: Path) -> None:
    make_run(storage, trials=1, epochs=1, tested=False, status="running", ended_at=None)
    change(storage, "trials", stop_reason=None, ended_at=pd.NaT)


def trials_before_their_first_epoch_beside_one_that_has_one(storage: Path) -> None:
    make_run(storage, trials=3, epochs=1, tested=False)
    missing = [0.01, None, None]
    change(
        storage,
        "trials",
        best_validation_loss=missing,
        best_epoch=[1, None, None],
        epochs=[1, 0, 0],
        stop_reason=["asha", None, "error"],
    )


def nothing_but_trials_before_their_first_epoch(storage: Path) -> None:
    make_run(storage, trials=2, epochs=1, tested=False)
    change(
        storage,
        "trials",
        best_validation_loss=None,
        best_epoch=None,
        epochs=0,
        stop_reason=None,
        ended_at=pd.NaT,
    )
    change_to_no_rows(storage, "epochs")


def change_to_no_rows(storage: Path, table: str) -> None:
    publish(storage / "tables", table, "fc-1", [])


def every_trial_failed_after_an_epoch(storage: Path) -> None:
    make_run(storage, trials=4, epochs=2, tested=False)
    change(storage, "trials", stop_reason=["diverged", "error", "out_of_memory", "diverged"])


def a_single_trial_and_batch_size_without_repeats(storage: Path) -> None:
    make_run(storage, trials=1)
    change(storage, "scores", sd=None, trainings=1)
    rows = [row for row in timing_rows("fc-1") if row["batch_size"] in (None, 64)]
    publish(storage / "tables", "timings", "fc-1", rows)


def identical_losses(storage: Path) -> None:
    make_run(storage, tested=False)
    change(storage, "trials", best_validation_loss=0.0042)


def a_network_without_dropout(storage: Path) -> None:
    make_run(storage, tested=False)
    change(storage, "trials", dropout=None)


SITUATIONS = {
    networks_on_different_data: ALL,
    one_trial_with_one_epoch_that_runs_on: EARLY,
    trials_before_their_first_epoch_beside_one_that_has_one: EARLY,
    nothing_but_trials_before_their_first_epoch: {"timeline"},
    every_trial_failed_after_an_epoch: EARLY - {"compare"},
    a_single_trial_and_batch_size_without_repeats: ALL - {"importance"},
    identical_losses: EARLY,
    a_network_without_dropout: (EARLY | {"importance"}) - {"slice dropout"},
}


def check(name: str, svg: str) -> None:
    assert svg.startswith("<svg"), name
    assert svg.endswith("</svg>"), name
    assert not re.search(r"NaN|undefined|null|Infinity", visible(svg)), name
    assert set(re.findall(r"\w+://[^\s\"'<)]+", svg)) <= NAMESPACES, name


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_every_chart_is_drawn_in_every_situation(
    situation: Callable[[Path], None], tmp_path: Path
) -> None:
    situation(tmp_path)
    charts = charts_of(tmp_path)
    assert set(charts) == SITUATIONS[situation]
    for name, chart in charts.items():
        check(name, drawn(chart))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Charts:
    storage = tmp_path_factory.mktemp("run")
    make_run(storage)
    return charts_of(storage)


@pytest.fixture(scope="module")
def svg_of(run: Charts) -> Callable[[str], str]:
    return functools.cache(lambda name: drawn(run[name]))


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_chart_of_a_run_is_drawn(svg_of: Callable[[str], str], name: str) -> None:
    check(name, svg_of(name))


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("name", sorted(ALL - {"slice dropout", "slice patience", "times device"}))
def test_every_chart_is_saved_as_a_picture_and_a_page(
    svg_of: Callable[[str], str], name: str, kind: str
) -> None:
    content = drawing.converted(svg_of(name), kind)
    assert content.startswith(KINDS[kind])
    assert content.rstrip().endswith(ENDS[kind])


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("history", "point", 24),
        ("history", "line mark", 1),
        ("parallel", "line mark", 24),
        ("compare", "line mark", 1),
        ("slice learning_rate", "point", 24),
        ("slice dropout", "point", 24),
        ("slice patience", "point", 24),
        ("importance", "bar", 3),
        ("curves", "line mark", 26),
        ("training", "point", 12),
        ("training", "rule mark", 1),
        ("timeline", "bar", 24),
        ("thresholds", "point", 9),
        ("thresholds", "line mark", 5),
        ("thresholds", "area mark", 1),
        ("images", "image mark", 32),
        ("times end_to_end", "point", 9),
        ("times end_to_end", "rule mark", 12),
        ("times device", "point", 9),
        ("speedup", "point", 6),
        ("speedup", "rule mark", 7),
        ("pareto", "point", 3),
        ("measurements", "point", 3),
    ],
)
def test_every_trial_pass_and_image_is_there(
    svg_of: Callable[[str], str], name: str, kind: str, count: int
) -> None:
    assert svg_of(name).count(f'aria-roledescription="{kind}"') == count


UNDRAWN = {
    "parallel": {"state", "network"},
    "compare": {"run"},
    "importance": {"parameter"},
    "training": {"run", "trial"},
}


@pytest.mark.parametrize("name", sorted(EARLY | {"importance", "images", "speedup"}))
def test_a_chart_carries_no_column_that_it_does_not_draw(run: Charts, name: str) -> None:
    spec = run[name].to_dict()
    datasets = spec.pop("datasets")
    named = set(re.findall(r"\w+", json.dumps(spec))) | UNDRAWN.get(name, set())
    assert datasets
    assert {column for rows in datasets.values() for row in rows for column in row} <= named


def test_no_chart_carries_what_only_the_owner_of_the_machine_should_see(tmp_path: Path) -> None:
    private = "private thing"
    facts = dict.fromkeys(("command", "host", "cpu_model", "commit"), private)
    facts |= dict.fromkeys(("config", "versions"), json.dumps({"of": private}))
    make_run(tmp_path, **facts)
    change(tmp_path, "trials", error=private, checkpoint=private, device=private)
    rows = [
        row
        | dict.fromkeys(("host", "commit", "driver", "compared_with"), private)
        | {"versions": json.dumps({"of": private})}
        for row in timing_rows("fc-1")
    ]
    publish(tmp_path / "tables", "timings", "fc-1", rows)
    charts = charts_of(tmp_path)
    assert set(charts) == ALL
    for name, chart in charts.items():
        assert private not in json.dumps(chart.to_dict()), name


def test_a_legend_has_its_place_on_paper(svg_of: Callable[[str], str]) -> None:
    assert "Network" in texts(svg_of("history"))


def colours_of(*labels: str) -> dict[str, str]:
    scale = style.colours(labels).to_dict()
    return dict(zip(scale["domain"], scale["range"], strict=True))


OTHERS = ["Small", "fc, perceptual", "cnn, perceptual", "trial 7", "a", "b"]


@pytest.mark.parametrize("network", style.NETWORKS)
def test_a_network_has_its_own_colour_whatever_else_is_shown(network: str) -> None:
    company = [*(other for other in style.NETWORKS if other != network), *OTHERS]
    for count in range(4):
        for others in itertools.combinations(company, count):
            found = colours_of(network, *others)
            assert found[network] == style.NETWORKS[network]
            assert len(set(found.values())) == len(found)


@pytest.mark.parametrize(
    ("network", "colour"), [("cnn", "#0072B2"), ("fc", "#D55E00"), ("separable", "#009E73")]
)
def test_a_networks_points_are_drawn_in_its_colour(network: str, colour: str) -> None:
    trials = searched([0.1, 0.2, 0.3], model=network)
    svg = drawn(search.history(trials, views.best_so_far(trials), SPACE))
    assert len(re.findall(rf'aria-roledescription="point"[^>]*fill="{colour}"', svg)) == 3
    assert colours_of(f"{network} on cifar10", "Small")[f"{network} on cifar10"] == colour


@pytest.mark.parametrize("count", range(1, 17))
def test_up_to_16_labels_of_a_chart_have_different_colours(count: int) -> None:
    for labels in (
        [f"run {n}" for n in range(count)],
        [*style.NETWORKS, *(f"run {n}" for n in range(13))][:count],
    ):
        assert len(set(colours_of(*labels).values())) == count


def test_more_labels_than_colours_are_no_error() -> None:
    assert len(colours_of(*(f"run {n}" for n in range(40)))) == 40


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0011, 0.012], [0.0015, 0.002, 0.003, 0.005, 0.007, 0.01]),
        ([1.0, 90.0], [1, 2, 5, 10, 20, 50]),
        ([1e-6, 1.0], [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]),
        ([1.1, 3.4], [1.5, 2, 2.5, 3]),
        ([0.0041, 0.0048], [0.0041, 0.0042, 0.0043, 0.0044, 0.0045, 0.0046, 0.0047, 0.0048]),
        ([0.0042, 0.0042], [0.0042]),
        ([0.0, float("nan"), float("inf"), 0.0042], [0.0042]),
    ],
    ids=["a decade", "two decades", "many decades", "little", "less", "one value", "no place"],
)
def test_log_axes_have_round_ticks_near_the_data(values: list[float], ticks: list[float]) -> None:
    assert style.log_axis(pd.Series(values, dtype=float)).to_dict()["values"] == pytest.approx(
        ticks
    )


@pytest.mark.parametrize("losses", [[], [0.0, 0.0], [None], [0.0, None]])
def test_losses_that_have_no_place_on_the_axis_are_told_instead_of_drawn(
    losses: list[float | None],
) -> None:
    trials = searched(losses)
    epochs = pd.DataFrame({"trial": [0], "epoch": [1], "validation_accuracy": [1.0]}).assign(
        run="fc-1", series="fc", train_loss=0.0, validation_loss=0.0
    )
    for chart in (
        lambda: search.history(trials, views.best_so_far(trials), SPACE),
        lambda: search.compare(views.best_so_far(trials).assign(label="fc-1")),
        lambda: search.slices(trials, "dropout", SPACE),
        lambda: search.parallel(trials, SPACE),
        lambda: curves.curves(epochs, trials),
        lambda: curves.training(epochs, 1),
    ):
        with pytest.raises(style.NothingToDrawError, match="no value is above 0"):
            chart()


def test_beside_others_a_loss_of_zero_is_left_out() -> None:
    trials = searched([0.2, 0.0, 0.1], run="a")
    best = views.best_so_far(trials)
    for chart in (
        search.history(trials, best, SPACE),
        search.compare(best.assign(label="a")),
        search.slices(trials, "dropout", SPACE),
        search.parallel(trials, SPACE),
    ):
        svg = drawn(chart)
        assert "NaN" not in svg
        assert "Infinity" not in svg
    assert views.zero_losses(trials.best_validation_loss, "trial") == (
        " Left out, since the axis is logarithmic: 1 trial of loss 0."
    )
    assert views.zero_losses(searched([0.2, None]).best_validation_loss, "trial") == ""


def test_a_cell_without_an_image_gets_into_a_pdf() -> None:
    cells = pd.DataFrame(
        {"column": [0], "row": ["fc"], "image": [views.BLANK], "test_image": [7], "note": [""]}
    )
    paper = drawing.for_paper(style.specification(quality.images(cells, ["fc"])))
    assert paper["pdf"].startswith(b"%PDF-")


def test_a_log_axis_has_four_to_twelve_ticks_among_the_data() -> None:
    luck = np.random.default_rng(0)
    for low, span in zip(
        10 ** luck.uniform(-6, 3, 300), 10 ** luck.uniform(0.01, 6, 300), strict=True
    ):
        ticks = style.log_axis(pd.Series([low, low * span])).to_dict()["values"]
        assert sum(low / 1.01 <= tick <= 1.01 * low * span for tick in ticks) >= 4
        assert len(ticks) <= 12


def test_a_single_loss_is_labelled_with_its_own_value() -> None:
    trials = searched([0.0042])
    assert "0.0042" in texts(drawn(search.history(trials, views.best_so_far(trials), SPACE)))


def test_small_images_are_enlarged_without_a_blur(svg_of: Callable[[str], str]) -> None:
    svg = svg_of("images")
    assert svg.count("image-rendering: pixelated") == svg.count("<image ") == 32


def test_images_stand_in_named_rows_with_notes(svg_of: Callable[[str], str]) -> None:
    svg = svg_of("images")
    rows = ("input", "pipeline", "fc", "fc − pipeline")
    assert [text for text in texts(svg) if text in rows] == [
        "input", "pipeline", "fc", "fc − pipeline"
    ]  # fmt: skip
    assert "cos 0.900" in texts(svg)


def test_the_front_joins_and_names_those_that_no_other_beats() -> None:
    quick, slow = {"share_95": 0.6, "share_99": 0.5}, {"share_95": 0.9, "share_99": 0.8}
    _, series = compared(
        [
            *series_rows("quick", 1, [1.0], **quick),
            *series_rows("slower, no better", 1, [2.0], **quick),
            *series_rows("slow", 1, [4.0], **slow),
            *series_rows("invalid", 1, [0.5], verdict="invalid"),
            *torchvision(1, [9.0]),
        ]
    )
    bests = comparison.best(series)
    chart = speed.pareto(
        views.measured(bests.assign(unbeaten=comparison.pareto(bests)), "end_to_end")
    )
    spec = chart.to_dict()
    points, _, front, names = (
        [row["subject"] for row in spec["datasets"][layer.get("data", spec.get("data"))["name"]]]
        for layer in spec["layer"]
    )
    assert front == ["quick", "slow", "torchvision uint8"]
    assert sorted(names) == front
    assert len(points) == 5
    shown = texts(drawn(chart))
    assert shown.count("quick") == shown.count("slow") == 2, "in the legend and at the point"
    assert shown.count("slower, no better") == 1, "in the legend"


def test_more_than_5000_trials_are_drawn() -> None:
    trials = searched(np.random.default_rng(0).uniform(0.1, 1, 5_001).tolist())
    chart = search.history(trials, views.best_so_far(trials), SPACE)
    assert drawn(chart).count('aria-roledescription="point"') == 5_001


def test_losses_that_are_not_positive_are_left_out_of_logarithmic_charts() -> None:
    trials = searched([0.0, 0.1, None])
    charts = [
        search.history(trials, views.best_so_far(trials), SPACE),
        search.slices(trials, "learning_rate", SPACE),
    ]
    assert [drawn(chart).count('aria-roledescription="point"') for chart in charts] == [1, 1]


def test_every_state_and_ending_has_a_shape_or_colour_of_its_own() -> None:
    reasons = [
        None,
        "max_epochs",
        "early_stopping",
        "asha",
        "median",
        "diverged",
        "out_of_memory",
        "error",
        "interrupted",
    ]
    trials = searched([0.1] * len(reasons), stop_reason=reasons)
    for scale, column in ((search.STATES, "state"), (curves.ENDINGS, "ending")):
        known: dict[str, Any] = scale.to_dict()
        assert set(known["domain"]) == set(trials[column])
        assert len(set(known["range"])) == len(known["domain"])


def test_a_running_trials_bar_lasts_until_now_and_an_ended_ones_until_its_end() -> None:
    trials = searched([0.1, 0.2], stop_reason=["asha", None])
    trials.loc[1, "ended_at"] = pd.NaT
    spec = curves.timeline(trials, NOW).to_dict()
    (rows,) = spec["datasets"].values()
    assert [(row["start"], row["end"]) for row in rows] == [(0, 60), (30, 7200)]


def test_few_epochs_are_labelled_once_each() -> None:
    epochs = pd.DataFrame({"run": "r", "trial": 0, "epoch": [1, 2, 3], "validation_accuracy": 0.5})
    epochs = epochs.assign(train_loss=[0.3, 0.2, 0.1], validation_loss=[0.3, 0.2, 0.15])
    labels = re.findall(r">(\d+)</text>", drawn(curves.training(epochs, 3)))
    assert labels == ["1", "2", "3"]
