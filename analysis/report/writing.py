"""Write a report: what it holds, and each figure as PDF, SVG and PNG."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from analysis.answer import answer, speed_in_words
from analysis.atlas.cells import best_of
from analysis.charts.drawing import for_paper
from analysis.charts.labels import labelled, machines
from analysis.charts.style import NothingToDrawError, specification
from analysis.charts.views import FEWEST_TRIALS, importances
from analysis.console import Console, command_text
from analysis.load_lines import loading
from analysis.report import facts, results, several
from analysis.report.as_html import as_html
from analysis.report.as_latex import as_latex
from analysis.report.as_markdown import as_markdown
from analysis.report.content import (
    ATLAS,
    Block,
    Code,
    Facts,
    Grid,
    Picture,
    Remark,
    Report,
    Section,
)
from analysis.report.figures import (
    BEST,
    EXACTNESS,
    FAILURES,
    SEARCH,
    Figure,
    Tables,
    figures,
    measured_best,
)
from analysis.tables.files import Row, read, rows_of
from analysis.tables.parameters import shown_space
from analysis.tables.ranking import goal_of, has_mixed_losses, ranked
from analysis.timing import comparison
from analysis.wording import named
from trainables.atomic_write import atomic_write
from trainables.errors import UsageError, first_line
from trainables.networks.registry import NETWORKS

WRITERS: Mapping[str, Callable[[Report], str]] = {
    "html": as_html,
    "md": as_markdown,
    "tex": as_latex,
}
"""What a report can be written as, by the ending of its file."""
Drawn = dict[str, list[Picture]]
"""Figures by the part of the report that they belong to."""
WORST = 8  # images that a table names
REPEATED = (
    "Same seed, same trials of a random search: hyperparameters and each trial's own seed follow "
    "from them. TPE draws by what has ended when it is asked, and a scheduler stops trials by when "
    "they report, so both can differ between runs; times differ between machines."
)
UNMEASURED = "Not measured yet: a search measures its finalists on the test images when it ends."


def write(
    storage: str, tables: Path, run: Row, out: Path, form: str, pool: Executor, console: Console
) -> Path:
    """Write the report and its figures, all of them or none; return the report's path.

    Args:
        storage: The storage as it was typed, for the commands in it.
        tables: The directory of its tables.
        run: The run's row of `runs`.
        out: The directory to write to.
        form: One of WRITERS.
        pool: Draws the figures and computes the importances, whose packages take long to import.
        console: For progress.

    Raises:
        UsageError: A table can't be read.
        OSError: `out` does not take a file.
    """
    content = _read(tables, run)
    shares = None
    if len(content.trials) >= FEWEST_TRIALS:
        shares = pool.submit(importances, content.trials, content.space)
    drawn = _drawn(run["run"], figures(run["run"], content, shares), pool, console)
    again = _again(storage, [run["run"]], out, form)
    return _kept(_report(storage, tables, run, content, again, drawn), drawn, out, form)


def write_several(
    storage: str,
    tables: Path,
    runs: Sequence[str],
    out: Path,
    form: str,
    pool: Executor,
    console: Console,
) -> Path:
    """Write the atlas of several runs as a report, as `write` does that of one.

    Raises UsageError also where none of the runs has scores of test images.

    Args:
        runs: Their names. The other arguments are those of `write`.
    """
    cells = best_of(tables.parent, runs)
    if cells.empty:
        raise UsageError(
            f"none of these {len(runs)} runs has scores of test images yet: finish a search, or "
            "name others"
        )
    drawn = _drawn(ATLAS, [several.figure(cells)], pool, console)
    again = _again(storage, runs, out, form)
    report = several.report(storage, runs, cells, drawn[ATLAS], again)
    return _kept(report, drawn, out, form)


def _again(storage: str, runs: Sequence[str], out: Path, form: str) -> str:
    """Return what to type to get a report again."""
    as_form = () if form == next(iter(WRITERS)) else ("--format", form)
    return command_text("analysis.report", *runs, "--out", str(out), *as_form, storage=storage)


def _kept(report: Report, drawn: Drawn, out: Path, form: str) -> Path:
    """Write a report and its figures; return the report's path."""
    path = out / f"report.{form}"
    files = {
        f"{picture.stem}.{kind}": data
        for pictures in drawn.values()
        for picture in pictures
        for kind, data in picture.files.items()
    }
    files[path.name] = WRITERS[form](report).encode()
    # Each is written aside before the first takes its place, the report last
    with ExitStack() as stack:
        for name, data in files.items():
            stack.enter_context(atomic_write(out / name)).write_bytes(data)
    return path


def _drawn(run: str, every: Iterable[Figure], pool: Executor, console: Console) -> Drawn:
    """Draw figures. One that can't be drawn is left out, which is printed too."""
    pending = [(figure, _begun(figure, pool)) for figure in every]
    found: Drawn = {}
    for figure, future in pending:
        console.progress(f"drawing {figure.name}")
        caption, files = figure.caption, {}
        try:
            files = future.result()
        except (NothingToDrawError, ValueError) as error:  # ValueError of the renderer
            caption = f"Left out: {first_line(error)}."
            console.line(f"The figure {figure.name} is left out: {first_line(error)}", "yellow")
        stem = f"{run}-{figure.name}"
        picture = Picture(figure.name, stem, figure.title, caption, files)
        found.setdefault(figure.part, []).append(picture)
    return found


