"""The answer of a run: does its network replace the pipeline, how exactly, and how fast.

The one rule that says yes or no, for every page that shows it. It returns plain text.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.tables.files import Row
from analysis.tables.scored import Scores, by_subject
from analysis.timing.protocol import ROUGH
from analysis.wording import interval, named, number, percent_with_interval
from trainables.networks.registry import AUTO
from trainables.thresholds import STRICT_THRESHOLD

if TYPE_CHECKING:
    import pandas as pd

    from analysis.timing.comparison import Ratio

YES, NO, NOT_YET = "yes", "no", "not yet"
EXACTLY, CLOSELY, ROUGHLY = "exactly", "closely", "roughly"
NO_TIMING = "no valid timing yet"
IN_A_WORD = {EXACTLY: "exact", CLOSELY: "good", ROUGHLY: "rough", "": "no"}
"""What tables of many answers say for a grade."""
EXACT_DB, CLOSE_DB = 60.0, 40.0
CLOSE_PERCENT, ROUGH_PERCENT = 99, 95
RULE = (
    f"A network replaces its pipeline exactly with a mean PSNR of {EXACT_DB:g} dB, closely with "
    f"{CLOSE_DB:g} dB and {CLOSE_PERCENT} % of the test images at cosine ≥ {STRICT_THRESHOLD:g}, "
    f"roughly with {ROUGH_PERCENT} % of them at the run's threshold; each asks for the next too. "
    "Of every interval the lower end counts, and it must be above what the floors have."
)


@dataclass(frozen=True)
class Answer:
    """What a run found, in words.

    Attributes:
        word: YES, NO or NOT_YET.
        grade: EXACTLY, CLOSELY or ROUGHLY where it is yes, else empty.
        network: The network; `a network` where none has won yet.
        pipeline: The pipeline.
        trial: Number of the best trial; None where there is none.
        exactness: Whether the network replaces the pipeline and how exactly, as a clause.
        speed: How fast it is beside the pipeline, else what to type, as a clause; may be empty.
        reasons: What the rule looked at, in sentences.
        floor: The output that costs nothing and is as good; empty where there is none.
    """

    word: str
    grade: str
    network: str
    pipeline: str
    trial: int | None
    exactness: str
    speed: str = ""
    reasons: tuple[str, ...] = ()
    floor: str = ""

    @property
    def question(self) -> str:
        """What the run asks."""
        return f"Can {self.network} replace {self.pipeline}?"

    @property
    def reply(self) -> str:
        """The answer in a word or two: `Yes, roughly`."""
        return f"{self.word.capitalize()}{_adverb(self.grade, ', ')}"

    @property
    def sentence(self) -> str:
        """The answer in a sentence, with n and intervals."""
        clauses = "; ".join(part for part in (self.exactness, self.speed) if part)
        return clauses if NO_TIMING in clauses else f"{clauses}."  # it ends in a command


def answer(
    run: Mapping[str, Any], best: Mapping[str, Any] | None, scores: Iterable[Row], speed: str
) -> Answer:
    """Say whether a run's best network replaces the pipeline, by RULE.

    Args:
        run: Its row of `runs`.
        best: The row of `trials` of its best trial by the run's own rule; None where no trial
            counts.
        scores: Its rows of `scores`.
        speed: What `speed_in_words` returns of that trial.
    """
    network, pipeline = _short((best or run)["model"]), _short(run["pipeline"])
    if best is None:
        network = "a network" if run["model"] == AUTO else network
        why = "No trial has finished an epoch with a finite loss, so there is nothing to report yet"
        return Answer(NOT_YET, "", network, pipeline, None, why)
    subjects = by_subject(scores)
    mine = next((of for of in subjects if _head(of)["trial"] == best["trial"]), None)
    if mine is None:
        why = (
            f"The search is {named(run['status'])}, and its best trial has not been measured on "
            "the test images yet"
        )
        return Answer(NOT_YET, "", network, pipeline, best["trial"], why)
    floors = [of for of in subjects if _head(of)["kind"] == "floor"]
    ceilings = [of for of in subjects if _head(of)["kind"] == "ceiling"]
    grade = _grade(mine, run["threshold"])
    at = run["threshold"] if grade in ("", ROUGHLY) else STRICT_THRESHOLD
    unbeaten = [floor for floor in floors if not _beats(mine, floor, grade, at)]
    if unbeaten:
        grade = ""
    does = f"replaces {pipeline}{_adverb(grade, ' ')}" if grade else f"does not replace {pipeline}"
    exactness = f"{network} {does}: {_reached(mine, at)}"
    floor = ""
    if unbeaten:
        floor = _head(_highest(unbeaten, at))["subject"]
        exactness += f", no better than an output that costs nothing ({floor})"
    reasons = tuple(_reasons(mine, floors, ceilings, run["threshold"]))
    word = YES if grade else NO
    trial = best["trial"]
    return Answer(word, grade, network, pipeline, trial, exactness, speed, reasons, floor)


def speed_in_words(turns: "pd.DataFrame", series: "pd.DataFrame", trial: int, command: str) -> str:
    """Say how fast a network is beside the pipeline, where timings of both are results.

    It runs in eager float32, as its accuracy was measured.

    Args:
        turns: As `comparison.turns` returns those of the run's last session; empty without one.
        series: Their `comparison.summary`.
        trial: The network's.
        command: What to type where there is no valid timing.

    Returns:
        `3.1 × [2.9, 3.3] as fast in batches on the CPU, slower singly`, a part for each device.
    """
    told, in_batches = [], False
    for device in dict.fromkeys(series.device if len(series) else ()):
        batched, singly = _on_device(turns, series, trial, device)
        in_batches = in_batches or bool(batched)
        clauses = [clause for clause in (batched, singly) if clause]
        if clauses:
            told.append(", ".join([f"{clauses[0]} on the {named(device)}", *clauses[1:]]))
    if not told:
        return f"{NO_TIMING}: type {command}"
    return "; ".join(told if in_batches else [*told, f"{NO_TIMING} in batches: type {command}"])


def _on_device(
    turns: "pd.DataFrame", series: "pd.DataFrame", trial: int, device: str
) -> tuple[str, str]:
    """Return what is known of a network's speed in batches and singly; empty where nothing is."""
    batched, singly = times_as_fast(turns, series, trial, device)
    return _in_batches(batched), _singly(singly)


