"""From tables to what charts take: best so far, importances, accuracy, image grids, times."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from analysis.charts.measures import MEASURES
from analysis.tables.parameters import distribution
from analysis.tables.ranking import beside_each_other, ranked_frame
from analysis.timing import comparison
from analysis.timing.subjects import PIPELINE
from trainables.hyperparameters import Parameter

CURVES = 100  # trials whose learning curves are drawn
# A PNG as all others are: no GIF gets into a PDF
BLANK = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR4nGNgYAAAAAMAAbit"
    "OmMAAAAASUVORK5CYII="
)
LARGEST_SIDE = 1024  # pixels of an image that is decoded
DRAWN_SIDE = 128  # pixels of one that is drawn: larger ones are made smaller
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
ORDERS = ("spread", "worst", "median", "best")
FEWEST_TRIALS = 20
# Their time grows with the square of the trials; Optuna has one forest of 64 trees
FORESTS, TREES = 5, 8
MOST_TRIALS = 100  # of a forest; each draws its own
BEST_FRACTION, FEWEST_BEST = 0.1, 5  # of trials, for PED-ANOVA: as Optuna has and advises
FANOVA, PED_ANOVA = "fANOVA", "PED-ANOVA"
SPEEDUP = ["subject", "batch_size", "median", "low", "high", "pairs", "verdict"]


def best_so_far(trials: pd.DataFrame, measure: str = "loss") -> pd.DataFrame:
    """Return the best value after each trial that improved on it, and after the run's last trial.

    A trial's value is that at its best epoch, which is that of its lowest loss only where its run
    ranks by the loss.

    Args:
        trials: As `labelled` returns them, of any number of runs.
        measure: A key of MEASURES.

    Returns:
        `run`, `series`, `trial` and `best`.
    """
    by = ["run", "series"]
    of = MEASURES[measure]
    candidates = ranked_frame(trials).sort_values([*by, "trial"])
    candidates["order"] = of.order(candidates)
    candidates = candidates[candidates.order.notna()]
    improved = candidates.order == candidates.groupby(by).order.cummin()
    values = candidates[of.of_trial].where(improved)
    steps = candidates.assign(best=values.groupby([candidates[name] for name in by]).ffill())[
        [*by, "trial", "best"]
    ]
    ends = steps.groupby(by, as_index=False).last()
    ends["trial"] = ends.run.map(trials.groupby("run").trial.max())
    changes = steps[steps.best != steps.groupby(by).best.shift()]
    return (
        pd.concat([changes, ends]).drop_duplicates().sort_values([*by, "trial"], ignore_index=True)
    )


def bests(trials: pd.DataFrame, among: pd.Series | None = None) -> pd.DataFrame:
    """Return the best trial of each series, the best of all first.

    It is the best of its run, whatever runs are beside it. What decides between the bests of
    several runs, `beside_each_other` says.

    Args:
        trials: As `labelled` returns them.
        among: One flag per trial, for those that may be chosen.
    """
    ranking = ranked_frame(trials)
    if among is not None:
        ranking = ranking[among[ranking.index]]
    of_runs = ranking.drop_duplicates(["run", "series"])
    groups = of_runs.groupby("series", sort=False)
    firsts = of_runs.loc[[_in_order(of_series).index[0] for _, of_series in groups]]
    return _in_order(firsts)


def _in_order(trials: pd.DataFrame) -> pd.DataFrame:
    return trials.loc[beside_each_other(trials).sort_values(kind="stable").index]


def foremost(trials: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return at most `count` trials, or one of each series.

    They are the best of every series in turn, those without a loss last.
    """
    if len(trials) <= count:
        return trials
    order = pd.concat([beside_each_other(of_series) for _, of_series in trials.groupby("series")])
    places = order.groupby(trials.series).rank(method="first", na_option="bottom")
    places = places[trials.index]
    return trials.loc[
        places.sort_values(kind="stable").index[: max(count, trials.series.nunique())]
    ]


def counted(drawn: int, trials: int) -> str:
    """Say how many trials are drawn: `24 trials`, or `the 100 best of 1,024 trials`."""
    if drawn < trials:
        return f"the {drawn:,} best of {trials:,} trials"
    return f"{trials:,} trial{'s' if trials != 1 else ''}"


