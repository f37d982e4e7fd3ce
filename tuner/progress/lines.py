"""The lines that a search prints: what was chosen, how the trials go, and the answer."""

import math
import time
from collections.abc import Mapping
from typing import Any

from analysis.console import (
    DEFAULT_STORAGE,
    Console,
    command_text,
    hyperparameters,
    perceptual,
)
from analysis.edges import edge_line
from analysis.tables.files import Row
from analysis.tables.ranking import FAILED, ranked, ranking_rule
from analysis.tables.scored import by_subject
from analysis.wording import duration, named, percent_with_spread
from trainables.errors import last_line
from trainables.goal import COSINE, LOSS, Goal
from trainables.metrics.metric_registry import METRICS
from trainables.networks.receptive_field import Sight
from trainables.networks.registry import AUTO
from trainables.pipelines.catalogue import WORDS
from trainables.start_map import StartMap
from trainables.tasks import RECORDED, STUDY_NAME, Task, shape_text
from trainables.thresholds import STRICT_THRESHOLD, percent
from trainables.training.schedules import CONSTANT
from tuner.planning.amount import budget
from tuner.planning.asked_flags import asked_flags
from tuner.planning.plan import Plan
from tuner.progress.rows import FINISHED, RunRows
from tuner.settings import ASHA, MEDIAN, TPE, TPE_MEMORY, SearchConfig
from tuner.storage.run_storage import BEST_FILE
from tuner.trials.space import Space
from tuner.trials.starting_points import starting_points

SMALL_SIZE = 64  # pixels, at which VGG16 is bearable without a GPU
MOST_RUNGS = 6  # that a line names
WARNING, ERROR = "yellow", "red"


def introduce(console: Console, plan: Plan) -> None:
    """Print what the search will do."""
    config, data, resources = plan.config, plan.data, plan.resources
    has_gpus = any(node.gpus for node in plan.nodes)
    for note in data.notes:
        console.line(note, style=WARNING)
    console.line(
        f"{config.name}: {', '.join(plan.networks)} on {data.train.source}, "
        f"{len(data.train):,} training, {len(data.validation):,} validation and "
        f"{len(data.test):,} test images"
    )
    for name, why in plan.left_out.items():
        console.line(f"--model {config.model} leaves {name} out: {why}")
    if data.task.pipeline != STUDY_NAME:
        console.line(pipeline_line(data.task))
    constant = {
        part.split: part.constant_targets for part in (data.train, data.validation, data.test)
    }
    if any(constant.values()):
        counts = ", ".join(f"{count:,} of the {split}" for split, count in constant.items())
        console.line(
            f"constant targets: {counts} images; any constant output has cosine 1 with them, "
            f"but only a black one with a black one",
            style=WARNING,
        )
    gpus = f" and {resources.gpus:g} GPU" if resources.gpus else ""
    console.line(
        f"{config.samples} trials of up to {config.max_epochs} epochs, "
        f"{config.concurrency or plan.slots} at a time with {resources.cpus:g} CPU{gpus} each"
    )
    console.line(search_line(config, several=plan.mixed_networks))
    for line in start_lines(config, plan.spaces):
        console.line(line)
    if idle := early_stopping_line(config, plan.spaces):
        console.line(idle, style=WARNING)
    for line in plan.gpu_memory:
        console.line(line)
    if plan.vgg is not None:
        console.line(f"perceptual loss: {perceptual(config.flat())}")
        times = ((config.perceptual_size or 0) / SMALL_SIZE) ** 2
        if times > 2 and not has_gpus:
            console.line(
                f"VGG16 takes long without a GPU: {times:.0f} × less with "
                f"--perceptual-size {SMALL_SIZE}"
            )
    if config.mixed_losses or plan.goal.rank_by != LOSS:
        searched = "The loss is searched too: the" if config.mixed_losses else "The"
        rule = ranking_rule(config.mixed_losses, plan.goal)
        console.line(f"{searched} best trial is the one with {rule}")
    if not has_gpus:
        full = budget(plan.networks, gpus=1)
        console.line(
            f"No GPU: that is a small search. The full one: --samples {full.samples} "
            f"--max-epochs {full.max_epochs} --images {full.images or plan.available_images}"
        )


