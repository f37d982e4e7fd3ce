"""Kill, damage and mistype by the hundred; everything ends in data or in one sentence.

    python -m tests.faults                                    # all of it, about half an hour
    python -m tests.faults --kills 0 --tables 500             # or so much of each kind
    python -m tests.faults --kills 20 --seed 7 --out kept     # leaves storages and logs in kept/

The last thing printed is a table of counts. Exit status: 0 when all ended as it should, else 1.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.outcomes import Outcomes

PROBLEMS_SHOWN = 40


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=(__doc__ or "").split("\n\n")[0]
    )
    for name, count, what in (
        ("kills", 100, "of processes of a search"),
        ("tables", 3000, "altered tables"),
        ("weights", 3000, "altered weights files"),
        ("command-lines", 300, "command lines that can't work"),
    ):
        parser.add_argument(f"--{name}", type=int, default=count, help=f"{what} (default: {count})")
    parser.add_argument(
        "--seed", type=int, default=0, help="of what is done, and when (default: 0)"
    )
    parser.add_argument(
        "--limit-min", type=float, default=40, help="minutes for the kills (default: 40)"
    )
    parser.add_argument(
        "--out", type=Path, help="keep storages and logs of the kills here (default: nowhere)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    options = parser().parse_args(arguments)
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    # Behind & in a script it is ignored, and by what is started here too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Here, since they import PyTorch
    from tests.faults.command_lines import try_command_lines
    from tests.faults.damage import try_tables, try_weights
    from tests.faults.kills import try_kills

    outcomes = Outcomes()
    started = time.monotonic()
    try_command_lines(options.command_lines, random.Random(options.seed), outcomes)
    try_tables(options.tables, random.Random(options.seed), outcomes)
    try_weights(options.weights, random.Random(options.seed), outcomes)
    if options.kills:
        with tempfile.TemporaryDirectory() as temporary:
            out = options.out or Path(temporary)
            out.mkdir(parents=True, exist_ok=True)
            chance = random.Random(options.seed)
            try_kills(out, options.kills, chance, 60 * options.limit_min, outcomes)
    for problem in outcomes.problems[:PROBLEMS_SHOWN]:
        print(problem)
    print(
        f"\n{len(outcomes.problems)} problems in {(time.monotonic() - started) / 60:.0f} minutes\n"
    )
    print(outcomes.table())
    return 1 if outcomes.problems else 0


if __name__ == "__main__":
    sys.exit(main())
