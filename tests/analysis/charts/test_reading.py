"""What charts do beside drawing: themes, what a reader may do on a page, measures, panels."""

import itertools
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.charts import drawing, quality, search, speed, style, trials, views
from analysis.charts.measures import MEASURES, panels
from tests.analysis.made_runs import SPACE, searched

LOSSES = [0.3, 0.1, 0.2]


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


def rows_of(specified: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    name = layer.get("data", specified.get("data"))["name"]
    return list(specified["datasets"][name])


def epochs(**columns: Any) -> pd.DataFrame:
    """Trial 0 with three epochs, trial 1 with one."""
    made = pd.DataFrame(
        {
            "run": "fc-1",
            "trial": [0, 0, 0, 1],
            "epoch": [1, 2, 3, 1],
            "series": "fc",
            "train_loss": [0.5, 0.3, 0.2, 0.4],
            "validation_loss": [0.4, 0.2, 0.3, 0.6],
            "validation_accuracy": [0.5, 0.6, 0.7, 0.4],
            "validation_cosine": [0.9, 0.95, 0.96, 0.8],
            "train_sec": 50.0,
            "validation_sec": 10.0,
        }
    )
    return made.assign(**columns)


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("ground", style.GROUNDS)
def test_every_colour_stands_out_on_light_and_on_dark_ground(ground: str) -> None:
    marks = [*style.PALETTE, style.RULE, speed.STUDY, search.AT_EDGE, *trials.COLOURS.values()]
    for colour in marks:
        assert contrast(colour, style.GROUNDS[ground]) >= 2.95, colour
    assert contrast(style.INKS[ground], style.GROUNDS[ground]) > 7


@pytest.mark.parametrize("ground", style.GROUNDS)
def test_texts_of_a_page_have_the_ink_of_its_ground(ground: str) -> None:
    specified = style.page(search.parallel(searched(LOSSES), SPACE))
    assert "config" not in specified
    svg = drawing.drawn(specified | {"width": 400, "config": style.theme(ground)})
    other = style.INKS["dark" if ground == "light" else "light"]
    assert style.INKS[ground] in svg
    assert other not in svg
    assert style.GROUNDS[ground] in svg, "the halo behind the labels"


def test_a_saved_figure_names_a_fallback_for_its_font() -> None:
    svg = drawing.drawn(style.specification(search.compare(best(searched(LOSSES)))))
    assert "Liberation Sans, Arial, Helvetica, sans-serif" in svg


def best(made: pd.DataFrame, measure: str = "loss") -> pd.DataFrame:
    found = views.best_so_far(made, measure)
    return found.assign(label=found.run)


def test_what_a_reader_may_do_changes_no_saved_figure() -> None:
    made = searched(LOSSES)
    saved = style.specification(search.history(made, best(made), SPACE))
    assert "params" not in saved
    assert "usermeta" not in saved


def test_a_page_hides_what_its_legend_names_zooms_and_brushes() -> None:
    made = pd.concat([searched(LOSSES), searched([0.4], "cnn-1", "cnn")], ignore_index=True)
    specified = style.page(search.history(made, best(made), SPACE))
    assert specified["width"] == "container"
    by_name = {one["name"]: one for one in specified["params"]}
    assert set(by_name) == {"shown", "brush", "zoom"}
    assert by_name["shown"]["bind"] == "legend"
    assert by_name["shown"]["value"] == [{"series": "cnn"}, {"series": "fc"}]
    assert all({"filter": {"param": "shown"}} in one["transform"] for one in specified["layer"])
    assert by_name["brush"]["select"]["encodings"] == ["x", "y"]
    assert by_name["zoom"]["select"]["translate"] is False, "dragging brushes"
    first = specified["layer"][0]["name"]
    assert all(one["views"] == [first] for one in by_name.values())


def test_a_zoomed_axis_has_ticks_of_what_is_left_of_it() -> None:
    made = searched([0.001, 0.01, 0.1, 1.0])
    axis = style.page(search.history(made, best(made), SPACE))["layer"][0]["encoding"]["y"]["axis"]
    assert axis["values"] == {
        "expr": "zoom['best_validation_loss'] ? null : [0.001, 0.01, 0.1, 1.0]"
    }


def test_parameters_of_a_page_join_those_that_a_chart_has_of_its_own() -> None:
    specified = style.page(search.parallel(searched(LOSSES), SPACE))
    assert len(specified["params"]) == 2
    assert "brush" in {one["name"] for one in specified["params"]}


def test_a_brush_over_parallel_axes_can_be_read_back() -> None:
    made = searched(LOSSES, learning_rate=[1e-4, 1e-2, 1e-3])
    axes = style.page(search.parallel(made, SPACE))["usermeta"]["axes"]
    assert list(axes) == ["Learning rate", "Dropout", "Patience", "Validation loss"]
    assert axes["Learning rate"] == {
        "name": "learning_rate", "low": 1e-4, "high": 1e-2, "log": True
    }  # fmt: skip


NAMES = ["Small", "fc, mse", "cnn", "trial 3", "torchvision uint8", "matrix"]


def test_a_name_has_one_colour_in_whichever_chart_it_is_shown() -> None:
    every = style.palette(NAMES)
    for count in range(1, len(NAMES)):
        for shown in itertools.combinations(NAMES, count):
            scale = style.colours(shown, NAMES).to_dict()
            assert scale["domain"] == sorted(shown)
            assert scale["range"] == [every[name] for name in sorted(shown)]
    assert style.palette(reversed(NAMES)) == every


def test_what_is_no_network_takes_a_networks_colour_last() -> None:
    assert style.palette(["Small"])["Small"] not in style.NETWORKS.values()


def test_a_trial_with_one_epoch_is_a_point() -> None:
    chart = trials.curves(epochs(), pd.DataFrame({"run": ["fc-1"], "trial": [0]}))
    svg = drawing.drawn(style.specification(chart))
    assert svg.count('aria-roledescription="point"') == 1
    alone = trials.curves(epochs().head(3), pd.DataFrame({"run": ["fc-1"], "trial": [0]}))
    assert 'aria-roledescription="point"' not in drawing.drawn(style.specification(alone))


def test_curves_over_time_begin_with_each_trial() -> None:
    chart = trials.curves(epochs(), searched(LOSSES), over="time").to_dict()
    rows = rows_of(chart, chart["layer"][0])
    assert [(row["trial"], row["sec"]) for row in rows] == [(0, 60), (0, 120), (0, 180), (1, 60)]
    svg = drawing.drawn(style.specification(trials.curves(epochs(), searched(LOSSES), over="time")))
    assert {"0:00", "0:30", "1:00", "3:00"} <= set(texts(svg))


def test_smoothing_is_a_moving_average_of_each_trial_without_the_bias_of_its_start() -> None:
    chart = trials.curves(epochs(), searched(LOSSES), smoothing=0.5).to_dict()
    rows = rows_of(chart, chart["layer"][0])
    assert [row["validation_loss"] for row in rows] == pytest.approx(
        [0.4, (0.4 * 0.25 + 0.2 * 0.5) / 0.75, (0.4 / 8 + 0.2 / 4 + 0.3 / 2) / 0.875, 0.6]
    )


@pytest.mark.parametrize(
    ("measure", "title"),
    [("loss", "Validation loss"), ("accuracy", "Cosine ≥ 0.95"), ("cosine", "Mean cosine")],
)
def test_history_slices_and_curves_are_of_the_measure_that_is_asked_for(
    measure: str, title: str
) -> None:
    made = searched(LOSSES)
    of = MEASURES[measure]
    for chart, column in (
        (search.history(made, best(made, measure), SPACE, measure=measure), of.of_trial),
        (search.slices(made, "dropout", SPACE, measure=measure), of.of_trial),
        (trials.curves(epochs(), made, measure=measure), of.name),
    ):
        y = chart.to_dict()["layer"][0]["encoding"]["y"]
        assert (y["field"], y["title"]) == (column, title)
        assert (y["scale"].get("type") == "log") == (measure == "loss")
        assert title in texts(drawing.drawn(style.specification(chart)))


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_an_axis_is_logarithmic_or_linear_as_asked(scale: str) -> None:
    made = searched([0.3, 0.0, 0.2])
    steps = views.best_so_far(made)
    for chart in (
        search.history(made, steps, SPACE, scale=scale),
        search.slices(made, "dropout", SPACE, scale=scale),
    ):
        svg = drawing.drawn(style.specification(chart))
        assert svg.count('aria-roledescription="point"') == (3 if scale == "linear" else 2)


def test_the_best_so_far_of_an_accuracy_is_the_highest() -> None:
    made = searched(LOSSES, best_validation_accuracy=[0.5, 0.4, 0.9])
    found = views.best_so_far(made, "accuracy")
    assert list(zip(found.trial, found.best, strict=True)) == [(0, 0.5), (2, 0.9)]


@pytest.mark.parametrize(("higher_is_better", "steps"), [(1, [1, 2]), (0, [1])])
def test_the_best_so_far_of_a_score_follows_its_runs_rule(
    higher_is_better: int, steps: list[float]
) -> None:
    made = searched(LOSSES, best_validation_score=[1.0, 2.0, 1.5])
    sign = -1 if higher_is_better else 1
    made = made.assign(rank_by="psnr", objective=sign * made.best_validation_score)
    assert list(dict.fromkeys(views.best_so_far(made, "score").best)) == steps
    assert MEASURES["score"].title(made) == "Mean psnr"


def test_losses_that_do_not_compare_are_panels_of_their_own() -> None:
    fc = searched(LOSSES, loss=["mse", "mse", "perceptual"])
    assert {name: len(one) for name, one in panels(fc).items()} == {"mse": 2, "perceptual": 1}
    assert list(panels(fc, "accuracy")) == [""], "accuracies compare whatever the loss"
    assert list(panels(searched(LOSSES))) == [""]
    photos = fc.assign(data_name="photos")
    names = list(panels(pd.concat([fc, photos], ignore_index=True)))
    assert names == ["mse, cifar10", "mse, photos", "perceptual, cifar10", "perceptual, photos"]


def test_the_only_trial_of_a_series_has_the_colour_of_the_best() -> None:
    made = pd.concat([searched(LOSSES), searched([0.4], "cnn-1", "cnn")], ignore_index=True)
    specified = search.parallel(made, SPACE).to_dict()
    rows = rows_of(specified, specified["layer"][0])
    ranks = {(row["run"], row["trial"]): row["_rank"] for row in rows}
    assert ranks == {("fc-1", 0): 1, ("fc-1", 1): 0, ("fc-1", 2): 0.5, ("cnn-1", 0): 0}


@pytest.mark.parametrize(
    ("rates", "notes"),
    [
        ([1e-3, 1e-2, 1e-4], []),
        ([1e-3, 9e-2, 1e-4], ["best at the upper edge"]),
        ([1e-3, 1.1e-5, 1e-4], ["best at the lower edge"]),
    ],
    ids=["within", "upper", "lower"],
)
def test_a_slice_marks_the_ends_of_its_range_and_the_best_at_one(
    rates: list[float], notes: list[str]
) -> None:
    chart = search.slices(searched(LOSSES, learning_rate=rates), "learning_rate", SPACE)
    svg = drawing.drawn(style.specification(chart))
    assert svg.count('aria-roledescription="rule mark"') == 2
    assert [text for text in texts(svg) if "edge" in text] == notes
    assert {"1e-5", "0.1"} <= set(texts(svg))


def test_choices_have_no_edge() -> None:
    from trainables.hyperparameters import Parameter

    made = searched(LOSSES).assign(activation=["relu", "gelu", "relu"])
    space = {"activation": Parameter(choices=("relu", "gelu"))}
    svg = drawing.drawn(style.specification(search.slices(made, "activation", space)))
    assert 'aria-roledescription="rule mark"' not in svg


def timed(subjects: list[str], **columns: Any) -> pd.DataFrame:
    us = [5.0 + place for place in range(len(subjects))]
    made = {
        "subject": subjects,
        "kind": "trial",
        "batch_size": 8,
        "us": us,
        "lower": [0.9 * one for one in us],
        "upper": [1.1 * one for one in us],
        "share_95": [0.99 + place / 1000 for place in range(len(subjects))],
        "share_99": 0.5,
        "verdict": "valid",
        "unbeaten": True,
    }
    return pd.DataFrame(made).assign(**columns)


def test_a_subject_has_a_row_of_its_own_in_measurements_side_by_side() -> None:
    subjects = [f"trial {number}, torch.compile" for number in range(6)]
    both = pd.concat([timed(subjects).assign(measurement=name) for name in ("a", "b")])
    chart = speed.measurements(both)
    specified = chart.to_dict()
    assert specified["height"] >= 12 * len(both)
    svg = drawing.drawn(style.specification(chart))
    assert [text for text in texts(svg) if text in subjects] == subjects
    points = re.findall(
        r'aria-roledescription="point"[^>]*transform="translate\(([\d.]+),([\d.]+)\)', svg
    )
    heights = sorted(float(y) for _, y in points)
    assert len(heights) == len(both)
    assert min(np.diff(heights)) > 8


def test_names_on_the_front_do_not_lie_on_each_other() -> None:
    bests = timed([f"trial {number}, ONNX Runtime" for number in range(7)])
    bests["share_95"] = 0.99
    bests["us"] = [5.0, 5.1, 5.2, 5.3, 9.0, 9.1, 30.0]
    placed = speed._named(bests)
    across = speed._pixels(bests.us.map(np.log), speed.NARROW)
    boxes = [
        speed._box(one.subject, across[one.Index], 0, one.align, one.right, one.below)
        for one in placed.itertuples()
    ]
    for one, other in itertools.combinations(boxes, 2):
        assert speed._is_free(one, [other])


def test_a_ratio_that_is_no_result_is_faint_and_no_line_joins_it() -> None:
    ratios = pd.DataFrame(
        {
            "subject": "fc",
            "batch_size": [1, 8, 64],
            "median": [1.0, 2.0, 3.0],
            "low": [0.9, 1.9, 2.9],
            "high": [1.1, 2.1, 3.1],
            "pairs": 6,
            "verdict": ["valid", "invalid", "rough"],
        }
    )
    svg = drawing.drawn(style.specification(speed.speedup(ratios)))
    (line,) = re.findall(r'aria-roledescription="line mark"[^>]*d="([^"]+)"', svg)
    assert line.count("L") == 1, "from the valid to the rough one"
    points = re.findall(r'aria-roledescription="point"[^>]*', svg)
    faint = ['opacity="0.4"' in point for point in points]
    assert sorted(faint) == [False, False, True]


def test_times_have_the_unit_of_their_size() -> None:
    bests = timed(["a", "b", "c", "d"])
    bests["us"] = [5.0, 50.0, 5_000.0, 5_000_000.0]
    svg = drawing.drawn(style.specification(speed.pareto(bests)))
    assert {"10 µs", "1 ms", "1 s"} <= set(texts(svg))


def test_floors_have_dashes_of_their_own_and_the_ceiling_is_solid() -> None:
    baselines = pd.DataFrame(
        {"name": ["a (floor)", "b (floor)", "c (ceiling)", "d (floor)"],
         "kind": ["floor", "floor", "ceiling", "floor"]}
    )  # fmt: skip
    scale = quality._dashes(baselines).to_dict()
    found = dict(zip(scale["domain"], scale["range"], strict=True))
    assert found["c (ceiling)"] == [1, 0]
    assert len({json.dumps(dash) for dash in found.values()}) == 4


@pytest.mark.parametrize(
    ("most_sec", "title"), [(150.0, "Time, min:s"), (9_000.0, "Time, h:min:s")]
)
def test_an_axis_of_durations_has_a_few_round_ticks(most_sec: float, title: str) -> None:
    axis = style.time_axis(most_sec, "Time").to_dict()
    steps = set(np.diff(axis["values"]))
    assert len(steps) == 1
    assert 3 <= len(axis["values"]) <= 8
    assert axis["title"] == title


@pytest.mark.parametrize("sec", [0, 1, 59, 60, 61, 600, 3599, 3600, 86_400, 3_000_000])
def test_every_duration_has_ticks(sec: float) -> None:
    assert 1 <= len(style.time_axis(sec, "Time").to_dict()["values"]) <= 8