def pipeline_line(task: Task) -> str:
    """Return what probing found of a pipeline."""
    taken = "pipeline"
    if task.pipeline != RECORDED:
        taken = f"takes {WORDS[task.takes]}{', many at a time' if task.batched else ''} and"
    steps = f", steps {' → '.join(task.steps)}" if task.steps else ""
    affine = ""
    if task.affine_residual is not None:
        distance = f"{task.affine_residual:.1g} of its range"
        affine = f"; affine within {distance}" if task.is_affine else f"; {distance} from affine"
    return (
        f"{task.pipeline} {taken} makes {shape_text(task.output_shape)} of "
        f"{shape_text(task.input_shape)}, from {task.low:.3g} to {task.high:.3g}{steps}{affine}"
    )


def search_line(config: SearchConfig, *, several: bool = False) -> str:
    """Return how trials are proposed and what stops them, and what that is good for.

    Args:
        config: The settings, complete.
        several: Whether trials train several networks.
    """
    each = " of each network" if several else ""
    proposed = "random search: what a trial is does not depend on those before it"
    startup, samples = config.startup_trials, config.samples or math.inf
    if config.search == TPE and samples <= startup:
        proposed = f"random search: TPE begins when {startup} trials{each} have ended"
    elif config.search == TPE:
        memory = ""
        if config.samples and config.samples > TPE_MEMORY:
            memory = f", and learns from the best and newest {TPE_MEMORY:,} at most"
        proposed = (
            f"TPE (Optuna's, multivariate): at random until {startup} trials{each} have ended, "
            f"then near the best so far{memory} (better than random on three of five recorded "
            f"tasks, docs/measured.md)"
        )
    stopped = "no trial is stopped early"
    rungs = _rungs(config)
    if config.scheduler == ASHA and rungs:
        stopped = (
            f"ASHA lets the best of every {config.reduction_factor:g} trials{each} go on after "
            f"{rungs} epoch{'s' if rungs != '1' else ''}"
        )
    elif config.scheduler == MEDIAN:
        stopped = (
            f"the median rule stops a trial{each} from epoch {config.grace_epochs} on whose best "
            f"is worse than the median of the others' averages"
        )
    return f"{proposed}; {stopped}"


def _rungs(config: SearchConfig) -> str:
    """Return the epochs after which ASHA compares trials, the first of them where they are many."""
    found: list[str] = []
    milestone = float(config.grace_epochs or 1)
    while milestone < (config.max_epochs or 1) and len(found) <= MOST_RUNGS:
        found.append(str(math.ceil(milestone)))
        milestone *= config.reduction_factor
    if len(found) > MOST_RUNGS:
        return ", ".join([*found[:MOST_RUNGS], "…"])
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def start_lines(config: SearchConfig, spaces: Mapping[str, Space]) -> list[str]:
    """Return which trials begin with each point of `--start`."""
    points = starting_points(config, spaces)
    lines = []
    for text in dict.fromkeys(config.start or ()):
        trials = [
            f"trial {number} ({point.model})" if len(spaces) > 1 else f"trial {number}"
            for number, point in points.items()
            if point.text == text
        ]
        lines.append(f"--start {text}: {', '.join(trials) or 'no network that fits has it'}")
    return lines