def times_as_fast(
    turns: "pd.DataFrame", series: "pd.DataFrame", trial: int, device: str
) -> "tuple[Ratio | None, Ratio | None]":
    """Return how many times as fast as the pipeline a network is in batches, and singly.

    In batches both are at their best batch size. None where one of the two was not timed. For the
    arguments see `speed_in_words`.
    """
    from analysis.timing import comparison  # here, since it imports pandas

    own = series[(series.device == device) & (series.subject == f"trial {trial}")]
    ratios: list[Ratio | None] = []
    for mine, slow in (
        (own[own.batch_size > 1], comparison.baseline(series, device)),
        (own[own.batch_size == 1], comparison.baseline(series, device, 1)),
    ):
        fast = comparison.quickest(mine)
        if fast is None or slow is None:
            ratios.append(None)
        else:
            ratios.append(comparison.times_faster(turns, fast, slow))
    return ratios[0], ratios[1]


def _in_batches(ratio: "Ratio | None") -> str:
    if ratio is None or not ratio.is_result:
        return ""
    ends = interval(ratio.low, ratio.high)
    rough = " (roughly timed)" if ratio.verdict == ROUGH else ""
    return f"{number(ratio.median)} × {ends} as fast in batches{rough}"


def _singly(ratio: "Ratio | None") -> str:
    if ratio is None or not ratio.is_result:
        return ""
    if ratio.low > 1:
        return "faster singly"
    return "slower singly" if ratio.high < 1 else "as fast singly"