def _begun(figure: Figure, pool: Executor) -> Future[dict[str, bytes]]:
    try:
        return pool.submit(for_paper, specification(figure.chart()))
    except NothingToDrawError as error:
        nothing: Future[dict[str, bytes]] = Future()
        nothing.set_exception(error)
        return nothing


def _read(tables: Path, run: Row) -> Tables:
    trials, epochs, scores, samples, timings = (
        read(tables, table, run["run"])
        for table in ("trials", "epochs", "scores", "samples", "timings")
    )
    turns, series = comparison.last_measured(timings)
    epochs = epochs.assign(run=epochs.run.astype(str))
    runs = pd.DataFrame([run])
    trials = labelled(trials, runs)
    space = shown_space(runs, trials)
    return Tables(trials, space, epochs, scores, samples, timings, turns, series)


def _report(
    storage: str,
    tables: Path,
    run: Row,
    content: Tables,
    again: str,
    drawn: Drawn,
) -> Report:
    trials, scores, cards = (
        rows_of(tables, table, run["run"]) for table in ("trials", "scores", "cards")
    )
    best = next(iter(ranked(trials, goal_of(run).between(has_mixed_losses(run)))), None)
    timing = command_text("analysis.timing", "--run", run["run"], storage=storage)
    speed = speed_in_words(content.turns, content.series, best["trial"], timing) if best else ""
    sections = [
        Section("What was asked", [Facts(facts.asked(run, trials, _batch_sizes(run, trials)))]),
        Section("The pipeline", [Facts(facts.pipeline(run))]),
        Section("Where", [Facts(facts.where(run))]),
    ]
    if best:
        best_facts = Facts(facts.best_trial(best, trials, run))
        sections.append(Section("Best trial", [best_facts, *drawn.get(BEST, [])]))
        row = content.trials[content.trials.trial == best["trial"]].iloc[0]
        lines, note = loading(tables.parent / "networks", run, row)
        said_of_it: list[Block] = [Code(lines)] if lines else []
        said_of_it += [Remark(note)] if note else []
        sections.append(Section("Load its network", said_of_it, level=3))
    sections += _exactness(run, content, scores, trials, drawn)
    sections += _speeds(content, cards, drawn, timing)
    searched = [facts.searched(best, run)] if best else []
    sections.append(Section("The search", [*_filled(searched), *drawn.get(SEARCH, [])]))
    steps = Code(facts.commands(run, storage, again))
    sections.append(Section("Do it again", [steps, Remark(REPEATED)]))
    found = answer(run, best, scores, speed)
    return Report(
        name=run["run"],
        question=found.question,
        reply=found.reply,
        sentence=found.sentence,
        reasons=found.reasons,
        sections=[one for one in sections if one.blocks],
    )


def _batch_sizes(run: Row, trials: list[Row]) -> dict[str, int]:
    """Return the batch sizes that networks of this project have of their own."""
    networks = {run["model"], *(row["model"] for row in trials)} & set(NETWORKS)
    if not networks:
        return {}
    from trainables.networks.base import habits_of  # here, since it imports PyTorch
    from trainables.networks.registry import find

    return {network: habits_of(find(network)).batch_size for network in networks}


def _exactness(
    run: Row, content: Tables, scores: list[Row], trials: list[Row], drawn: Drawn
) -> Iterator[Section]:
    accuracy = results.accuracy(run, scores, trials)
    if not accuracy.rows:
        yield Section("How exactly", [Remark(UNMEASURED)])
        return
    yield Section("How exactly", [accuracy, *drawn.get(EXACTNESS, [])])
    mine = content.samples[content.samples.trial == measured_best(content).trial.iloc[0]]
    failures = [results.failures(results.with_psnr(mine), WORST)] if len(mine) else []
    yield Section("Where it fails", [*failures, *drawn.get(FAILURES, [])], level=3)


def _speeds(content: Tables, cards: list[Row], drawn: Drawn, timing: str) -> Iterator[Section]:
    yield Section("What networks see", _filled([results.sight(cards)]))
    if content.series.empty:
        yield Section("How fast", [Remark("Not measured yet:"), Code(timing)])
        return
    (one,) = machines(content.turns).itertuples()
    measured = (
        f"{one.hardware}, {one.measured_at:%Y-%m-%d %H:%M} UTC, "
        f"session {one.session} of {content.timings.session.nunique()}."
    )
    yield Section("How fast", [Remark(measured)])
    for device in dict.fromkeys(content.series.device):
        grids = [
            results.speed(content.turns, content.series, device),
            results.latency(content.series, device),
            results.crossover(content.turns, content.series, device),
        ]
        pictures = drawn.get(device, [])
        yield Section(f"On the {named(device)}", [*_filled(grids), *pictures], level=3)
    yield Section("The study's times", _filled([results.study(content.timings, content.series)]), 3)


def _filled(grids: Iterable[Grid]) -> list[Block]:
    return [grid for grid in grids if grid.rows]