def early_stopping_line(config: SearchConfig, spaces: Mapping[str, Space]) -> str:
    """Return why early stopping that was asked for will not happen; empty where it may.

    Args:
        config: The settings.
        spaces: What the trials of each network are drawn from.
    """
    asked = ["--patience"] if "patience" in config.asked.names else []
    asked += ["--early-stopping"] if config.early_stopping != SearchConfig.early_stopping else []
    schedules = {name for space in spaces.values() for name in space.parameters["schedule"].values}
    if not asked or CONSTANT in schedules:
        return ""
    return (
        f"{' and '.join(asked)}: without effect, since a learning rate that falls, as with "
        f"{' and '.join(sorted(schedules))}, has no early stopping; --schedule {CONSTANT} has it"
    )


def start_line(start: StartMap) -> str:
    """Return what trials with `start=map` start at."""
    full = "the pipeline's own map" if start.is_own else "the best affine map"
    count = len(start.products.terms)
    if count == 1:
        return f"start=map is {full}, one Kronecker product"
    products = f"the sum of {count} Kronecker products"
    if start.full.rank is None:
        products = f"nearly {products} (randomised SVD)"
    return (
        f"start=map is {full}, {products}: a trial begins with the largest, as many as its "
        f"network has terms"
    )


class TrialLines:
    """What the console shows while trials run.

    Attributes:
        samples: Trials of the search.
    """

    def __init__(
        self,
        console: Console,
        goal: Goal,
        *,
        samples: int,
        mixed_networks: bool = False,
        mixed_losses: bool = False,
    ) -> None:
        """Begin a session.

        Args:
            console: Where to print.
            goal: What is best.
            samples: Trials of the search.
            mixed_networks: Whether trials train several networks.
            mixed_losses: Whether the loss is one of the hyperparameters.
        """
        self._console = console
        self._goal = goal
        self.samples = samples
        self._mixed_networks = mixed_networks
        self._mixed_losses = mixed_losses
        self._started = time.monotonic()
        self._told_precision: set[str] = set()  # networks
        self._fallbacks: set[str] = set()

    def started(self, row: Row) -> None:
        """A trial starts, or goes on."""
        if row["restarts"] and row["epochs"]:
            self._line(row, f"goes on   after epoch {row['epochs']}")
        else:
            what = hyperparameters(row, model=self._mixed_networks, loss=self._mixed_losses)
            self._line(row, f"starts    {what}")

    def reported(self, row: Row, result: dict[str, Any]) -> None:
        """A trial has reported: whatever is worth a line, the first time.

        Args:
            row: The trial before this report.
            result: The report.
        """
        damaged = result.get("damaged_checkpoint", row["damaged_checkpoint"])
        if damaged != row["damaged_checkpoint"]:
            text = f"passes over {damaged}: it is damaged; goes on with epoch {result['epoch']}"
            self._line(row, text, WARNING)
        if "train_loss" not in result:
            return
        if row["model"] not in self._told_precision:
            self._told_precision.add(row["model"])
            threads = result["threads"]
            which = f"{row['model']} " if self._mixed_networks else ""
            self._console.line(
                f"{which}training in {result['precision']} on {result['device']} "
                f"({result['precision_reason']}), "
                f"{threads} thread{'s' if threads > 1 else ''} a worker"
                f"{', through torch.compile' if result['compiled'] else ''}"
            )
        fallback = result["fallback"]
        if fallback and fallback not in self._fallbacks:
            self._fallbacks.add(fallback)
            self._line(row, f"on {result['host']} trains {fallback}, so slower", WARNING)

    def killed(self, row: Row) -> None:
        """A trial's process has died, and it waits to be started again."""
        self._line(row, f"was killed after epoch {row['epochs']}", WARNING)

    def ended(self, row: Row) -> None:
        """A trial has ended."""
        self._line(row, _ending(row, self._goal), "" if row["error"] is None else ERROR)

    def progress(self, rows: RunRows) -> None:
        """Trials done, the best so far, and the time. Not each time: it looks at every trial."""
        if not self._console.progress_is_due:
            return
        trials = [row for row in rows.trials if row["repeat_of"] is None]
        done = sum(row["stop_reason"] is not None for row in trials)
        parts = [f"{done}/{self.samples} trials done, {len(rows.running)} running"]
        again = [row for row in rows.trials if row["repeat_of"] is not None]
        if again:
            ended = sum(row["stop_reason"] is not None for row in again)
            parts = [f"other seeds: {ended} trials done, {len(rows.running)} running"]
        # Before the best, of which a narrow terminal may cut the end
        parts.append(f"{duration(time.monotonic() - self._started)} elapsed")
        left_sec = rows.left_sec(self.samples)
        if left_sec is not None:
            parts.append(f"about {duration(left_sec)} left")
        best = next(iter(ranked(trials, self._goal.between(self._mixed_losses))), None)
        if best:
            accuracy = percent(best["best_validation_accuracy"])
            parts.append(f"best: trial {best['trial']}, {_reached(best, self._goal)}, {accuracy}")
        self._console.progress(" · ".join(parts))

    def _line(self, row: Row, text: str, style: str = "") -> None:
        self._console.line(f"trial {row['trial']:>3}  {text}", style=style)


