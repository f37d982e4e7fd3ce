"""The command: time a run's networks against the pipeline that they replace.

    python -m analysis.timing --run NAME
    python -m analysis.timing --data photos --only 'torchvision*' 'separable*'

The second needs no run and takes a minute.

Exit status: 0, 1 when nothing was measured or the storage did not take the rows, 2 for a mistake on
the command line, 130 after Ctrl-C (the turns up to then are kept).
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from analysis.console import Console
from analysis.tables.bucket import local_directory, sending
from analysis.tables.files import rows_of
from analysis.timing.timing_settings import IMAGES, SETTINGS, TimingSettings
from trainables.data.images import size_of
from trainables.errors import FAILED, command, complain, prog
from trainables.pipelines.catalogue import LIST, listed
from trainables.settings_fields import add_flags, given
from trainables.tasks import STUDY_NAME

PROBED = 64  # training images, whose targets show the range
INTERRUPTED = (
    "Interrupted; what was measured up to now is in the table `timings`, without verdicts."
)


@command(interrupted=INTERRUPTED)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    typed = given(parser().parse_args(arguments))
    if typed.get("pipeline") == LIST:
        print(listed())
        return 0
    settings = TimingSettings(**typed)
    # Here, since they import PyTorch, pandas and torchvision: --help would take seconds
    from analysis.timing import runs, summary
    from analysis.timing.conductor import conduct
    from trainables.data.loading import load

    console = Console()
    storage = local_directory(settings.storage)
    run = settings.run or f"timing-{datetime.now():%Y%m%d-%H%M%S}"
    with console:
        if settings.run:
            data = runs.data_of(storage, run, console.progress)
            finalists = runs.finalists(storage, run)
        else:
            data = load(
                settings.data or "auto",
                train_images=PROBED,
                pipeline=settings.pipeline or STUDY_NAME,
                takes=settings.takes,
                size=size_of(settings.image_size),
                progress=console.progress,
            )
            finalists = ()
    examples = data.test.first(settings.images or min(IMAGES, len(data.test)))
    subjects = settings.subjects(data.task, finalists)
    tables = storage / "tables"
    try:
        with console, sending(settings.storage, run, console):
            rows = conduct(settings, subjects, examples, data.affine, tables, run, console)
    except OSError as error:
        complain(f"the timings could not be kept ({error}): mend that and measure again")
        return FAILED
    return 0 if summary.print_timings(console, rows, rows_of(tables, "cards", run)) else FAILED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.timing"),
        description="Time networks against the pipeline that they replace.",
        argument_default=argparse.SUPPRESS,
    )
    add_flags(parser, SETTINGS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
