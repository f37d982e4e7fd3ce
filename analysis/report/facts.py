"""What a run asked, where it ran, and what it searched: plain text, for every page that says it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.console import command_text, hyperparameters, perceptual
from analysis.edges import MARGIN, edge_line, places
from analysis.report.content import Grid
from analysis.tables.files import Row, table_path
from analysis.tables.parameters import read_space, read_spaces
from analysis.tables.ranking import goal_of, has_mixed_losses, ranking_rule
from analysis.tables.task_columns import task_of
from analysis.wording import count, duration, named, number, shown
from trainables.errors import UsageError
from trainables.goal import COSINE
from trainables.hyperparameters import COLUMNS, label, short, text
from trainables.networks.registry import AUTO
from trainables.pipelines.catalogue import WORDS
from trainables.tasks import Task, shape_text
from trainables.thresholds import percent
from trainables.training.schedules import CONSTANT

Pairs = list[tuple[str, str]]
"""Names with what is said of each."""


def asked(run: Row, trials: list[Row], batch_sizes: Mapping[str, int]) -> Pairs:
    """Say what was asked, on what data, and what ended its trials.

    Args:
        run: Its row of `runs`.
        trials: Its rows of `trials`.
        batch_sizes: What networks have of their own, by name.
    """
    config = json.loads(run["config"])
    searched = [row for row in trials if row["repeat_of"] is None]
    endings = Counter(named(row["stop_reason"]) for row in searched)
    ended = ", ".join(f"{amount:,} {ending}" for ending, amount in endings.most_common())
    train_sec = sum(row["train_sec"] for row in trials)
    return [
        ("Network", ", ".join(_networks(run, searched))),
        ("Loss", _losses(run, config, sorted({row["loss"] for row in searched}))),
        *_searches(run, config, searched),
        ("Optimiser", _optimiser(run)),
        ("Batch size", _batch_size(config, _networks(run, searched), batch_sizes)),
        *([("Scheduler", _scheduler(config))] if "scheduler" in config else []),
        ("Trials", f"{len(searched):,}: {ended}" if searched else "none yet"),
        (
            "Training",
            f"{count(sum(row['epochs'] for row in trials), 'epoch')}, {duration(train_sec)}",
        ),
        ("Data", str(run["data"])),
        *[
            (
                f"{split.capitalize()} images",
                f"{run[f'{split}_images']:,}, SHA-256 {run[f'{split}_fingerprint'][:12]}…",
            )
            for split in ("train", "validation", "test")
        ],
    ]


def pipeline(run: Row) -> Pairs:
    """Say what is to be replaced: its steps, its shapes, and how near to linear it is."""
    task = task_of(run)
    steps = " → ".join(task.steps) or "one function, whose steps are not known"
    many = ", one image or many in one call" if task.batched else ", one image a call"
    return [
        ("Pipeline", task.pipeline),
        ("Steps", steps),
        ("Is called with", f"{WORDS[task.takes]}{many}"),
        (
            "Makes",
            f"{shape_text(task.output_shape)} of {shape_text(task.input_shape)}, values from "
            f"{number(task.low)} to {number(task.high)}",
        ),
        ("Is affine", _affine(task)),
    ]


def _affine(task: Task) -> str:
    """Return how far a pipeline is from an affine map, and what map it is."""
    residual = task.affine_residual
    if residual is None:
        return "not looked at"
    if not task.is_affine:
        return f"no: it differs from an affine map by {number(100 * residual)} % of its range"
    offset = "with an offset" if task.offset else "without an offset, so linear"
    rank = shown(task.kronecker_rank, str)
    kind = f"of Kronecker rank {rank}" if task.kronecker_rank else "of no small Kronecker rank"
    return f"yes, {offset}, {kind}"


def where(run: Row) -> Pairs:
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
            f"{run['started_at']:%Y-%m-%d %H:%M} UTC{took}; {count(run['sessions'], 'session')}"
            f", now {named(run['status'])}",
        ),
        ("Code", commit + (" with changes that are in no commit" if run["dirty"] else "")),
        ("Versions", versions or "unknown"),
    ]


def best_trial(best: Row, trials: list[Row], run: Row) -> Pairs:
    """Say which trial is the best of a run, and how it came about."""
    accuracy = (
        f"{percent(best['best_validation_accuracy'])} of {run['validation_images']:,} images "
        f"at cosine ≥ {run['threshold']:g}"
    )
    mixed_losses, goal = has_mixed_losses(run), goal_of(run)
    if goal.between(mixed_losses).rank_by == COSINE:
        accuracy += f", mean cosine {best['best_validation_cosine']:.4f}"
    if goal.has_score:
        accuracy += f", mean {goal.rank_by} {number(best['best_validation_score'])}"
    searched = sum(row["repeat_of"] is None for row in trials)
    return [
        (
            "Trial",
            f"{best['trial']} of {searched:,} ({ranking_rule(mixed_losses, goal)}; ties to the "
            f"earlier trial)",
        ),
        (
            "Hyperparameters",
            hyperparameters(best, model=run["model"] == AUTO, loss=mixed_losses),
        ),
        (
            "Validation loss",
            f"{number(best['best_validation_loss'])} at epoch {best['best_epoch']} of "
            f"{best['epochs']}",
        ),
        (
            "Validation accuracy",
            f"{accuracy}; these images chose the trial, the test images below did not",
        ),
        ("Ended", named(best["stop_reason"])),
        (
            "Trained on",
            f"{named(best['device'])}, {best['precision']}, {count(best['threads'], 'thread')},"
            f" seed {best['seed']}",
        ),
    ]


def searched(best: Row, run: Row) -> Grid:
    """Show what was searched, and where in it the best trial of a run lies."""
    space = read_space(run["space"], best["model"])
    rows = []
    for place in places(best, space):
        lies = "–"
        if place.position is not None:
            lies = f"{100 * place.position:.0f} %" + (f", {place.edge} edge" if place.edge else "")
        value = text(place.name, place.value)
        rows.append([label(place.name), place.parameter.in_words, value, lies])
    remarks = [
        "0 % is the low end of a range and 100 % its high end, on the scale on which it is drawn. "
        f"At an edge is what is nearer to an end than {100 * MARGIN:.0f} %, where values beyond "
        "make sense.",
    ]
    if edges := edge_line(best, space):
        remarks.append(f"{edges}.")
    heads = ["", "searched", f"trial {best['trial']}", "of the range"]
    return Grid("searched", "Ranges searched, and the best trial in them", heads, rows, remarks)


def commands(run: Row, storage: str, again: str) -> str:
    """Return what to type to get the run, its timings and this report again."""
    checkout = [f"git checkout {run['commit']}"] if run["commit"] else []
    name = run["run"]
    return "\n".join(
        [
            *checkout,
            'pip install -c constraints.txt -e ".[dashboard,export,peers]"',
            run["command"],
            command_text("analysis.timing", "--run", name, storage=storage),
            again,
        ]
    )


def _networks(run: Row, searched: list[Row]) -> list[str]:
    """Return what was trained, several networks in the order in which the search named them."""
    trained = {row["model"] for row in searched}
    if run["model"] != AUTO or not trained:
        return [str(run["model"])]
    return [network for network in read_spaces(run["space"]) if network in trained]


def _searches(run: Row, config: dict[str, Any], searched: list[Row]) -> Iterator[tuple[str, str]]:
    """Yield how the search drew, and from what: each of several networks has its own space."""
    how, seed = _proposed(config), f"seed {run['seed']}"
    named_too = {name for row in searched for name in json.loads(row["parameters"] or "{}")}
    over = {
        network: ", ".join(
            f"{short(name)} {parameter.in_words}"
            for name, parameter in space.items()
            if name in COLUMNS or name in named_too
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
        how = f"TPE (Optuna's, multivariate, at random until {config['startup_trials']} have ended)"
    if points := config.get("start"):
        how += f" from {' and '.join(points)}"
    return how


def _optimiser(run: Row) -> str:
    """Return what made the updates, and what their rate followed."""
    space = read_space(run["space"])
    decays = "weight_decay" in space and max(space["weight_decay"].values) > 0
    said = "AdamW" if decays else "Adam"
    schedule = space.get("schedule")
    rate = schedule.in_words if schedule else CONSTANT
    return f"{said}, learning-rate schedule {rate}"


def _batch_size(config: dict[str, Any], networks: list[str], own: Mapping[str, int]) -> str:
    if config.get("batch_size"):
        return f"{config['batch_size']:,} images an update"
    found = [f"{own[network]:,} for {network}" for network in networks if network in own]
    sizes = {own.get(network) for network in networks}
    if len(sizes) == 1 and found:
        return f"{own[networks[0]]:,} images an update, the network's own"
    return "the network's own" + (f": {', '.join(found)}" if found else "")


def _scheduler(config: dict[str, Any]) -> str:
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
