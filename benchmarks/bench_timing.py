"""The networks against torchvision by the project's own timing protocol, each series twice.

python -m benchmarks.bench_timing [DIRECTORY]       # about 8 minutes; photos without one
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.console import Console
from analysis.timing import comparison
from analysis.timing.conductor import conduct
from analysis.timing.limits import image_bytes
from analysis.timing.protocol import VALID, WARNING
from analysis.timing.subjects import FACTORS, TORCHVISION
from analysis.timing.timing_settings import IMAGES, TimingSettings
from benchmarks.common import report
from trainables.data.loading import load
from trainables.tasks import STUDY

SUBJECTS = (*TORCHVISION, FACTORS, "fc", "separable", "separable, compiled")
SIZES = (1, 250, 1000)
AGAIN = " again"
SAME_WITHIN = 0.05


def main(data: str = "photos") -> None:
    test = load(data).test
    examples = test.first(min(IMAGES, len(test)))
    settings = TimingSettings(only=SUBJECTS, devices=("cpu",), batch_sizes=SIZES)
    subjects = settings.subjects(STUDY)
    again = [replace(subject, name=subject.name + AGAIN) for subject in subjects]
    with tempfile.TemporaryDirectory() as storage, Console() as console:
        tables = Path(storage) / "tables"
        rows = conduct(settings, [*subjects, *again], examples, {}, tables, "bench", console)
    tell(comparison.turns(pd.DataFrame(rows)))


def tell(rows: pd.DataFrame) -> None:
    """Ratios against torchvision, and how far the two measurements of each series are apart."""
    series = comparison.summary(rows)
    single, batched = comparison.baseline(series, "cpu", 1), comparison.baseline(series, "cpu")
    ratios = {}
    for subject, goals in {
        "separable": ("20", "2"),
        "separable, compiled": ("20", "2"),
        "fc": ("10", "–"),
    }.items():
        best = comparison.quickest(series[series.subject == subject])
        ratios[f"{subject}, best batch, by torchvision singly"] = (
            comparison.times_faster(rows, best, single).median,
            f"at least {goals[0]}",
        )
        ratios[f"{subject}, by torchvision's best batch"] = (
            comparison.times_faster(rows, best, batched).median,
            goals[1] if goals[1] == "–" else f"at least {goals[1]}",
        )
        ratios[f"{subject}, share of the limit (bandwidth and matrix rate)"] = (
            best.limit_share,
            "–",
        )
    best = comparison.quickest(series[series.subject == "separable"])
    ratios["separable, share of the bandwidth limit alone"] = (
        bandwidth_share(rows, best),
        "at least 0.4",
    )
    for label, verdicts in {"valid": (VALID,), "valid or a warning": (VALID, WARNING)}.items():
        apart, pairs = repeated(series, verdicts)
        within = float((apart <= SAME_WITHIN).sum())
        ratios[f"{len(apart)} of {pairs} series twice {label}; medians within 5 %"] = (
            within,
            f"all {len(apart)}",
        )
    seconds = {
        f"{subject}, batch {size}: per 10,000 images": list(group.end_to_end_us / 100)
        for (subject, size), group in rows.groupby(["subject", "batch_size"])
        if not subject.endswith(AGAIN)
    }
    report("timing", seconds, ratios)


def bandwidth_share(rows: pd.DataFrame, one: pd.Series) -> float:
    """Return the least time for reading uint8 and writing float32, by the time it took."""
    passes = rows[(rows.subject == one.subject) & (rows.batch_size == one.batch_size)]
    bytes_per_image = image_bytes(STUDY.input_shape, STUDY.output_shape)
    least_sec = passes.images * bytes_per_image / (passes.bandwidth_gb_per_sec * 1e9)
    return float((least_sec / passes.end_to_end_sec).median())


def repeated(series: pd.DataFrame, verdicts: tuple[str, ...]) -> tuple[pd.Series, int]:
    """Return how far apart both medians are, where both have such a verdict; and how many pairs."""
    again = series.subject.str.endswith(AGAIN)
    second = series[again].assign(subject=series.subject[again].str.removesuffix(AGAIN))
    pairs = series[~again].merge(second, on=comparison.SERIES)
    sure = pairs[pairs.verdict_x.isin(verdicts) & pairs.verdict_y.isin(verdicts)]
    return (sure.end_to_end_us_x / sure.end_to_end_us_y - 1).abs(), len(pairs)


if __name__ == "__main__":
    main(*sys.argv[1:])