def _grade(of: Scores, threshold: float) -> str:
    """Return how well a network's outputs are the pipeline's; empty for not at all."""
    if 100 * _low(of, "cosine", threshold) < ROUGH_PERCENT:
        return ""
    psnr_db = _low(of, "psnr")
    strict_percent = 100 * _low(of, "cosine", STRICT_THRESHOLD)
    if strict_percent < CLOSE_PERCENT or psnr_db < CLOSE_DB:
        return ROUGHLY
    return EXACTLY if psnr_db >= EXACT_DB else CLOSELY


def _beats(mine: Scores, floor: Scores, grade: str, threshold: float) -> bool:
    """Say whether a network is above a floor by what decides its grade.

    Where nearly all images of both reach a threshold, PSNR says more.
    """
    if grade in (EXACTLY, CLOSELY):
        return _low(mine, "psnr") > _value(floor, "psnr")
    return _low(mine, "cosine", threshold) > _value(floor, "cosine", threshold)


def _low(of: Scores, metric: str, threshold: float | None = None) -> float:
    """Return the lower end of a score's interval, the score where it has none, -∞ without one."""
    row = of.get((metric, threshold))
    if row is None:
        return -math.inf
    return float(row["value"] if row["low"] is None else row["low"])


def _value(of: Scores, metric: str, threshold: float | None = None) -> float:
    row = of.get((metric, threshold))
    return -math.inf if row is None else float(row["value"])


def _reached(of: Scores, threshold: float) -> str:
    """Return `99.9 % [99.8, 100] of 10,000 test images at cosine ≥ 0.99, 41.0 dB`."""
    row = of["cosine", threshold]
    parts = [f"{_share(row)} of {row['images']:,} test images at cosine ≥ {threshold:g}"]
    if ("psnr", None) in of:
        parts.append(f"{of['psnr', None]['value']:.1f} dB")
    return ", ".join(parts)


def _reasons(
    mine: Scores, floors: Sequence[Scores], ceilings: Sequence[Scores], threshold: float
) -> Iterator[str]:
    """Yield what the rule looked at: thresholds, PSNR, floors and ceiling."""
    yield (
        f"Roughly asks for {ROUGH_PERCENT} % of the images at cosine ≥ {threshold:g}: there are "
        f"{_share(mine['cosine', threshold])}."
    )
    strict, psnr = (mine.get(key) for key in (("cosine", STRICT_THRESHOLD), ("psnr", None)))
    yield (
        f"Closely asks for {CLOSE_PERCENT} % at cosine ≥ {STRICT_THRESHOLD:g} and a mean PSNR of "
        f"{CLOSE_DB:g} dB, exactly for {EXACT_DB:g} dB: there are "
        f"{_share(strict) if strict else 'no such accuracy'} and "
        f"{_decibels(psnr) if psnr else 'no mean PSNR'}."
    )
    if floors:
        floor = _highest(floors, threshold)
        name = _head(floor)["subject"]
        yield f"The best of what costs nothing, {name}: {_reached(floor, threshold)}."
    if ceilings:
        ceiling = _highest(ceilings, threshold)
        name = _head(ceiling)["subject"]
        yield f"What nothing can pass, {name}: {_reached(ceiling, threshold)}."


def _highest(subjects: Sequence[Scores], threshold: float) -> Scores:
    return max(subjects, key=lambda of: _value(of, "cosine", threshold))


def _head(of: Scores) -> Row:
    """Return any row of a subject: all say whose they are."""
    return next(iter(of.values()))


def _share(row: Row) -> str:
    return percent_with_interval(row["value"], row["low"], row["high"])


def _decibels(row: Row) -> str:
    """Return `41.0 dB [40.9, 41.1]`; without the interval where there is none."""
    ends = "" if row["low"] is None else f" [{row['low']:.1f}, {row['high']:.1f}]"
    return f"{row['value']:.1f} dB{ends}"


def _adverb(grade: str, before: str) -> str:
    """Return a grade as sentences have it: closely is what is meant where they say nothing."""
    return f"{before}{grade}" if grade in (EXACTLY, ROUGHLY) else ""


def _short(name: str) -> str:
    """Return `Tiny` for `mine/tiny.py:Tiny`."""
    return name.rpartition(":")[2] or name