def _reached(row: Row, goal: Goal) -> str:
    """Return a trial's loss, and before it what else it is ranked by."""
    score = f"{goal.rank_by} {row['best_validation_score']:.4g}, " if goal.has_score else ""
    return f"{score}loss {row['best_validation_loss']:.2e}"


def _ending(row: Row, goal: Goal) -> str:
    reason = named(row["stop_reason"])
    if row["error"] is not None:
        return f"{reason:<9} {last_line(row['error'])}"
    if row["best_epoch"] is None:
        return f"{reason:<9} before its first epoch was done"
    accuracy = percent(row["best_validation_accuracy"])
    epochs = f"{row['epochs']} epoch{'s' if row['epochs'] > 1 else ''}"
    return (
        f"{reason:<15} after {epochs} ({duration(row['train_sec'])}): "
        f"{_reached(row, goal)}, {accuracy} "
        f"at cosine ≥ {goal.threshold:g} in epoch {row['best_epoch']}"
    )


def print_answer(
    console: Console,
    plan: Plan,
    trials: list[Row],
    scores: list[Row],
    *,
    timed_out: bool,
) -> None:
    """Print the best trial, and the finalists' table beside floors and ceiling.

    Args:
        console: Where to print.
        plan: What was planned.
        trials: Rows of all trials, at least one of which has a result.
        scores: Rows of the scores table.
        timed_out: Whether --timeout ended the search.
    """
    config, goal = plan.config, plan.goal
    mixed_networks, mixed_losses = plan.mixed_networks, config.mixed_losses
    ranks = goal.between(mixed_losses)
    best = ranked(trials, ranks)[0]
    console.line()
    _incomplete(console, config, trials, timed_out)
    reached = _reached(best, goal)
    if ranks.rank_by == COSINE:
        reached = (
            f"{percent(best['best_validation_accuracy'])} at cosine ≥ {goal.threshold:g}, "
            f"mean cosine {best['best_validation_cosine']:.4f}"
        )
    if mixed_losses or goal.rank_by != LOSS:
        reached += f" ({ranking_rule(mixed_losses, goal)})"
    console.line(
        f"Best: trial {best['trial']} "
        f"({hyperparameters(best, model=mixed_networks, loss=mixed_losses)}), "
        f"epoch {best['best_epoch']}, validation {reached}",
        style="bold",
    )
    if edges := edge_line(best, plan.spaces[best["model"]].parameters):
        console.line(edges)
    differ = [name for name, do in (("model", mixed_networks), ("loss", mixed_losses)) if do]
    kinds = {row["trial"]: ", ".join(row[name] for name in differ) for row in trials}
    _table(console, config.confirm_seeds, scores, kinds, goal.threshold)


