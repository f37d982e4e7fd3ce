"""What commands share: how one is printed for a person to type next, and what one needs."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from trainables.errors import UsageError

DEFAULT_STORAGE = "results"


def command_text(module: str, *arguments: str, storage: str = DEFAULT_STORAGE) -> str:
    """Return a line that a shell takes: `python -m analysis.report fc --storage /mnt/results`.

    Args:
        module: What follows `python -m`.
        arguments: Its arguments, quoted where the shell needs that.
        storage: Where runs are kept; named only where that is not the default.
    """
    flag = () if storage == DEFAULT_STORAGE else ("--storage", storage)
    return shlex.join(["python", "-m", module, *arguments, *flag])


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
            f'{what} needs {error.name}, which is not installed: pip install -e ".[{extra}]"'
        ) from error
