"""Commands as they are printed for a person to type next."""

import shlex

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
