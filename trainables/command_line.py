"""How every command ends: a mistake is one sentence, Ctrl-C is quiet, a bug says that it is one."""

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from trainables.errors import UsageError

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130  # exit statuses, beside 0
BUG = "this is a bug of transform-tuner: please report it with the lines above"

Arguments = ParamSpec("Arguments")


def complain(error: object) -> None:
    """Print one sentence on the error stream, after `error: `."""
    print(f"error: {error}", file=sys.stderr)


def prog(module: str) -> str:
    """Return what was typed, for usage lines: `python -m tuner.run` or `transform-tuner run`."""
    typed = sys.argv[0]  # as tuner.command leaves it
    return typed if typed.startswith("transform-tuner ") else f"python -m {module}"


def command(
    interrupted: str = "",
) -> Callable[[Callable[Arguments, int]], Callable[Arguments, int]]:
    """Let a `main`, which returns an exit status, end as every command does.

    UsageError is a person's mistake: one sentence and exit status 2. Ctrl-C is 130. What else is
    raised is a bug of this project: its traceback, a line that says so, and 1. What happens to the
    machine (a full disk, a bucket that is away) is for the `main` itself to catch.

    Args:
        interrupted: The line that Ctrl-C prints: what was kept, and how to go on.
    """

    def decorated(main: Callable[Arguments, int]) -> Callable[Arguments, int]:
        @wraps(main)
        def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except UsageError as mistake:
                complain(mistake)
                return MISTAKE
            except KeyboardInterrupt:
                if interrupted:
                    print(interrupted)
                return INTERRUPTED
            except Exception:
                traceback.print_exc()
                complain(BUG)
                return FAILED

        return run

    return decorated
