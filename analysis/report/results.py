"""What a run measured: accuracy with floors and ceiling, failures, what networks see, times."""

import io
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from analysis.charts.views import LARGEST_SIDE
from analysis.report.content import Grid
from analysis.tables.files import Row
from analysis.tables.ranking import goal_of, has_mixed_losses, ranking_rule
from analysis.tables.scored import by_subject
from analysis.timing import comparison
from analysis.timing.protocol import VALID
from analysis.wording import (
    UNKNOWN,
    count,
    interval,
    named,
    number,
    percent_with_interval,
    percent_with_spread,
    short_time,
    shown,
)
from trainables.networks.registry import AUTO
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

METRICS = {"cosine": "mean cosine", "mse": "MSE", "psnr": "PSNR, dB", "ssim": "SSIM"}
"""What a column of their means is called."""
FORMS = {"cosine": ".4f", "psnr": ".1f", "ssim": ".4f"}
"""How means are printed that have a scale of their own."""
LARGEST_VALUE = 255  # of a channel of an image that is kept


def accuracy(run: Row, scores: list[Row], trials: list[Row]) -> Grid:
    """Compare networks with floors and ceiling on the test images, with 95 % intervals.

    Args:
        run: Its row of `runs`.
        scores: Its rows of `scores`.
        trials: Its rows of `trials`.
    """
    differ = {"model": "network"} if run["model"] == AUTO else {}
    if has_mixed_losses(run):
        differ["loss"] = "loss"
    labels = {}
    if differ:
        labels = {row["trial"]: f" ({', '.join(row[name] for name in differ)})" for row in trials}
    kinds = {kind: f" ({kind})" for kind in ("floor", "ceiling")}
    metrics = list(dict.fromkeys([*METRICS, *(row["metric"] for row in scores)]))
    thresholds = list(dict.fromkeys([run["threshold"], STRICT_THRESHOLD]))
    subjects, rows, heads = by_subject(scores), [], []
    repeated = any(row["sd"] is not None for of in subjects for row in of.values())
    for of in subjects:
        head = of["cosine", run["threshold"]]
        heads.append(head)
        name = head["subject"] + (labels.get(head["trial"]) or kinds.get(head["kind"], ""))
        shares = [_share(of.get(("cosine", threshold))) for threshold in thresholds]
        means = [_mean(metric, of.get((metric, None))) for metric in metrics]
        parameters = f"{head['parameters']:,}" if head["parameters"] else UNKNOWN
        rows.append([name, *shares, *([_trainings(head)] if repeated else []), *means, parameters])
    images = heads[0]["images"] if heads else 0
    remarks = _accuracy_remarks(run, images, list(differ.values()), repeated)
    return Grid(
        "accuracy",
        "Networks against floors and ceiling on the test images",
        [
            "",
            *(f"cosine ≥ {threshold:g}" for threshold in thresholds),
            *(["over trainings"] if repeated else []),
            *(METRICS.get(metric, metric) for metric in metrics),
            "parameters",
        ],
        rows,
        remarks,
    )


def _accuracy_remarks(run: Row, images: int, differ: list[str], repeated: bool) -> list[str]:
    """Say what the accuracies are, and what they are not.

    Args:
        run: Its row of `runs`.
        images: In the test split.
        differ: What finalists differ in: `network`, `loss`.
        repeated: Whether any was trained again with other seeds.
    """
    of_each = f"; the best of each {' with each '.join(differ)} is among them" if differ else ""
    trainings = (
        "Over trainings: mean ± standard deviation (n − 1) with different seeds."
        if repeated
        else "One training each: how much another seed would change is not known "
        "(--confirm-seeds measures it)."
    )
    lenient = f"{run['threshold']:g} is lenient: the" if run["threshold"] <= THRESHOLD else "The"
    rule = ranking_rule(has_mixed_losses(run), goal_of(run))
    return [
        f"n = {images:,} test images; in brackets the 95 % interval that the choice of these "
        "images leaves: of shares Wilson's (1927), of means 1.96 standard errors.",
        trainings,
        f"{lenient} floors cost nothing, and an accuracy says something only above them.",
        f"Finalists were chosen by {rule}{of_each}. No test image had a part in that.",
    ]


