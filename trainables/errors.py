"""A person's mistakes, what is said of errors, and how every command ends.

A mistake is one sentence, Ctrl-C and SIGTERM are quiet, a bug says that it is one.
"""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.machinery import PathFinder
from pathlib import Path, PurePath
from typing import Any, ParamSpec

from trainables.terminal import take_every_character

RUNS_LISTED = 10
LONGEST = 500  # characters of another's text in a sentence of ours
LONGEST_TEXT = 20_000  # of a traceback in a table
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
FAILED, MISTAKE, INTERRUPTED = 1, 2, 130  # exit statuses, beside 0
COMPLAINT = "error: "  # what every sentence on the error stream begins with
BUG = "this is a bug of transform-tuner: please report it with the lines above"

Arguments = ParamSpec("Arguments")


class UsageError(ValueError):
    """A person's mistake: one sentence that says what was asked, what there is, and what to type.

    A command prints it after `error: ` and ends with exit status 2. Whatever else is raised is a
    bug of this project or a fault of the machine, and is never shown as a mistake.
    """


def cleaned(text: str) -> str:
    """Return a text of many lines with escapes, as in `\\x1b`, for controls and half characters.

    Half characters (lone surrogates) stand for bytes that are no UTF-8; no file takes them.
    """
    if text.isprintable():  # as nearly all is
        return text
    return UNWRITABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def cut(text: str, length: int = LONGEST_TEXT) -> str:
    """Return text, or the beginning and the end of what is longer than `length` characters."""
    if len(text) <= length:
        return text
    half = length // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]} … {left_out:,} characters left out … {text[-half:]}"


def first_line(error: BaseException | str) -> str:
    """Return the first line of a text or an error's, or the name of its class where it has none."""
    return printable(_lines(error)[0])


def last_line(error: BaseException | str) -> str:
    """Return the last line of an error's text, or of a traceback that was kept.

    It is the cause, where a library puts its own stack first.
    """
    return printable(_lines(error)[-1])


def in_one_line(error: BaseException) -> str:
    """Return an error as the last line of its traceback has it: `KeyError: 'a name'`."""
    name, text = type(error).__name__, first_line(error)
    return name if text == name else f"{name}: {text}"


def at_once(*checks: Callable[[], Any]) -> list[Any]:
    """Call each of them, and return what they returned.

    Raises UsageError with the mistakes of all that raise one, a line each: a person who mends one
    does not want to meet the next.
    """
    results, mistakes = [], []
    for check in checks:
        try:
            results.append(check())
        except UsageError as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return results


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


@contextmanager
def extra_packages(what: str, extra: str) -> Iterator[None]:
    """Turn an import that fails within the block into UsageError, which says what to install.

    Args:
        what: What needs the package, as a sentence begins: `a report`.
        extra: The extra of this project that brings it.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"{what} needs {error.name}, which is not installed: "
            f'pip install "transform-tuner[{extra}]"'
        ) from error


def _check_directory() -> None:
    """Raise UsageError where the directory that the person is in was deleted.

    Relative paths lead nowhere then, and PyTorch's MKL ends the process.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError(
            "the directory that this was typed in is not there any more: change to another one"
        ) from None


def _in_the_way() -> str:
    """Return a file of this directory that was imported although its name is another module's.

    Python looks here first, so that a person's own networks are found. Empty where there is none.
    """
    here = Path.cwd()
    elsewhere = [path for path in sys.path if Path(path or here) != here]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        is_here = file and here in (Path(file).parent, Path(file).parent.parent)
        if is_here and PathFinder.find_spec(name, elsewhere):
            return str(file)
    return ""


def _lines(error: BaseException | str) -> list[str]:
    try:
        text = str(error).strip()
    except Exception:  # a class of a person's own
        text = ""
    return (text or type(error).__name__).splitlines()


def printable(line: str) -> str:
    """Return a line as any terminal and any file takes it: not endless, and without controls."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line[:LONGEST])
    return f"{shown} …" if len(line) > LONGEST else shown


def complain(error: object) -> None:
    """Print one sentence on the error stream, after `error: `; of several each on its line."""
    for sentence in str(error).splitlines():
        print(f"{COMPLAINT}{sentence}", file=sys.stderr)


def prog(module: str) -> str:
    """Return what was typed, for usage lines: `python -m tuner.run` or `transform-tuner run`."""
    typed = sys.argv[0]  # as tuner.command leaves it
    return typed if typed.startswith("transform-tuner ") else f"python -m {module}"


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, unless it is handled or ignored already."""
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def command(
    interrupted: str = "",
) -> Callable[[Callable[Arguments, int]], Callable[Arguments, int]]:
    """Let a `main`, which returns an exit status, print and end as every command does.

    UsageError is a person's mistake: one sentence and exit status 2. Ctrl-C and SIGTERM are 130.
    What else is raised is a bug of this project: its traceback, a line that says so, and 1. What
    happens to the machine (a full disk, a bucket that is away) is for the `main` itself to catch.

    Args:
        interrupted: The line that Ctrl-C and SIGTERM print: what was kept, and how to go on.
    """

    def decorated(main: Callable[Arguments, int]) -> Callable[Arguments, int]:
        @wraps(main)
        def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
            take_every_character()
            try:
                with _sigterm_as_ctrl_c():
                    _check_directory()
                    return main(*args, **kwargs)
            except UsageError as mistake:
                complain(mistake)
                return MISTAKE
            except KeyboardInterrupt:
                if interrupted:
                    print(interrupted)
                return INTERRUPTED
            except Exception as error:
                if isinstance(error, ImportError | AttributeError) and (file := _in_the_way()):
                    complain(
                        f"{file} is imported in place of the installed module of that name: "
                        f"rename it, or type the command in another directory"
                    )
                    return MISTAKE
                traceback.print_exc()
                complain(BUG)
                return FAILED

        return run

    return decorated
