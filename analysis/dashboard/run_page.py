"""The page of one run: what was asked, where it ran, and how to go on with it."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from analysis.charts.usage import PANELS, over_time, usage
from analysis.console import command_text
from analysis.dashboard import run_table
from analysis.dashboard.answer_card import card
from analysis.dashboard.blocks import Code, Facts, Figure, Group, Page
from analysis.dashboard.selection import Selection
from analysis.tables.files import Row
from analysis.tables.parameters import read_spaces
from analysis.tables.schema import USAGE_EVERY_SEC
from analysis.wording import duration
from trainables.hyperparameters import label


def page(selection: Selection) -> Page:
    """Return the page of the selection's only run."""
    (row,) = selection.store.rows("runs", selection.names[0])
    above = [("All runs", selection.address.root)]
    return Page(f"Run {row['run']}", list(_blocks(selection, row)), above)


def _blocks(selection: Selection, run: Row) -> Iterator[Any]:
    name, store = str(run["run"]), selection.store
    doing = run_table.doing(run, len(selection.all_trials), store.quiet_sec(name))
    yield card(store, name, store.state(name), selection.address.to_run(name), doing)
    yield Facts("State", _state(selection, run, doing))
    yield Code("Command", str(run["command"]))
    yield from _usage(selection, run)
    yield Facts("Data", _data(run))
    yield Facts("What was searched", _space(run))
    yield Facts("Configuration", _config(run))
    yield Facts("Machine and versions", _machine(run))
    again = [
        command_text("tuner.run", "--resume", name, storage=store.typed),
        command_text("analysis.timing", "--run", name, storage=store.typed),
        command_text("analysis.report", name, storage=store.typed),
    ]
    yield Code("Go on: resume it, time it, write its report", "\n".join(again))


def _state(selection: Selection, run: Row, doing: str) -> list[tuple[str, str]]:
    took = "it has not ended"
    if run["ended_at"] is not None:
        took = duration((run["ended_at"] - run["started_at"]).total_seconds())
    return [
        ("Status", doing),
        ("Started", f"{run['started_at']:%Y-%m-%d %H:%M:%S} UTC"),
        ("Took", took),
        ("Sessions", f"{run['sessions']}"),
        ("Trials", f"{len(selection.all_trials):,}"),
        ("Best means", f"{run['rank_by']}, cosine threshold {run['threshold']:g}"),
        ("Seed", f"{run['seed']}"),
    ]


def _usage(selection: Selection, run: Row) -> Iterator[Group]:
    """Yield what its trials took of their machines over time, a figure for each thing."""
    taken = over_time(selection.store.frame("usage", [run["run"]]), run["started_at"])
    figures = [
        Figure(
            panel.title,
            f"Of all trials together, sampled every {USAGE_EVERY_SEC:g} s.",
            f"usage-{name}",
            partial(usage, taken, panel),
        )
        for name, panel in PANELS.items()
        if taken[panel.column].notna().any()
    ]
    if figures:
        yield Group(figures)


def _data(run: Row) -> list[tuple[str, str]]:
    taken = f"{run['image_height']} × {run['image_width']} pixels"
    made = f"{run['output_channels']} × {run['output_height']} × {run['output_width']}"
    steps = json.loads(run["steps"]) if run["steps"] else []
    return [
        ("Pipeline", str(run["pipeline"])),
        *([("Its steps", ", ".join(map(str, steps)))] if steps else []),
        ("Images", f"{run['data']}, {taken}, made into {made}"),
        *(
            (
                f"{split.capitalize()} images",
                f"{run[f'{split}_images']:,}, SHA-256 {run[f'{split}_fingerprint'][:12]}…",
            )
            for split in ("train", "validation", "test")
        ),
    ]


def _space(run: Row) -> list[tuple[str, str]]:
    spaces = read_spaces(run["space"])
    return [
        (label(name) + (f" of {network}" if len(spaces) > 1 else ""), parameter.in_words)
        for network, space in spaces.items()
        for name, parameter in space.items()
    ]


def _config(run: Row) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in json.loads(run["config"]).items()
        if value is not None
    ]


def _machine(run: Row) -> list[tuple[str, str]]:
    gpus = f"{run['gpu_count']} × {run['gpu_model']}" if run["gpu_count"] else "none"
    commit = str(run["commit"]) if run["commit"] else "not run from a checkout"
    versions = json.loads(run["versions"]).items()
    return [
        ("Machine", f"{run['node_count']} × {run['cpu_model']}, {run['cpu_count']} cores"),
        ("GPU", gpus),
        ("Memory", f"{run['memory_gib']:.0f} GiB"),
        ("Driver ran on", str(run["host"])),
        ("Commit", commit + (", with changes that are in no commit" if run["dirty"] else "")),
        *((name, str(version)) for name, version in versions),
    ]
