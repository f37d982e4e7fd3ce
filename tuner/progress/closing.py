"""The closing lines of a search: the answer, where it lies, and what to type next."""

from analysis.console import DEFAULT_STORAGE, Console, command_text, hyperparameters, percent
from analysis.tables.files import Row
from analysis.tables.ranking import has_mixed_losses, ranked, ranking_rule
from trainables.linear import factors
from trainables.networks.receptive_field import fraction_in_sight, receptive_field
from trainables.networks.registry import build
from trainables.pipelines.study import reference
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD
from tuner.progress.rows import FINISHED
from tuner.settings import SearchConfig
from tuner.storage.run_storage import BEST_FILE


def report(
    console: Console,
    config: SearchConfig,
    trials: list[Row],
    accuracy: list[Row],
    *,
    timed_out: bool,
) -> None:
    """Print the best trial, and the finalists' table beside floors and ceiling.

    Args:
        console: Where to print.
        config: The settings, complete.
        trials: Rows of all trials, at least one of which has a result.
        accuracy: Rows of the accuracy table.
        timed_out: Whether --timeout ended the search.
    """
    best = ranked(trials)[0]
    console.line()
    _incomplete(console, config, trials, timed_out)
    mixed_losses = has_mixed_losses(trials)
    console.line(
        f"Best: trial {best['trial']} ({hyperparameters(best, loss=mixed_losses)}), "
        f"epoch {best['best_epoch']}, validation {_reached(best, mixed_losses)}",
        style="bold",
    )
    losses = {row["trial"]: row["loss"] for row in trials} if mixed_losses else {}
    _table(console, config.confirm_seeds, accuracy, losses)
    _sight(console, config.model)


def _reached(best: Row, mixed_losses: bool) -> str:
    """Return what the trial was the best by."""
    if not mixed_losses:
        return f"loss {best['best_validation_loss']:.2e}"
    accuracy, cosine = percent(best["best_validation_accuracy"]), best["best_validation_cosine"]
    rule = ranking_rule(mixed_losses)
    return f"{accuracy} at cosine ≥ {THRESHOLD}, mean cosine {cosine:.4f} ({rule})"


def point_onward(console: Console, config: SearchConfig) -> None:
    """Print where everything lies, and what to type next."""
    console.line()
    place = config.storage.partition("?")[0].rstrip("/")  # a bucket's address without its options
    console.line(f"Tables    {place}/tables/*/run={config.name}/")
    console.line(f"Network   {place}/networks/run={config.name}/{BEST_FILE}")
    directory = () if config.storage == DEFAULT_STORAGE else (config.storage,)
    console.line(f"Look      {command_text('analysis.dashboard', *directory)}")
    report = command_text("analysis.report", config.name, storage=config.storage)
    console.line(f"Report    {report}")
    timing = command_text("analysis.timing", "--run", config.name, storage=config.storage)
    console.line(f"Timing    {timing}")
    console.line(f"Next      {_next_command(config)}")


def _incomplete(console: Console, config: SearchConfig, trials: list[Row], timed_out: bool) -> None:
    if timed_out:
        done = sum(row["stop_reason"] in FINISHED for row in trials if row["repeat_of"] is None)
        resume = command_text("tuner.run", "--resume", config.name, storage=config.storage)
        console.line(
            f"--timeout {config.timeout:g} ended the search with {done} of {config.samples} trials "
            f"finished; go on with: {resume}",
            style="yellow",
        )
    failed = [row for row in trials if row["stop_reason"] in ("error", "out_of_memory")]
    if failed:
        numbers = ", ".join(str(row["trial"]) for row in failed)
        console.line(
            f"{len(failed)} trials failed ({numbers}): the column `error` of trials says why",
            style="red",
        )


def _table(
    console: Console, confirm_seeds: int, accuracy: list[Row], losses: dict[int, str]
) -> None:
    """Print the accuracies; `losses` are those of trials by number, where they are mixed."""
    headline = [r for r in accuracy if r["threshold"] == THRESHOLD and r["repeat_of"] is None]
    strict = {r["subject"]: r["share"] for r in accuracy if r["threshold"] == STRICT_THRESHOLD}
    columns = [f"≥ {THRESHOLD}", f"≥ {STRICT_THRESHOLD}", "mean cosine", "parameters"]
    if confirm_seeds:
        columns.insert(1, f"{confirm_seeds + 1} seeds, mean ± sd")
    rows = []
    for row in headline:
        more = losses.get(row["trial"]) if row["kind"] == "trial" else row["kind"]
        name = row["subject"] + (f" ({more})" if more else "")
        parameters = f"{row['parameters']:,}" if row["parameters"] else ""
        cells = [
            percent(row["share"]),
            percent(strict[row["subject"]]),
            f"{row['cosine_mean']:.4f}",
            parameters,
        ]
        if confirm_seeds:
            cells.insert(1, _spread(row))
        rows.append([name, *cells])
    title = f"{headline[0]['images']:,} test images, share at cosine similarity"
    console.table(title, ["", *columns], rows)


def _spread(row: Row) -> str:
    if row["share_std"] is None:
        return ""
    return f"{100 * row['share_mean']:.2f} ± {100 * row['share_std']:.2f} %"


def _sight(console: Console, model: str) -> None:
    """Say so when the network can't see what it would have to copy, whatever the training."""
    network = build(model)
    in_sight = fraction_in_sight(network, factors(reference))
    if in_sight == 1:
        return
    height, width = receptive_field(network)
    console.line(
        f"{model} sees {height} × {width} input pixels around each output pixel, so it can't see "
        f"across a flip: {percent(1 - in_sight)} of the output pixels lie out of reach of the "
        f"pixel they must show. No training changes that; --model separable can see all of it.",
        style="yellow",
    )


def _next_command(config: SearchConfig) -> str:
    """Return the search of a network to compare with: separable, or fc after separable."""
    model = "fc" if config.model == "separable" else "separable"
    arguments = ("--model", model, "--data", config.data)
    return command_text("tuner.run", *arguments, storage=config.storage)
