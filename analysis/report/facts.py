"""The words and numbers of a report: every one with its n, its spread and its caveat."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.charts.views import DEVICES
from analysis.console import (
    command_text,
    hyperparameters,
    perceptual,
)
from analysis.edges import MARGIN, edge_line, places
from analysis.report.figures import Tables
from analysis.tables.files import Row, table_path
from analysis.tables.parameters import read_space, read_spaces
from analysis.tables.ranking import goal_of, has_mixed_losses, ranking_rule
from analysis.tables.scored import Scores, by_subject
from analysis.timing import comparison
from analysis.timing.protocol import ROUGH, VALID
from analysis.wording import duration, named, number, percent_with_interval, percent_with_spread
from trainables.errors import UsageError
from trainables.goal import COSINE
from trainables.hyperparameters import COLUMNS, label, short, text
from trainables.networks.registry import AUTO
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD, percent

METRICS = {  # what a column of their means is called, and how they are printed
    "cosine": ("mean cosine", ".4f"),
    "mse": ("MSE", ".2e"),
    "psnr": ("PSNR, dB", ".1f"),
    "ssim": ("SSIM", ".4f"),
}


@dataclass(frozen=True)
class Grid:
    """A table: its heads, its rows of text, and what has to be said of it."""

    heads: list[str]
    rows: list[list[str]]
    remarks: list[str]


def answer(run: Row, storage: str, scores: list[Row], tables: Tables, best: list[Row]) -> str:
    """Say in two sentences what the run found, with n, interval, floor and ceiling.

    Args:
        run: Its row of `runs`.
        storage: Where it is kept.
        scores: Its rows of `scores`.
        tables: Its tables as data frames.
        best: Its rows of `trials` from best to worst.
    """
    if not best:
        return (
            "No trial of this run has finished an epoch with a finite loss, so there is nothing to "
            "report yet."
        )
    trial = best[0]["trial"]
    rows = [of["cosine", run["threshold"]] for of in by_subject(scores)]
    shares = {
        kind: [row["value"] for row in rows if row["kind"] == kind] for kind in ("floor", "ceiling")
    }
    mine = [row for row in rows if row["kind"] == "trial" and row["trial"] == trial]
    if not mine:
        return (
            f"The search is {run['status']}; its best trial has not been measured on the test "
            "images yet."
        )
    floor = max(shares["floor"], default=0.0)
    which = f"With {best[0]['model']}, " if run["model"] == AUTO else ""
    text = (
        f"{which}{with_interval(mine[0])} of {mine[0]['images']:,} test images reach a cosine "
        f"similarity of {run['threshold']:g} to the pipeline's output; the best floor: "
        f"{percent(floor)}, the ceiling: {percent(max(shares['ceiling'], default=1.0))}."
    )
    if mine[0]["value"] <= floor:
        text += " The network is no better than an output that costs nothing."
    command = command_text("analysis.timing", "--run", run["run"], storage=storage)
    return f"{text} {_speed_in_words(tables, trial, command)}"


def commands(run: Row, storage: str, out: Path) -> str:
    """Return what to type to get the run, its timings and this report again."""
    checkout = [f"git checkout {run['commit']}"] if run["commit"] else []
    name = run["run"]
    return "\n".join(
        [
            *checkout,
            'pip install -c constraints.txt -e ".[dashboard,export,peers]"',
            run["command"],
            command_text("analysis.timing", "--run", name, storage=storage),
            command_text("analysis.report", name, "--out", str(out), storage=storage),
        ]
    )


def asked(run: Row, trials: list[Row]) -> list[tuple[str, str]]:
    """Say what was asked, on what data."""
    config = json.loads(run["config"])
    searched = [row for row in trials if row["repeat_of"] is None]
    endings = Counter(row["stop_reason"] for row in searched)
    ended = ", ".join(f"{count} {named(ending)}" for ending, count in endings.most_common())
    hours = _hours(sum(row["train_sec"] for row in trials))
    return [
        ("Network", f"{_networks(run, searched)}, to replace the pipeline “{run['pipeline']}”"),
        ("Loss", _losses(run, config, sorted({row["loss"] for row in searched}))),
        *_searches(run, config, searched),
        *([("Scheduler", _stopped(config))] if "scheduler" in config else []),
        ("Trials", f"{len(searched)}: {ended}"),
        ("Training", f"{sum(row['epochs'] for row in trials):,} epochs, {hours}"),
        ("Data", str(run["data"])),
        *[
            (
                f"{split.capitalize()} images",
                f"{run[f'{split}_images']:,}, SHA-256 {run[f'{split}_fingerprint'][:12]}…",
            )
            for split in ("train", "validation", "test")
        ],
    ]


def where(run: Row) -> list[tuple[str, str]]:
    """Say on what machine, with what software, and when."""
    took = ""
    if run["ended_at"]:
        took = f", {duration((run['ended_at'] - run['started_at']).total_seconds())} in all"
    gpus = f"{run['gpu_count']} × {run['gpu_model']}" if run["gpu_count"] else "none"
    versions = ", ".join(
        f"{name} {version}" for name, version in json.loads(run["versions"]).items()
    )
    commit = "not run from a checkout" if run["commit"] is None else run["commit"][:12]
    return [
        (
            "Machine",
            f"{run['node_count']} × {run['cpu_model']}, {run['cpu_count']} cores, "
            f"{run['memory_gib']:.0f} GiB; GPU: {gpus}",
        ),
        (
            "Started",
            f"{run['started_at']:%Y-%m-%d %H:%M} UTC{took}; {run['sessions']} session(s), "
            f"now {run['status']}",
        ),
        ("Code", commit + (" with changes that are in no commit" if run["dirty"] else "")),
        ("Versions", versions or "unknown"),
    ]


def best_trial(best: Row, trials: list[Row], run: Row) -> list[tuple[str, str]]:
    """Say which trial is the best of a run, and how it came about."""
    accuracy = (
        f"{percent(best['best_validation_accuracy'])} of {run['validation_images']:,} images "
        f"at cosine ≥ {run['threshold']:g}"
    )
    mixed_losses, goal = has_mixed_losses(run), goal_of(run)
    if goal.between(mixed_losses).rank_by == COSINE:
        accuracy += f", mean cosine {best['best_validation_cosine']:.4f}"
    if goal.has_score:
        accuracy += f", mean {goal.rank_by} {best['best_validation_score']:.4g}"
    count = sum(row["repeat_of"] is None for row in trials)
    return [
        (
            "Trial",
            f"{best['trial']} of {count} ({ranking_rule(mixed_losses, goal)}; ties to the earlier "
            f"trial)",
        ),
        ("Hyperparameters", hyperparameters(best, model=run["model"] == AUTO, loss=mixed_losses)),
        (
            "Validation loss",
            f"{best['best_validation_loss']:.4g} at epoch {best['best_epoch']} of {best['epochs']}",
        ),
        (
            "Validation accuracy",
            f"{accuracy}; these images chose the trial, the test images below did not",
        ),
        (
            "Trained on",
            f"{best['device']}, {best['precision']}, {best['threads']} thread(s), "
            f"seed {best['seed']}",
        ),
    ]


def searched(best: Row, run: Row) -> Grid:
    """Show what was searched, and where in it the best trial of a run lies."""
    space = read_space(run["space"], best["model"])
    rows = []
    for place in places(best, space):
        where = "–"
        if place.position is not None:
            where = f"{100 * place.position:.0f} %" + (f", {place.edge} edge" if place.edge else "")
        value = text(place.name, place.value)
        rows.append([label(place.name), place.parameter.in_words, value, where])
    remarks = [
        "0 % is the low end of a range and 100 % its high end, on the scale on which it is drawn. "
        f"At an edge is what is nearer to an end than {100 * MARGIN:.0f} %, where values beyond "
        "make sense.",
    ]
    if edges := edge_line(best, space):
        remarks.append(f"{edges}.")
    return Grid(["", "searched", f"trial {best['trial']}", "of the range"], rows, remarks)


def accuracy(run: Row, scores: list[Row], trials: list[Row]) -> Grid:
    """Compare networks with floors and ceiling on the test images, with 95 % intervals."""
    mixed_losses = has_mixed_losses(run)
    differ = {"model": "network"} if run["model"] == AUTO else {}
    if mixed_losses:
        differ["loss"] = "loss"
    labels = {}
    if differ:
        labels = {row["trial"]: f" ({', '.join(row[name] for name in differ)})" for row in trials}
    kinds = {kind: f" ({kind})" for kind in ("floor", "ceiling")}
    shown = _metrics(scores)
    beside = [] if run["threshold"] == STRICT_THRESHOLD else [STRICT_THRESHOLD]
    grid, heads = [], []
    for of in by_subject(scores):
        head = of["cosine", run["threshold"]]
        heads.append(head)
        means = {metric: of[metric, None]["value"] for metric in shown if (metric, None) in of}
        grid.append(
            [
                head["subject"] + (labels.get(head["trial"]) or kinds.get(head["kind"], "")),
                with_interval(head),
                _trainings(head),
                *(_percent_at(of, at) for at in beside),
                *(format(means[name], shown[name][1]) if name in means else "–" for name in shown),
                f"{head['parameters']:,}" if head["parameters"] else "–",
            ]
        )
    count = f"{heads[0]['images']:,}" if heads else "0"
    of_each = ""
    if differ:
        of_each = f"; the best of each {' with each '.join(differ.values())} is among them"
    trainings = "Mean ± standard deviation (n − 1) over trainings with different seeds."
    if max((row["trainings"] for row in heads), default=1) == 1:
        trainings = (
            "One training each: how much another seed would change is not known "
            "(--confirm-seeds measures it)."
        )
    lenient = f"{run['threshold']:g} is lenient: the" if run["threshold"] <= THRESHOLD else "The"
    remarks = [
        f"n = {count} test images; in brackets the 95 % interval that the choice of these images "
        "leaves (Wilson 1927).",
        trainings,
        f"{lenient} floors cost nothing, and an accuracy says something only above them.",
        f"Finalists were chosen by {ranking_rule(mixed_losses, goal_of(run))}{of_each}. "
        "No test image had a part in that.",
    ]
    return Grid(
        [
            "",
            f"cosine ≥ {run['threshold']:g}",
            "over trainings",
            *(f"≥ {at}" for at in beside),
            *(name for name, _ in shown.values()),
            "parameters",
        ],
        grid,
        remarks,
    )


def _metrics(scores: list[Row]) -> dict[str, tuple[str, str]]:
    """Return METRICS, and a person's own of these rows."""
    own = {row["metric"]: (row["metric"], ".4g") for row in scores}
    return {**METRICS, **{name: shown for name, shown in own.items() if name not in METRICS}}


