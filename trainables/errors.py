"""A person's mistakes, and what is said of errors: the one place for both."""

from collections.abc import Iterable
from pathlib import PurePath

RUNS_LISTED = 10


class UsageError(ValueError):
    """A person's mistake: one sentence that says what was asked, what there is, and what to type.

    A command prints it after `error: ` and ends with exit status 2. Whatever else is raised is a
    bug of this project or a fault of the machine, and is never shown as a mistake.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class where it has none."""
    return _lines(error)[0]


def last_line(error: BaseException | str) -> str:
    """Return the last line of an error's text, or of a traceback that was kept.

    It is the cause, where a library puts its own stack first.
    """
    return _lines(error)[-1]


def known_runs(folders: Iterable[PurePath], otherwise: str) -> str:
    """Return the end of a sentence about a run that is not there: which ones can be given.

    Args:
        folders: The folders `run=NAME` of those that are there. Of many the last RUNS_LISTED are
            named: names begin with the network and end with the time, unless a person chose them.
        otherwise: What to do instead of giving one, as in `give a file`.
    """
    names = sorted(folder.name.removeprefix("run=") for folder in folders)
    if not names:
        return f"there is none yet: {otherwise}"
    if len(names) > RUNS_LISTED:
        names = ["…", *names[-RUNS_LISTED:]]
    return f"give one of {', '.join(names)}, or {otherwise}"


def _lines(error: BaseException | str) -> list[str]:
    return (str(error).strip() or type(error).__name__).splitlines()