def point_onward(console: Console, plan: Plan, best: str) -> None:
    """Print where everything lies, and what to type next, where `best` is the best network."""
    config = plan.config
    name, storage = config.name, config.storage
    place = storage.partition("?")[0].rstrip("/")  # a bucket's address without its options
    directory = () if storage == DEFAULT_STORAGE else (storage,)
    # A comparison of networks; after that a search for the best of them alone
    other = best if config.model == AUTO else AUTO
    images = ("--pairs", config.pairs) if config.pairs else ("--data", config.data)
    search = ["--model", other, *images, *asked_flags(plan, other)]
    pointers = {
        "Tables": f"{place}/tables/*/run={name}/",
        "Network": f"{place}/networks/run={name}/{BEST_FILE}",
        "Look": command_text("analysis.dashboard", *directory),
        "Report": command_text("analysis.report", name, storage=storage),
        "Timing": command_text("analysis.timing", "--run", name, storage=storage),
        "Next": command_text("tuner.run", *search, storage=storage),
    }
    console.line()
    for label, text in pointers.items():
        console.line(f"{label:<10}{text}")


def _incomplete(console: Console, config: SearchConfig, trials: list[Row], timed_out: bool) -> None:
    if timed_out:
        done = sum(row["stop_reason"] in FINISHED for row in trials if row["repeat_of"] is None)
        resume = command_text("tuner.run", "--resume", config.name, storage=config.storage)
        console.line(
            f"--timeout {config.timeout:g} ended the search with {done} of {config.samples} trials "
            f"finished; go on with: {resume}",
            style="yellow",
        )
    failed = [str(t["trial"]) for t in trials if t["stop_reason"] in FAILED]
    if failed:
        console.line(
            f"{len(failed)} trials failed ({', '.join(failed)}): "
            f"the column `error` of trials says why",
            style="red",
        )


def _table(
    console: Console,
    confirm_seeds: int,
    scores: list[Row],
    kinds: dict[int, str],
    threshold: float,
) -> None:
    """Print the scores; `kinds` are those of trials, by number."""
    own = [name for name in dict.fromkeys(row["metric"] for row in scores) if name not in METRICS]
    thresholds = dict.fromkeys((threshold, STRICT_THRESHOLD))  # one column where they are equal
    columns = [*(f"≥ {at:g}" for at in thresholds), "mean cosine", *own, "parameters"]
    if confirm_seeds:
        columns.insert(1, f"{confirm_seeds + 1} seeds, mean ± sd")
    rows, images = [], 0
    for of in by_subject(scores):
        head = of["cosine", threshold]
        images = head["images"]
        more = kinds.get(head["trial"]) if head["kind"] == "trial" else head["kind"]
        name = head["subject"] + (f" ({more})" if more else "")
        mean = of.get(("cosine", None))
        cells = [
            *(percent(of["cosine", at]["value"]) for at in thresholds),
            f"{mean['value']:.4f}" if mean else "–",
            *(f"{of[name, None]['value']:.4g}" if (name, None) in of else "–" for name in own),
            f"{head['parameters']:,}" if head["parameters"] else "",
        ]
        if confirm_seeds:
            cells.insert(1, "")
            if head["sd"] is not None:
                cells[1] = percent_with_spread(head["mean"], head["sd"])
        rows.append([name, *cells])
    console.table(f"{images:,} test images, share at cosine similarity", ["", *columns], rows)


def print_sight(console: Console, model: str, sight: Sight | str) -> None:
    """Say so when the network can't see what it would have to copy, whatever the training.

    Args:
        console: Where it is printed.
        model: What was searched.
        sight: What it sees, or why that is unknown.
    """
    if isinstance(sight, str):
        console.line(f"How far {model} sees is unknown: {sight}.")
    elif sight.fraction < 1:
        cure = "" if model == "separable" else "; --model separable can see all of it"
        console.line(
            f"{model} sees {sight.height} × {sight.width} input pixels around each output pixel: "
            f"{percent(1 - sight.fraction)} of the output pixels lie out of reach of the pixel "
            f"they must show. No training changes that{cure}.",
            style="yellow",
        )