def zero_losses(losses: pd.Series, unit: str) -> str:
    """Say how many losses have no place on a logarithmic axis; empty where each has.

    Args:
        losses: Of trials or epochs; those that are not known yet do not count.
        unit: What has one of them: `trial` or `epoch`.
    """
    count = int((losses <= 0).sum())
    if not count:
        return ""
    units = unit if count == 1 else f"{unit}s"
    return f" Left out, since the axis is logarithmic: {count:,} {units} of loss 0."


def accuracy_of(scores: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Return the test accuracy of these trials by threshold, over trainings.

    Args:
        scores: Rows of the scores table.
        best: `run`, `trial` and `series`.

    Returns:
        The rows of cosine accuracies with `series`; `low` and `high` are `mean` ∓ `sd`.
    """
    tested = scores[(scores.split == "test") & scores.repeat_of.isna()]
    rows = accuracies(tested).astype({"run": str})
    rows = rows.merge(best[["run", "trial", "series"]], on=["run", "trial"])
    sd = rows.sd.fillna(0)
    return rows.assign(low=(rows["mean"] - sd).clip(0), high=(rows["mean"] + sd).clip(upper=1))


def baselines_of(scores: pd.DataFrame, run: str) -> pd.DataFrame:
    """Return what floors and ceiling scored on the test images, as one run measured them."""
    return scores[
        (scores.run == run) & scores.kind.isin(["floor", "ceiling"]) & (scores.split == "test")
    ]


def accuracies(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the scores table that are cosine accuracies."""
    return scores[(scores.metric == "cosine") & scores.threshold.notna()]


def image_grid(
    samples: pd.DataFrame, best: pd.DataFrame, order: str, of: str, count: int, difference: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Return cells and row names for `charts.quality.images`: input, pipeline, and each network.

    Args:
        samples: Rows of the samples table.
        best: `run`, `trial` and `series` of the networks.
        order: `spread` over the test split, with the images first that all networks have; or the
            `worst`, `median` or `best` images of one series.
        of: That series.
        count: Images, at most.
        difference: Whether each network gets a row more: red where it is too bright, blue where too
            dark.
    """
    every = samples.astype({"run": str}).merge(
        best[["run", "trial", "series"]], on=["run", "trial"]
    )
    own = every[every.series == of].drop_duplicates("image")
    chosen = _spread(every, own, count) if order == "spread" else _by_rank(own, order, count)
    first = every.drop_duplicates("image").set_index("image").loc[chosen]
    truths, damaged = _decoded(first.truth)
    cells = [_row("input", chosen, *_decoded(first.input))]
    cells.append(_row("pipeline", chosen, truths, damaged))
    rows = ["input", "pipeline"]
    for series in best.series[best.series.isin(every.series)]:
        mine = every[every.series == series].drop_duplicates("image").set_index("image")
        mine = mine.reindex(chosen)
        notes = mine.cosine.map("cos {:.3f}".format).where(mine.cosine.notna(), "")
        outputs, damaged = _decoded(mine.output)
        notes = [told or note for told, note in zip(damaged, notes, strict=True)]
        cells.append(_row(series, chosen, outputs, notes))
        rows.append(series)
        if difference:
            pictures = [_difference(a, b) for a, b in zip(outputs, truths, strict=True)]
            rows.append(f"{series} − pipeline")
            cells.append(_row(rows[-1], chosen, pictures))
    return pd.concat(cells, ignore_index=True), rows


def measured(series: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return rows of `comparison.summary` with `us`, `lower` and `upper` of one measure.

    Args:
        series: As `comparison.summary` returns them.
        measure: `end_to_end` or `device`.
    """
    names = {f"{measure}_us": "us", f"{measure}_lower_us": "lower", f"{measure}_upper_us": "upper"}
    return series.rename(columns=names).dropna(subset="us")


def fronted(series: pd.DataFrame) -> pd.DataFrame:
    """Return each subject of one device at its best batch size, with `us` and `unbeaten`."""
    bests = comparison.best(series)
    return measured(bests.assign(unbeaten=comparison.pareto(bests)), "end_to_end").dropna(
        subset="share_95"
    )


def study_marks(timings: pd.DataFrame, device: str) -> pd.DataFrame:
    """Return the study's numbers for one device: `subject` and `us`, µs an image."""
    rows = timings[(timings.kind == "study") & (timings.device == device)]
    return pd.DataFrame(
        {"subject": rows.subject, "us": 1e6 * rows.end_to_end_sec / rows.images}
    ).drop_duplicates()


def speedups(turns: pd.DataFrame, series: pd.DataFrame, device: str) -> pd.DataFrame:
    """Return how many times as fast as the pipeline each other subject is.

    Args:
        turns: As `comparison.turns` returns them.
        series: As `comparison.summary` returns them.
        device: `cpu` or `cuda`.

    Returns:
        One row for every batch size that both have, with the columns SPEEDUP.
    """
    rows = []
    others = series[(series.device == device) & (series.kind != PIPELINE)]
    for _, one in others.iterrows():
        baseline = comparison.baseline(series, device, one.batch_size)
        if baseline is not None:
            ratio = comparison.times_faster(turns, one, baseline)
            values = (ratio.median, ratio.low, ratio.high, ratio.pairs, ratio.verdict)
            rows.append((one.subject, int(one.batch_size), *values))
    return pd.DataFrame(rows, columns=SPEEDUP).dropna()


def importances(trials: pd.DataFrame, space: Mapping[str, Parameter]) -> pd.DataFrame:
    """Return how much each hyperparameter of a series matters for the loss, by two methods.

    Both look at the logarithm of each trial's loss at its best epoch. The order of the trials
    changes nothing. Series with fewer than FEWEST_TRIALS are left out.

    - fANOVA (Hutter, Hoos, Leyton-Brown 2014): the fraction of the variance of a fitted forest that
      the hyperparameter explains alone. The mean of FORESTS forests; each sees at most MOST_TRIALS.
    - PED-ANOVA (Watanabe, Bansal, Hutter 2023): how far the distribution of its values among the
      best trials (a tenth, but at least five) is from that among all, as fractions of a whole.

    Args:
        trials: As `labelled` returns them.
        space: What the hyperparameters may be.

    Returns:
        One row per series, method and hyperparameter: `series`, `method`, `parameter`,
        `importance`, `low` and `high` (least and most of the forests; of PED-ANOVA, which draws
        nothing, both are its value), and `trials`, how many there were.
    """
    rows = []
    for series, group in ranked_frame(trials).groupby("series"):
        usable = group[group.best_validation_loss > 0]
        usable = usable.sort_values(["run", "trial"]).reset_index(drop=True)
        if len(usable) >= FEWEST_TRIALS:
            found = (*_by_forests(usable, space), *_by_best_trials(usable, space))
            rows += [(series, *row, len(usable)) for row in found]
    columns = ["series", "method", "parameter", "importance", "low", "high", "trials"]
    return pd.DataFrame(rows, columns=columns)


Importance = tuple[str, str, float, float, float]


def _by_forests(trials: pd.DataFrame, space: Mapping[str, Parameter]) -> Iterator[Importance]:
    from optuna.importance import FanovaImportanceEvaluator  # 0.5 s that most pages are spared

    found = []
    for seed in range(FORESTS):
        chosen = trials.sample(min(len(trials), MOST_TRIALS), random_state=seed).sort_index()
        study, names = _study(chosen, space)
        if names:
            # Not get_param_importances, which scales the fractions to a sum of 1
            evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
            found.append(evaluator.evaluate(study, params=names))
    fractions = pd.DataFrame(found)
    for name in fractions.mean().sort_values(ascending=False, kind="stable").index:
        of_name = fractions[name]
        yield FANOVA, str(name), float(of_name.mean()), float(of_name.min()), float(of_name.max())


def _by_best_trials(trials: pd.DataFrame, space: Mapping[str, Parameter]) -> Iterator[Importance]:
    from optuna.importance import PedAnovaImportanceEvaluator  # as above

    study, names = _study(trials, space)
    if names:
        quantile = max(BEST_FRACTION, FEWEST_BEST / len(trials))
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        divergences = evaluator.evaluate(study, params=names)
        total = sum(divergences.values()) or 1.0
        for name, divergence in divergences.items():
            fraction = divergence / total
            yield PED_ANOVA, name, fraction, fraction, fraction


def _study(trials: pd.DataFrame, space: Mapping[str, Parameter]) -> tuple[Any, list[str]]:
    """Return trials as a study of Optuna's, and the hyperparameters that vary in it.

    Where all losses are the same, nothing explains them: there are no hyperparameters then.
    """
    import optuna  # as above

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    varied = {
        name: distribution(_spanned(parameter, trials[name]))
        for name, parameter in sorted(space.items())
        if trials[name].notna().all() and trials[name].nunique() > 1
    }
    losses = np.log(trials.best_validation_loss)
    study = optuna.create_study()
    if losses.nunique() < 2:
        return study, []
    for loss, values in zip(losses, trials[[*varied]].itertuples(index=False), strict=True):
        study.add_trial(
            optuna.create_trial(
                params=dict(zip(varied, values, strict=True)), distributions=varied, value=loss
            )
        )
    return study, list(varied)


def _spanned(parameter: Parameter, values: pd.Series) -> Parameter:
    """Return what the trials really have of a hyperparameter's range."""
    if not parameter.is_numeric:
        return Parameter(choices=tuple(values.unique()))
    as_one = int if parameter.kind is int else float
    return Parameter(as_one(values.min()), as_one(values.max()), log=parameter.log)


def _spread(samples: pd.DataFrame, own: pd.DataFrame, count: int) -> list[int]:
    networks = samples.groupby("image").series.nunique()
    shared = set(networks.index[networks == samples.series.nunique()])
    images = sorted(shared & set(own.image)) or sorted(own.image)
    places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [int(images[place]) for place in places]


def _by_rank(own: pd.DataFrame, order: str, count: int) -> list[int]:
    lowest, highest = own["rank"].min(), own["rank"].max()
    middle = {"worst": lowest, "best": highest, "median": (lowest + highest) / 2}[order]
    nearest = (own["rank"] - middle).abs().sort_values(kind="stable").index[:count]
    return own.loc[nearest].sort_values("cosine").image.tolist()


def _row(
    name: str,
    images: list[int],
    pictures: Sequence[Image.Image | None],
    notes: str | Sequence[str] = "",
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "test_image": images,
            "image": [data_uri(picture) for picture in pictures],
            "column": range(len(images)),
            "row": name,
            "note": notes,
        }
    )


def _decoded(column: pd.Series) -> tuple[list[Image.Image | None], list[str]]:
    """Return a column's images, None where there is none, and what to say below them."""
    images = [decoded(png) for png in column]
    damaged = [
        image is None and isinstance(png, bytes) for image, png in zip(images, column, strict=True)
    ]
    return images, ["damaged" if one else "" for one in damaged]


def decoded(png: object) -> Image.Image | None:
    """Return an image of the samples table; None for what is no PNG, or too large to be one."""
    if not isinstance(png, bytes):
        return None
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
        if max(image.size) > LARGEST_SIDE:  # by its header: nothing is decoded yet
            return None
        image.load()
        image.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    except Exception:  # Pillow's have no common class
        return None
    return image


def data_uri(image: Image.Image | None) -> str:
    """Return an image for the `src` of an HTML one; a blank for None.

    It is encoded anew, so that whoever draws it decodes what was looked at here.
    """
    if image is None:
        return BLANK
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _difference(output: Image.Image | None, truth: Image.Image | None) -> Image.Image | None:
    if output is None or truth is None or output.size != truth.size:
        return None
    bright, dark = (np.asarray(image.convert("L"), np.int16) for image in (output, truth))
    brighter, darker = (bright - dark).clip(0), (dark - bright).clip(0)
    pixels = np.stack([255 - darker, 255 - brighter - darker, 255 - brighter], axis=-1).clip(0)
    return Image.fromarray(pixels.astype(np.uint8))
