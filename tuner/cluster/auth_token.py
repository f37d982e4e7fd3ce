"""Ray's token, with which anybody may run anything on a cluster: a file that only its owner reads.

Ray itself makes it as the umask has it, which is for everybody to read.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

TOKEN_FILE = "~/.ray/auth_token"
ELSEWHERE = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # where Ray looks first
GROUP, OTHERS = 0o040, 0o004  # who may read, in a file's mode


def make() -> None:
    """Make the token where there is none yet, for its owner alone.

    Raises OSError where it can't be written, RuntimeError where there is no HOME.
    """
    if _is_unused() or (path := Path(TOKEN_FILE).expanduser()).exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent) as file:  # mode 600
        file.write(secrets.token_hex(32))
        file.flush()
        # Another first search has made one meanwhile
        with suppress(FileExistsError):
            os.link(file.name, path)


def warning() -> str:
    """Return a sentence where others can read the token, else an empty text."""
    with suppress(OSError, RuntimeError):
        path = Path(TOKEN_FILE).expanduser()
        if not _is_unused() and any(_can_read(path, who) for who in (GROUP, OTHERS)):
            return (
                f"Others on this machine can read {TOKEN_FILE}, and whoever has it may run "
                f"anything on your clusters: chmod 600 {TOKEN_FILE}"
            )
    return ""


def _is_unused() -> bool:
    return os.environ.get("RAY_AUTH_MODE") != "token" or any(map(os.environ.get, ELSEWHERE))


def _can_read(path: Path, who: int) -> bool:
    may_enter = who >> 2
    entered = all(directory.stat().st_mode & may_enter for directory in path.parents)
    return bool(entered and path.stat().st_mode & who)