def speed(turns: pd.DataFrame, series: pd.DataFrame, device: str) -> Grid:
    """Compare every subject of a device at its best batch size."""
    rows = [
        [
            one.series.subject,
            _with_limits(one.series),
            f"{one.series.batch_size:,}",
            "–" if one.single_us is None else number(one.single_us),
            _ratio(one.times_single),
            _ratio(one.times_batched),
            str(one.series.verdict or "none"),
        ]
        for one in comparison.best_series(turns, series, device)
    ]
    here = series[series.device == device]
    remarks = [
        f"Medians of {comparison.processes(here)}, end to end (uint8 to float32, both in host "
        "memory); in brackets the 95 % interval.",
        "Ratios: of pairs of turns that are nearest in time, Hodges and Lehmann's estimate over "
        "the processes with the 95 % interval by signed ranks; × singly: against the pipeline "
        "image by image on a CPU, × batched: against its best batch here; –: no valid timing.",
        f"{here.threads.max():.0f} threads, for single images one; every subject in processes "
        "of its own, in turn.",
    ]
    doubtful = [row[0] for row in rows if row[-1] != VALID]
    if doubtful:
        remarks.append(
            f"Not plainly valid on this machine: {', '.join(doubtful)}. "
            "What is invalid is no result."
        )
    return Grid(
        ["", "µs an image", "at batch", "singly, µs", "× singly", "× batched", "verdict"],
        rows,
        remarks,
    )


