"""The page Atlas: what networks of any runs replace, as one figure and one table."""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

from analysis.answer import RULE
from analysis.atlas.cells import RATIOS, SCORES, as_frame, cells_of, said, timed
from analysis.charts import atlas as charts
from analysis.console import command_text
from analysis.dashboard.blocks import (
    Choices,
    Column,
    Figure,
    Hint,
    Option,
    Page,
    Remark,
    Table,
    number,
)
from analysis.dashboard.selection import Selection
from analysis.dashboard.snapshot import Store
from analysis.tables.files import Row
from analysis.wording import count
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD, percent

MOST_RUNS = 100  # at once: their scores and timings are read
HEADS = {
    "share_95": f"≥ {THRESHOLD:g}",
    "share_99": f"≥ {STRICT_THRESHOLD:g}",
    "psnr_db": "PSNR, dB",
}


def page(selection: Selection) -> Page:
    """Return the page of the chosen runs."""
    return Page("Atlas", list(_blocks(selection)))


def _blocks(selection: Selection) -> Iterator[Any]:
    address, store = selection.address, selection.store
    if address.every("run"):
        yield Choices(
            "Runs",
            [
                Option("all", address.with_({"run": None}), False),
                Option("the chosen", address.with_({}), True),
            ],
        )
    names = list(selection.runs.run)
    if len(names) > MOST_RUNS:
        yield Remark(f"The newest {MOST_RUNS} of {len(names):,} runs: others are chosen by name.")
    runs = [row for name in names[:MOST_RUNS] for row in store.rows("runs", name)]
    found = [cell for run in runs for cell in _cells(store, run["run"], store.state(run["run"]))]
    if not found:
        yield Hint(
            "No scores yet: finalists are measured on the test images when a search ends. Searches "
            f"of many pipelines: {command_text('tuner.atlas', storage=store.typed)}"
        )
        return
    cells = as_frame(runs, found)
    yield Remark(
        f"The best network of each kind for each pipeline, from {count(len(runs), 'run')}. {RULE} "
        "Closely is good here."
    )
    yield Figure(
        "What replaces what",
        f"Share of the test images at cosine ≥ {STRICT_THRESHOLD:g}, and mean PSNR; the colour is "
        "the answer, grey where an output that costs nothing is as good. Where there is no cell, "
        "no run has trained that network for that pipeline.",
        "atlas",
        partial(charts.grades, cells),
    )
    texts = {
        f"{name}_text": [said(cell, name) for cell in cells.to_dict("records")]
        for name in (*SCORES, *RATIOS)
    }
    yield Table(
        "Every cell",
        "Shares and PSNR on the test images with 95 % intervals; times as fast as the pipeline "
        "where the timing is valid or rough.",
        "cells",
        cells.assign(**texts),
        [
            Column("task", "Pipeline"),
            Column("kind", "Kind"),
            Column("data", "Data"),
            Column("network", "Network"),
            Column("answer", "Answer"),
            *(Column(f"{name}_text", head) for name, head in HEADS.items()),
            number("floor_share_99", f"Floor ≥ {STRICT_THRESHOLD:g}", percent),
            number("floor_psnr_db", "Floor, dB", ".1f"),
            number("ceiling_psnr_db", "Ceiling, dB", ".1f"),
            number("parameters", "Parameters", ",.0f"),
            *(Column(f"{name}_text", RATIOS[name]) for name in timed(cells)),
            number("trials", "Trials", ",d"),
            Column("run", "Run", link=lambda row: address.to_run(row["run"])),
        ],
        address,
    )


@lru_cache(maxsize=4 * MOST_RUNS)
def _cells(store: Store, name: str, _state: object) -> list[Row]:
    """Return the cells of a run, which are made once for each state of its tables."""
    (run,) = store.rows("runs", name)
    trials, scores = (store.rows(table, name) for table in ("trials", "scores"))
    return cells_of(run, trials, scores, store.frame("timings", [name]))