def failures(samples: pd.DataFrame, worst: int) -> Grid:
    """Name the images on which a network is worst, by cosine similarity and by PSNR.

    Args:
        samples: The rows of `samples` of one network, as `with_psnr` returns them.
        worst: How many by each.
    """
    by_cosine = samples.sort_values("cosine").head(worst)
    by_psnr = samples.sort_values("psnr_db").head(worst)
    rows = [
        [str(place), *_failure(first), *_failure(second)]
        for place, (first, second) in enumerate(
            zip(by_cosine.itertuples(), by_psnr.itertuples(), strict=True), start=1
        )
    ]
    heads = ["worst", "by cosine: image", "cosine", "PSNR, dB"]
    heads += ["by PSNR: image", "cosine", "PSNR, dB"]
    remarks = [
        "Images are counted from 0 in the order of the test split. PSNR is that of the 8-bit "
        f"pictures, among the {len(samples):,} that the run kept: a spread, and the worst, middle "
        "and best."
    ]
    title = f"The images on which {samples.subject.iloc[0]} is worst"
    return Grid("failures", title, heads, rows, remarks)


def with_psnr(samples: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `samples` with `psnr_db`, of output and truth as the pictures have them.

    What is no picture, or has no error at all, has none.
    """
    pairs = zip(samples.truth, samples.output, strict=True)
    return samples.assign(psnr_db=[_psnr_db(truth, output) for truth, output in pairs])


def sight(cards: list[Row]) -> Grid:
    """Say how large each network is, and how much of an image an output pixel depends on."""
    rows = [
        [
            card["subject"],
            f"{card['parameters']:,}",
            number(card["flops_per_image"] / 1e6),
            number(card["weight_bytes"] / 2**10),
            "unknown"
            if card["receptive_height"] is None
            else f"{card['receptive_height']} × {card['receptive_width']}",
        ]
        for card in cards
    ]
    heads = ["", "parameters", "MFLOP an image", "weights, KiB", "receptive field, pixels"]
    remarks = [
        "Receptive field: the window of the input that the middle pixel of the output depends on."
    ]
    return Grid("networks", "What networks cost, and what they see", heads, rows, remarks)


def speed(turns: pd.DataFrame, series: pd.DataFrame, device: str) -> Grid:
    """Compare every subject of a device at its best batch size, with verdicts.

    Args:
        turns: As `comparison.turns` returns them.
        series: Their `comparison.summary`.
        device: `cpu` or `cuda`.
    """
    here = series[series.device == device]
    singles = {row.subject: _us(row) for _, row in here[here.batch_size == 1].iterrows()}
    bests = comparison.best_series(turns, series, device)
    rows = [
        [
            one.series.subject,
            str(one.series.verdict),
            _us(one.series),
            f"{one.series.batch_size:,}",
            singles.get(one.series.subject, UNKNOWN),
            _ratio(one.times_batched),
            _ratio(one.times_single),
        ]
        for one in bests
    ]
    remarks = [
        f"Medians of {comparison.processes(here)}, end to end (uint8 to float32, both in host "
        "memory); in brackets the 95 % interval, by order statistics.",
        "Ratios: of pairs of turns that are nearest in time, Hodges and Lehmann's estimate over "
        "the processes with the 95 % interval by signed ranks; × batched: against the pipeline's "
        "best batch here, × singly: against it image by image on a CPU; –: no valid timing.",
        f"{count(int(here.threads.max()), 'thread')}, for single images one; every subject in "
        "processes of its own, in turn.",
    ]
    doubtful = [one.series.subject for one in bests if one.series.verdict != VALID]
    if doubtful:
        remarks.append(
            f"Not plainly valid on this machine: {', '.join(doubtful)}. "
            "What is invalid is no result."
        )
    heads = ["", "verdict", "µs an image", "at batch", "singly, µs", "× batched", "× singly"]
    title = f"Time an image on the {named(device)}, end to end"
    return Grid(f"speed-{device}", title, heads, rows, remarks)


def latency(series: pd.DataFrame, device: str) -> Grid:
    """Say what a service asks: quantiles of single calls, the first call, images a second."""
    here = series[series.device == device]
    rates = 1e6 / comparison.best(here).set_index("subject").end_to_end_us
    singles = here[(here.batch_size == 1) & here.calls.notna()].sort_values("p50_sec")
    rows = [
        [
            row.subject,
            str(row.verdict),
            *(shown(sec, short_time) for sec in (row.p50_sec, row.p90_sec, row.p99_sec)),
            shown(row.first_call_sec, short_time),
            f"{rates[row.subject]:,.0f}",
        ]
        for _, row in singles.iterrows()
    ]
    heads = ["", "verdict", "50 %", "90 %", "99 %", "first call", "images a second"]
    remarks = [
        "Quantiles of calls with one image, from end to end; the first call of all, cold; images a "
        "second at the best batch size."
    ]
    return Grid(
        f"latency-{device}", f"One image a call on the {named(device)}", heads, rows, remarks
    )


def crossover(turns: pd.DataFrame, series: pd.DataFrame, device: str) -> Grid:
    """Say from which batch size on each network is faster than the pipeline."""
    subjects: Sequence[str] = []
    if comparison.baseline(series, device) is not None:
        subjects = comparison.networks(series, device)
    rows = [
        [subject, comparison.crossover_text(turns, series, subject, device)] for subject in subjects
    ]
    remarks = ["Faster: the whole 95 % interval of the ratio is above 1."]
    title = f"Faster than the pipeline on the {named(device)}"
    return Grid(f"crossover-{device}", title, ["", "faster than the pipeline"], rows, remarks)


def study(timings: pd.DataFrame, series: pd.DataFrame) -> Grid:
    """Set the reference study's times for 10,000 images beside the same here."""
    rows = []
    quoted = timings[timings.kind == "study"].drop_duplicates(["subject", "device"])
    for _, row in quoted.iterrows():
        ours = comparison.like_the_study(row, series)
        here = "not measured"
        if ours is not None:
            here = (
                f"{number(ours.end_to_end_us * row.images / 1e6)} s "
                f"at batch {ours.batch_size:,} ({ours.verdict})"
            )
        subject = row.subject.removeprefix("study: ")
        rows.append([subject, named(row.device), f"{number(row.end_to_end_sec)} s", here])
    remarks = [
        "Of the study's times neither hardware nor batch sizes nor what they include is known in "
        "detail: no ratio."
    ]
    title = "10,000 images: the study, and the same here"
    return Grid("study", title, ["", "device", "study", "here"], rows, remarks)


def _share(row: Row | None) -> str:
    if row is None:
        return UNKNOWN
    return percent_with_interval(row["value"], row["low"], row["high"])


def _mean(metric: str, row: Row | None) -> str:
    """Return a mean with its interval, where it has one."""
    if row is None:
        return UNKNOWN
    form = FORMS.get(metric)
    value, *ends = (
        format(one, form) if form else number(one)
        for one in (row["value"], row["low"], row["high"])
        if one is not None
    )
    return f"{value} [{', '.join(ends)}]" if ends else value


def _trainings(row: Row) -> str:
    if row["sd"] is None:
        return "n = 1" if row["kind"] == "trial" else UNKNOWN
    return f"{percent_with_spread(row['mean'], row['sd'])}, n = {row['trainings']}"


def _failure(row: object) -> list[str]:
    image, cosine, psnr_db = (getattr(row, name) for name in ("image", "cosine", "psnr_db"))
    return [f"{image:,}", f"{cosine:.4f}", shown(psnr_db, "{:.1f}".format)]


def _psnr_db(truth: object, output: object) -> float:
    first, second = _pixels(truth), _pixels(output)
    if first is None or second is None or first.shape != second.shape:
        return math.nan
    squared_error = float(((first - second) ** 2).mean())
    return 10 * math.log10(LARGEST_VALUE**2 / squared_error) if squared_error else math.nan


def _pixels(png: object) -> np.ndarray | None:
    if not isinstance(png, bytes):
        return None
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
        # By its header: nothing is decoded yet
        return None if max(image.size) > LARGEST_SIDE else np.asarray(image, float)
    except Exception:  # Pillow's have no common class
        return None


def _us(series: pd.Series) -> str:
    ends = interval(series.end_to_end_lower_us, series.end_to_end_upper_us)
    return f"{number(series.end_to_end_us)} {ends}"


def _ratio(ratio: comparison.Ratio | None) -> str:
    if ratio is None or not ratio.is_result:
        return UNKNOWN
    return "1" if ratio.low == ratio.high == 1 else str(ratio)  # the pipeline beside itself
