"""From tables to what charts take: best so far, learning curves, accuracy beside baselines, image grids, times."""

import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from analysis.tables.ranking import frame_objective, ranked_frame
from analysis.timing import comparison
from analysis.timing.subjects import TORCHVISION

CURVES = 100  # trials whose learning curves are drawn
BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
ORDERS = ("spread", "worst", "median", "best")


def best_so_far(trials: pd.DataFrame) -> pd.DataFrame:
    """The lowest loss after each trial of a run: `run`, `series`, `trial`, `best`, up to the run's last trial."""
    by = ["run", "series"]
    candidates = ranked_frame(trials).sort_values([*by, "trial"])
    steps = candidates.assign(best=candidates.groupby(by).best_validation_loss.cummin())[
        [*by, "trial", "best"]
    ]
    ends = steps.groupby(by, as_index=False).last()
    ends["trial"] = ends.run.map(trials.groupby("run").trial.max())
    changes = steps[steps.best != steps.groupby(by).best.shift()]
    return (
        pd.concat([changes, ends]).drop_duplicates().sort_values([*by, "trial"], ignore_index=True)
    )


def bests(trials: pd.DataFrame, among: pd.Series | None = None) -> pd.DataFrame:
    """The best trial of each series, the best of all first; `among`: where that is true."""
    ranking = ranked_frame(trials)
    if among is not None:
        ranking = ranking[among[ranking.index]]
    return ranking.drop_duplicates("series")


