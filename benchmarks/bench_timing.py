"""How far the timing protocol can be trusted: the same twice, and beside work that comes and goes.

python -m benchmarks.bench_timing [DIRECTORY]       # about 10 minutes; photos without one
"""

import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.console import Console
from analysis.timing import comparison
from analysis.timing.conductor import conduct
from analysis.timing.subjects import FACTORS, TORCHVISION, Subject
from analysis.timing.timing_settings import IMAGES, TimingSettings
from benchmarks.common import report
from trainables.data.loading import load
from trainables.tasks import STUDY

SUBJECTS = (*TORCHVISION, FACTORS, "separable", "fc")
SIZES = (1, 64, 250, 1000)
AGAIN = " again"
PIPELINE = next(iter(TORCHVISION))
BUSY_SEC = (0.3, 2.0)  # of a loop, and of the pause after it


def main(data: str = "photos") -> None:
    test = load(data).test
    examples = test.first(min(IMAGES, len(test)))
    settings = TimingSettings(only=SUBJECTS, devices=("cpu",), batch_sizes=SIZES)
    subjects = settings.subjects(STUDY)

    def turns(subjects: list[Subject], name: str) -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as storage, Console() as console:
            tables = Path(storage) / "tables"
            return comparison.turns(
                pd.DataFrame(conduct(settings, subjects, examples, {}, tables, name, console))
            )

    began = time.monotonic()
    quiet = turns([*subjects, *(replace(one, name=one.name + AGAIN) for one in subjects)], "quiet")
    quiet_sec = time.monotonic() - began
    with work_that_comes_and_goes():
        disturbed = turns(subjects, "disturbed")
    tell(quiet, disturbed, quiet_sec)


@contextmanager
def work_that_comes_and_goes() -> Iterator[None]:
    """Keep one core busy now and then."""
    process = multiprocessing.get_context("spawn").Process(target=_busy_now_and_then, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()


def _busy_now_and_then() -> None:
    draw = random.Random(0)
    while True:
        end = time.monotonic() + draw.uniform(*BUSY_SEC)
        while time.monotonic() < end:
            pass
        time.sleep(draw.uniform(*BUSY_SEC))


def tell(quiet: pd.DataFrame, disturbed: pd.DataFrame, quiet_sec: float) -> None:
    """Count results, how often two measurements of the same agree, and how often disturbed ones."""
    series = comparison.summary(quiet)
    first = ratios(quiet, "")
    again, beside_work = ratios(quiet, AGAIN), ratios(disturbed, "")
    names = {
        "series whose median is valid or rough": series.verdict.isin(comparison.RESULTS),
        "ratios to the pipeline, same batch size, valid or rough": is_result(first),
        "the same twice: each median within the other's interval": twice(series),
        "the same twice: ratios, each within the other's interval": agree(first, again),
        "beside work that comes and goes: ratios valid or rough": is_result(beside_work),
        "of these, the interval holds the quiet ratio": covers(first, beside_work),
    }
    report(
        "timing",
        {"quiet session, every subject twice": [quiet_sec]},
        {
            f"{name}: {int(sum(found))} of {len(found)}": (_share(found), "–")
            for name, found in names.items()
        },
    )


def _share(found: "pd.Series | list[bool]") -> float:
    return sum(found) / len(found) if len(found) else float("nan")


def ratios(rows: pd.DataFrame, ending: str) -> dict[tuple[str, int], comparison.Ratio]:
    """Return the ratio of each subject of a half to the pipeline, at the same batch size."""
    series = comparison.summary(rows)
    half = series[series.subject.str.endswith(AGAIN) == bool(ending)]
    pipeline = series[series.subject == PIPELINE]
    found = {}
    for _, one in half[~half.subject.isin([PIPELINE, PIPELINE + AGAIN])].iterrows():
        slow = pipeline[pipeline.batch_size == one.batch_size]
        if len(slow):
            key = one.subject.removesuffix(AGAIN), int(one.batch_size)
            found[key] = comparison.times_faster(rows, one, slow.iloc[0])
    return found


def is_result(found: dict[tuple[str, int], comparison.Ratio]) -> list[bool]:
    """Say of each ratio whether it may be told."""
    return [one.is_result for one in found.values()]


def agree(
    first: dict[tuple[str, int], comparison.Ratio], again: dict[tuple[str, int], comparison.Ratio]
) -> list[bool]:
    """Say of each ratio that both halves have whether each median lies in the other's interval."""
    both = [(first[key], again[key]) for key in first if key in again]
    return [
        a.low <= b.median <= a.high and b.low <= a.median <= b.high
        for a, b in both
        if a.is_result and b.is_result
    ]


def covers(
    quiet: dict[tuple[str, int], comparison.Ratio],
    disturbed: dict[tuple[str, int], comparison.Ratio],
) -> list[bool]:
    """Say of each disturbed ratio that is a result whether its interval holds the quiet one."""
    return [
        one.low <= quiet[key].median <= one.high
        for key, one in disturbed.items()
        if one.is_result and key in quiet
    ]


def twice(series: pd.DataFrame) -> list[bool]:
    """Say of each series with two results whether each median lies in the other's interval."""
    again = series.subject.str.endswith(AGAIN)
    second = series[again].assign(subject=series.subject[again].str.removesuffix(AGAIN))
    pairs = series[~again].merge(second, on=comparison.SERIES)
    sure = pairs[
        pairs.verdict_x.isin(comparison.RESULTS) & pairs.verdict_y.isin(comparison.RESULTS)
    ]
    within = [
        sure[f"end_to_end_us_{one}"].between(
            sure[f"end_to_end_lower_us_{other}"], sure[f"end_to_end_upper_us_{other}"]
        )
        for one, other in ("xy", "yx")
    ]
    return list(within[0] & within[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