def study(timings: pd.DataFrame, series: pd.DataFrame) -> Grid:
    """Set the reference study's times for 10,000 images beside the same here."""
    rows = []
    quoted = timings[timings.kind == "study"].drop_duplicates(["subject", "device"])
    for _, row in quoted.iterrows():
        ours = comparison.like_the_study(row, series)
        here = "not measured"
        if ours is not None:
            here = (
                f"{ours.end_to_end_us * row.images / 1e6:.3f} s "
                f"at batch {ours.batch_size:,} ({ours.verdict})"
            )
        rows.append(
            [row.subject.removeprefix("study: "), row.device, f"{row.end_to_end_sec:.3f} s", here]
        )
    return Grid(
        ["", "device", "study", "here"],
        rows,
        [
            "Of the study's times neither hardware nor batch sizes nor what they include is known "
            "in detail: no ratio."
        ],
    )


def with_interval(row: Row) -> str:
    """Return a fraction of the images with its 95 % interval: `99.8 % [99.7, 99.9]`."""
    return percent_with_interval(row["value"], row["low"], row["high"])


def _networks(run: Row, searched: list[Row]) -> str:
    """Return what was trained, several networks in the order in which the search named them."""
    trained = {row["model"] for row in searched}
    if run["model"] != AUTO or not trained:
        return str(run["model"])
    return ", ".join(network for network in read_spaces(run["space"]) if network in trained)


