"""The command: time a run's networks against the pipeline that they replace.

    python -m analysis.timing --run NAME
    python -m analysis.timing --data photos --only 'torchvision*' 'separable*' --passes 5   # a minute, no run

Exit status: 0, 1 when nothing was measured or the storage did not take the rows, 2 for a mistake on the
command line, 130 after Ctrl-C (the passes up to then are kept).
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from analysis.console import Console
from analysis.tables.bucket import local_directory, sending
from analysis.tables.files import rows_of
from trainables.command_line import complain, prog


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = parser().parse_args(arguments)
    console = Console()
    try:
        from analysis.timing import summary
        from analysis.timing.conductor import conduct

        config = _config(options)
        with console, sending(options.storage, config.run, console):
            rows = conduct(config, config.subjects, console)
    except ValueError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        console.line(
            "Interrupted; what was measured up to now is in the table `timings`, without verdicts."
        )
        return 130
    except OSError as error:
        complain(f"the timings could not be kept ({error}): mend that and measure again")
        return 1
    return 0 if summary.tell(console, rows, rows_of(config.tables, "cards", config.run)) else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.timing"),
        description="Time networks against the pipeline that they replace.",
    )
    parser.add_argument(
        "--run", metavar="NAME", help="a search: its finalists are timed, on its test images"
    )
    parser.add_argument(
        "--data", metavar="SOURCE", help="without --run: as for tuner.run (default: auto)"
    )
    parser.add_argument(
        "--storage", default="results", help="where runs are kept, s3:// too (default: results)"
    )
    parser.add_argument(
        "--subject", metavar="package.module:function", action="append", default=[], help="your own"
    )
    parser.add_argument(
        "--only", metavar="PATTERN", nargs="+", default=[], help="subjects by name, as in a shell"
    )
    parser.add_argument(
        "--devices", nargs="+", default=[], help="cpu, cuda (default: all there are)"
    )
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[], help="(default: 1 8 64 250 1000 10000)"
    )
    parser.add_argument("--passes", type=int, help="timed passes per series (default: 30)")
    parser.add_argument(
        "--images", type=int, help="images per pass (default: the test split, at most 10000)"
    )
    parser.add_argument(
        "--series-sec", type=float, help="a series' time, beyond which passes are cut (default: 20)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: one a core)")
    parser.add_argument(
        "--seed", type=int, default=0, help="draws the order of the series (default: 0)"
    )
    return parser


def _config(options: argparse.Namespace):  # type: ignore[no-untyped-def]  # its import costs PyTorch's 2 s
    from analysis.timing.runs import finalists, test_images
    from analysis.timing.timing_settings import IMAGES, TimingConfig

    if options.run and options.data:
        raise ValueError("--data goes without --run: a run is timed on its own test images")
    storage = local_directory(options.storage)
    images = test_images(str(storage), options.run, options.data or "auto")
    given = {name: getattr(options, name) for name in ("passes", "series_sec", "threads")}
    return TimingConfig(
        run=options.run or f"timing-{datetime.now():%Y%m%d-%H%M%S}",
        storage=str(storage),
        images=images.first(min(IMAGES, len(images)) if options.images is None else options.images),
        finalists=finalists(storage, options.run) if options.run else (),
        own=tuple(options.subject),
        only=tuple(options.only),
        devices=tuple(options.devices),
        batch_sizes=tuple(options.batch_sizes),
        seed=options.seed,
        **{name: value for name, value in given.items() if value is not None},
    )


if __name__ == "__main__":
    sys.exit(main())
