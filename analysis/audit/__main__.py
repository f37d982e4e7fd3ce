"""The command: would a scheduler have thrown the best trial away? Asks runs trained in full.

    python -m tuner.run --model fc --samples 40 --scheduler none --name full
    python -m analysis.audit full

The curves of such runs are replayed under ASHA, the median stopping rule and an oracle, in 200
random orders each: what each would have spent, and what it would have found.

Exit status: 0, 1 when a figure could not be written, 2 for a mistake on the command line,
130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from analysis.audit.findings import (
    CAN_BE_ASKED_FOR,
    MOST_REGRET,
    ORDERS,
    Finding,
    Scheduler,
    audit,
    grid,
    mean_of,
    rank_correlation,
)
from analysis.audit.full_runs import Recorded, recorded
from analysis.console import DEFAULT_STORAGE, Console
from analysis.tables.bucket import local_directory
from analysis.tables.table_sources import BUCKET
from trainables.atomic_write import atomic_write
from trainables.errors import FAILED, UsageError, command, complain, extra_packages, prog

Findings = Mapping[Scheduler, Finding]
EARLY = (1, 2, 4)
"""Epochs whose rank correlation with the end is printed."""


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; return the exit status."""
    options = parser().parse_args(arguments)
    if options.at_once < 1:
        raise UsageError(f"--at-once ≥ 1 must hold, but got {options.at_once}")
    console = Console()
    storage = local_directory(options.storage)
    runs = list(dict.fromkeys(options.runs))
    every = [one for name in runs for one in recorded(options.storage, storage / "tables", name)]
    for one in every:
        _check_trials(one, options.trials)
    kept = Path(DEFAULT_STORAGE) if options.storage.startswith(BUCKET) else storage
    out = options.out or kept / "audits"
    found = []
    with console:
        for one in every:
            findings = _audited(one, options.at_once, options.trials, console)
            found.append(findings)
            _print(one, findings, console)
    if len(found) > 1:
        _print_all(found, console)
    try:
        with extra_packages("the figure of an audit", "dashboard"):
            for one, findings in zip(every, found, strict=True):
                _draw(one, findings, out)
    except OSError as error:
        complain(f"the figures could not be written ({error}): give another --out")
        return FAILED
    console.line(f"Figures  {out}/*.pdf and *.svg")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.audit"),
        description="Replay trials that were trained in full under schedulers that stop some.",
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="name of a run made with --scheduler none"
    )
    parser.add_argument(
        "--at-once", type=int, default=2, help="trials beside each other (default: 2)"
    )
    parser.add_argument(
        "--trials",
        type=int,
        help="trials of each search, drawn from the run's at random (default: all of them)",
    )
    parser.add_argument(
        "--storage",
        default=DEFAULT_STORAGE,
        help=f"where runs are kept, s3://BUCKET/PATH too (default: {DEFAULT_STORAGE})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="directory of the figures (default: STORAGE/audits, or for a bucket "
        f"{DEFAULT_STORAGE}/audits)",
    )
    return parser


def _check_trials(one: Recorded, trials: int | None) -> None:
    """Raise UsageError where a search would have more trials than there are, or nothing to stop."""
    if trials is not None and not 2 <= trials <= len(one.curves):
        raise UsageError(
            f"--trials {trials}: {one.run} has {len(one.curves)} trials of {one.model} that were "
            f"trained in full; give 2 to {len(one.curves)}"
        )


def _audited(one: Recorded, at_once: int, trials: int | None, console: Console) -> Findings:
    findings = {}
    for scheduler in grid(one.max_epochs):
        console.progress(f"{one.run}, {one.model}: {scheduler}")
        findings[scheduler] = audit(one.curves, scheduler, at_once, trials)
    return findings


def _print(one: Recorded, findings: Findings, console: Console) -> None:
    rows = [
        (
            str(scheduler),
            f"{100 * finding.epochs:.0f} %",
            _percent(finding.regret),
            _percent(finding.worst_regret),
            f"{finding.lost}",
        )
        for scheduler, finding in findings.items()
    ]
    columns = ("scheduler", "epochs", "regret", "at worst", f"best lost, of {ORDERS}")
    trials = f"{len(one.curves)} trials of up to {one.max_epochs} epochs"
    console.table(f"{one.run}: {one.model} on {one.pipeline}, {trials}", columns, rows)
    early = [epoch for epoch in EARLY if epoch < one.max_epochs]
    correlations = ", ".join(
        f"{rank_correlation(one.curves, epoch):.2f} after epoch {epoch}" for epoch in early
    )
    console.line(f"Rank correlation with the end: {correlations}.")
    console.line(recommendation(f"{one.model} on {one.pipeline}", findings))
    console.line()


def recommendation(subject: str, findings: Findings) -> str:
    """Return the cheapest scheduler that loses little, in a sentence with what to type.

    Args:
        subject: What was audited, as the sentence begins.
        findings: Of the schedulers that were compared, training in full among them.
    """
    sound = {
        scheduler: finding
        for scheduler, finding in findings.items()
        if scheduler.kind in CAN_BE_ASKED_FOR and finding.regret <= MOST_REGRET
    }
    best = min(sound, key=lambda scheduler: (sound[scheduler].epochs, sound[scheduler].regret))
    finding = sound[best]
    return (
        f"For {subject}: {best.flags} takes {100 * finding.epochs:.0f} % of the epochs, regret "
        f"{_percent(finding.regret)}, the best trial lost in {finding.lost} of {finding.orders}."
    )


def _print_all(found: Sequence[Findings], console: Console) -> None:
    """Print each scheduler's means over everything that was audited."""
    findings = together(found)
    rows = [
        (
            str(scheduler),
            f"{100 * finding.epochs:.0f} %",
            _percent(finding.regret),
            _percent(max(one[scheduler].regret for one in found)),
        )
        for scheduler, finding in findings.items()
    ]
    columns = ("scheduler", "epochs", "regret", "highest mean")
    console.table(f"All {len(found)}", columns, rows)
    console.line(recommendation(f"all {len(found)}", findings))
    console.line()


def together(found: Sequence[Findings]) -> Findings:
    """Return each scheduler's means over what was audited, each of which counts the same."""
    shared = [one for one in found[0] if all(one in findings for findings in found)]
    return {scheduler: mean_of([one[scheduler] for one in found]) for scheduler in shared}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _draw(one: Recorded, findings: Findings, out: Path) -> None:
    import pandas as pd

    from analysis.charts.audit import regrets
    from analysis.charts.drawing import for_paper
    from analysis.charts.style import specification

    rows = [
        {"kind": scheduler.kind, "settings": scheduler.short, **asdict(finding)}
        for scheduler, finding in findings.items()
    ]
    chart = regrets(pd.DataFrame(rows), MOST_REGRET)
    for kind, data in for_paper(specification(chart)).items():
        with atomic_write(out / f"{one.run}-{one.model}.{kind}") as aside:
            aside.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