def foremost(trials: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` trials, or one of each series: the best of every series in turn, those without a loss last."""
    if len(trials) <= count:
        return trials
    places = frame_objective(trials).groupby(trials.series).rank(method="first", na_option="bottom")
    return trials.loc[
        places.sort_values(kind="stable").index[: max(count, trials.series.nunique())]
    ]


def accuracy_of(accuracy: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of these `best` trials by threshold, with `series`, `low` and `high`."""
    rows = accuracy[accuracy.split == "test"].assign(run=accuracy.run.astype(str))
    rows = rows[rows.repeat_of.isna()].merge(best[["run", "trial", "series"]], on=["run", "trial"])
    deviation = rows.share_std.fillna(0)
    return rows.assign(
        low=(rows.share_mean - deviation).clip(0), high=(rows.share_mean + deviation).clip(upper=1)
    )


def baselines_of(accuracy: pd.DataFrame, run: str) -> pd.DataFrame:
    """Floors and ceiling as one run measured them."""
    return accuracy[
        (accuracy.run == run)
        & accuracy.kind.isin(["floor", "ceiling"])
        & (accuracy.split == "test")
    ]


def image_grid(
    samples: pd.DataFrame, best: pd.DataFrame, order: str, of: str, count: int, difference: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Cells and row names for `charts.quality.images`: input, pipeline, and each of the `best` trials.

    `order`: `spread` over the test split (those that all networks have first), or the `worst`, `median` or `best`
    images of the series `of`. `difference` adds a row each: red where the network is too bright, blue where too dark.
    """
    own = samples.assign(run=samples.run.astype(str)).merge(
        best[["run", "trial", "series"]], on=["run", "trial"]
    )
    chosen = _chosen(own, order, of, count)
    first = own.drop_duplicates("image").set_index("image").loc[chosen]
    cells = [_row("input", first.input, first.index), _row("pipeline", first.truth, first.index)]
    rows = ["input", "pipeline"]
    for series in best.series[best.series.isin(own.series)]:
        mine = own[own.series == series].drop_duplicates("image").set_index("image").reindex(chosen)
        notes = mine.cosine.map(lambda cosine: "" if pd.isna(cosine) else f"cos {cosine:.3f}")
        cells.append(_row(series, mine.output, chosen, notes))
        rows.append(series)
        if difference:
            pictures = [_difference(a, b) for a, b in zip(mine.output, first.truth, strict=True)]
            rows.append(f"{series} − pipeline")
            cells.append(_row(rows[-1], pictures, chosen))
    return pd.concat(cells, ignore_index=True), rows


def measured(series: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Rows of `comparison.summary` with `us`, `lower` and `upper` of one measure, `end_to_end` or `device`."""
    names = {f"{measure}_us": "us", f"{measure}_lower_us": "lower", f"{measure}_upper_us": "upper"}
    return series.rename(columns=names).dropna(subset="us")


def fronted(series: pd.DataFrame) -> pd.DataFrame:
    """Each subject of one device at its best batch size, with `us` and `unbeaten`, for the Pareto chart."""
    bests = comparison.best(series)
    return measured(bests.assign(unbeaten=comparison.pareto(bests)), "end_to_end").dropna(
        subset="share_95"
    )


def study_marks(timings: pd.DataFrame, device: str) -> pd.DataFrame:
    """The study's numbers for one device, in µs an image."""
    rows = timings[(timings.kind == "study") & (timings.device == device)]
    return pd.DataFrame(
        {"subject": rows.subject, "us": 1e6 * rows.end_to_end_sec / rows.images}
    ).drop_duplicates()


def speedups(passes: pd.DataFrame, series: pd.DataFrame, device: str) -> pd.DataFrame:
    """How many times as fast as torchvision each other subject is, at every batch size that both have."""
    rows = []
    for _, one in series[
        (series.device == device) & ~series.subject.isin(list(TORCHVISION))
    ].iterrows():
        other = comparison.baseline(series, device, one.batch_size)
        if other is not None:
            ratio = comparison.times_faster(passes, one, other)
            numbers = {
                "median": ratio.median,
                "low": ratio.low,
                "high": ratio.high,
                "pairs": ratio.pairs,
            }
            rows.append({"subject": one.subject, "batch_size": int(one.batch_size), **numbers})
    return pd.DataFrame(
        rows, columns=["subject", "batch_size", "median", "low", "high", "pairs"]
    ).dropna()


def _chosen(samples: pd.DataFrame, order: str, of: str, count: int) -> list[int]:
    own = samples[samples.series == of].drop_duplicates("image")
    return _spread(samples, own, count) if order == "spread" else _by_rank(own, order, count)


def _spread(samples: pd.DataFrame, own: pd.DataFrame, count: int) -> list[int]:
    by_image = samples.groupby("image").series.nunique()
    shared = sorted(
        set(own.image) & set(by_image.index[by_image == samples.series.nunique()])
    ) or sorted(own.image)
    places = np.linspace(0, len(shared) - 1, min(count, len(shared))).round().astype(int)
    return [int(shared[place]) for place in places]


def _by_rank(own: pd.DataFrame, order: str, count: int) -> list[int]:
    places = own["rank"]
    middle = {
        "worst": places.min(),
        "best": places.max(),
        "median": (places.max() + places.min()) / 2,
    }[order]
    nearest = (places - middle).abs().sort_values(kind="stable").index[:count]
    images: list[int] = own.loc[nearest].sort_values("cosine").image.tolist()
    return images


def _row(name: str, pictures: object, images: object, notes: object = "") -> pd.DataFrame:
    cells = pd.DataFrame({"image": list(pictures), "test_image": list(images)})  # type: ignore[call-overload]
    cells["column"] = range(len(cells))
    cells["row"] = name
    cells["note"] = notes if isinstance(notes, str) else list(notes)  # type: ignore[call-overload]
    cells["image"] = cells.image.map(data_uri)
    return cells


def data_uri(png: object) -> str:
    """A PNG for the `src` of an image; without one a blank."""
    return (
        "data:image/png;base64," + base64.b64encode(png).decode()
        if isinstance(png, bytes)
        else BLANK
    )


def _difference(output: object, truth: bytes) -> bytes | None:
    if not isinstance(output, bytes):
        return None
    first, second = (
        np.asarray(Image.open(io.BytesIO(png)), dtype=np.int16) for png in (output, truth)
    )
    brighter, darker = (first - second).clip(0), (second - first).clip(0)
    pixels = (
        np.stack([255 - darker, 255 - brighter - darker, 255 - brighter], axis=-1)
        .clip(0)
        .astype(np.uint8)
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