def _searches(run: Row, config: dict[str, Any], searched: list[Row]) -> Iterator[tuple[str, str]]:
    """Yield how the search drew, and from what: each of several networks has its own space."""
    how, seed = _proposed(config), f"seed {run['seed']}"
    named = {name for row in searched for name in json.loads(row["parameters"] or "{}")}
    over = {
        network: ", ".join(
            f"{short(name)} {parameter.in_words}"
            for name, parameter in space.items()
            if name in COLUMNS or name in named
        )
        for network, space in read_spaces(run["space"]).items()
    }
    if list(over) == [""]:
        yield "Search", f"{how} over {over['']}, {seed}"
        return
    yield "Search", f"{how}, {seed}; each network has its own space"
    for network, ranges in over.items():
        yield f"Space of {network}", ranges


def _proposed(config: dict[str, Any]) -> str:
    """Return how trials were proposed."""
    how = str(config.get("search", "random"))
    if how == "tpe":
        how += f" (Optuna's, multivariate, at random until {config['startup_trials']} have ended)"
    if points := config.get("start"):
        how += f" from {' and '.join(points)}"
    return how


def _stopped(config: dict[str, Any]) -> str:
    """Return what stopped trials early."""
    if config["scheduler"] == "none":
        return "none: each trial came to its own end"
    grace = f"not before epoch {config['grace_epochs']}"
    if config["scheduler"] == "median":
        return f"median rule, {grace}"
    return f"ASHA, one trial in {config['reduction_factor']:g} goes on, {grace}"


def _losses(run: Row, config: dict[str, Any], minimised: list[str]) -> str:
    if not minimised:
        return "none"
    settings = ""
    if config.get("perceptual_layers"):
        try:
            settings = f" ({perceptual(config)})"
        except (KeyError, TypeError, ValueError) as error:
            path = table_path(Path("tables"), "runs", run["run"])
            raise UsageError(
                f"{path}: its column config does not say what the perceptual loss was made of "
                f"({type(error).__name__}: {error}); put a sound copy in its place"
            ) from error
    return ", ".join(minimised) + settings


def _percent_at(of: Scores, threshold: float) -> str:
    row = of.get(("cosine", threshold))
    return "–" if row is None else percent(row["value"])


def _trainings(row: Row) -> str:
    if row["sd"] is None:
        return "n = 1" if row["kind"] == "trial" else "–"
    return f"{percent_with_spread(row['mean'], row['sd'])}, n = {row['trainings']}"


def _with_limits(series: pd.Series) -> str:
    low, high = (number(series[f"end_to_end_{side}_us"]) for side in ("lower", "upper"))
    return f"{number(series.end_to_end_us)} [{low}, {high}]"


def _ratio(ratio: comparison.Ratio | None) -> str:
    if ratio is None or not ratio.is_result:
        return "–"
    return "1" if ratio.low == ratio.high == 1 else str(ratio)  # the pipeline beside itself


def _hours(sec: float) -> str:
    return f"{sec / 3600:.1f} h" if sec >= 3600 else f"{sec / 60:.1f} min"


def _speed_in_words(tables: Tables, trial: int, command: str) -> str:
    """Say how fast the network is where that is known.

    Args:
        tables: The run's tables.
        trial: The network's.
        command: What to type where there is no valid timing.
    """
    if tables.series.empty:
        return "Its speed has not been measured."
    found = {
        device: _ratios(tables, trial, device) for device in dict.fromkeys(tables.series.device)
    }
    said = [_on(device, *one) for device, one in found.items() if one and one[1]]
    without = [DEVICES[device] for device, one in found.items() if one and not one[1]]
    if without:
        said.append(f"On the {' and the '.join(without)}, no valid timing yet: type {command}")
    return " ".join(said) or "Its speed was not compared with the pipeline's."


def _ratios(tables: Tables, trial: int, device: str) -> tuple[int, list[str]] | None:
    """Return the network's best batch size on a device, and its ratios there that are results.

    It runs in eager float32, as its accuracy was measured. None where it is not compared.
    """
    for one in comparison.best_series(tables.turns, tables.series, device):
        if one.series.subject == f"trial {trial}":
            break
    else:
        return None
    ratios = (
        (one.times_batched, "the pipeline's best batch"),
        (one.times_single, "the pipeline image by image on a CPU"),
    )
    told = [
        f"{ratio} times as fast as {what}{' (rough)' if ratio.verdict == ROUGH else ''}"
        for ratio, what in ratios
        if ratio is not None and ratio.is_result
    ]
    is_compared = any(ratio is not None for ratio, _ in ratios)
    return (one.series.batch_size, told) if is_compared else None


def _on(device: str, batch_size: int, ratios: list[str]) -> str:
    return f"On the {DEVICES[device]}, at batch {batch_size:,}, it is {' and '.join(ratios)}."
