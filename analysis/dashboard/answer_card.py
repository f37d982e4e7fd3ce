"""The card that says what a run answers."""

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from analysis.answer import answer, speed_in_words
from analysis.charts import views
from analysis.console import command_text
from analysis.dashboard.blocks import AnswerCard
from analysis.dashboard.snapshot import Store
from analysis.tables.files import Row
from analysis.tables.ranking import goal_of, has_mixed_losses, ranked
from analysis.tables.scored import Scores, by_subject
from analysis.timing import comparison
from analysis.wording import percent_with_interval, shown
from trainables.thresholds import STRICT_THRESHOLD

NETWORKS = 3
KEPT_CARDS = 32


@lru_cache(maxsize=KEPT_CARDS)
def card(store: Store, name: str, _state: object, link: str, doing: str) -> AnswerCard:
    """Return the card of a run, which is made once for each state of its tables.

    Args:
        store: The tables.
        name: The run's.
        _state: What changes with its tables.
        link: To its page.
        doing: What it is doing, as `run_table.doing` says it.
    """
    (run,) = store.rows("runs", name)
    trials = store.rows("trials", name)
    best = ranked(trials, goal_of(run).between(has_mixed_losses(run)))
    scores = store.rows("scores", name)
    first = best[0] if best else None
    speed = _speed(store, name, first) if scores else ""
    heads, rows = _scores(by_subject(scores), [row["trial"] for row in best], run["threshold"])
    return AnswerCard(
        run=name,
        link=link,
        found=answer(run, first, scores, speed),
        state=doing if run["status"] == "running" else "",
        heads=heads,
        rows=rows,
        images=_images(store, name, first),
    )


def _speed(store: Store, name: str, best: Row | None) -> str:
    if best is None:
        return ""
    turns, series = comparison.last_measured(store.frame("timings", [name]))
    command = command_text("analysis.timing", "--run", name, storage=store.typed)
    return speed_in_words(turns, series, best["trial"], command)


def _scores(
    subjects: Sequence[Scores], best: Sequence[int], threshold: float
) -> tuple[list[str], list[list[str]]]:
    """Return the accuracies of the best networks, of floors and of the ceiling on test images."""
    place = {trial: number for number, trial in enumerate(best)}
    at = sorted({threshold, STRICT_THRESHOLD})
    heads = ["Test images", *(f"cosine ≥ {one:g}" for one in at), "PSNR, dB"]
    networks, others = [], []
    for of in subjects:
        head = next(iter(of.values()))
        shares = [
            percent_with_interval(row["value"], row["low"], row["high"]) if row else "–"
            for row in (of.get(("cosine", one)) for one in at)
        ]
        psnr = shown(of["psnr", None]["value"] if ("psnr", None) in of else None, "{:.1f}".format)
        if head["kind"] == "trial":
            if head["repeat_of"] is None and head["trial"] in place:
                networks.append((place[head["trial"]], [head["subject"], *shares, psnr]))
        else:
            others.append([f"{head['subject']} ({head['kind']})", *shares, psnr])
    return heads, [row for _, row in sorted(networks)[:NETWORKS]] + others


def _images(store: Store, name: str, best: Row | None) -> list[tuple[str, str]]:
    samples = store.frame("samples", [name])
    if best is None or samples.empty or not (samples.trial == best["trial"]).any():
        return []
    mine = pd.DataFrame([{"run": name, "trial": best["trial"], "series": "network"}])
    cells, rows = views.image_grid(samples, mine, "spread", "network", 1, False)
    names = ("input", "pipeline", "network")
    return [
        (said, cells[cells.row == row].image.iloc[0]) for said, row in zip(names, rows, strict=True)
    ]
