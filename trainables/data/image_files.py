"""The files below a directory that somebody put there, and what tells whether they have changed."""

import errno
import hashlib
import io
import os
import stat
from pathlib import Path

# What systems leave beside images, in lower case; names that begin with a dot are nobody's too
NOBODYS = {"__macosx", "@eadir", "$recycle.bin"}
HASHED_BYTES = 2**16  # of each file: small ones whole


def files_below(directory: Path) -> list[str]:
    """List the files below `directory`, as sorted paths relative to it.

    Links are followed, and each directory is entered once: by the name that is least deep, by a
    link's before its own. None around `directory` is entered. Raises OSError where one can't be
    read.
    """
    root = directory.resolve()
    entered = {_identity(around) for around in root.parents}
    files, level = [], [""]
    while level:
        links, directories = [], []
        for here in level:
            if _identity(root / here) in entered:
                continue
            entered.add(_identity(root / here))
            with os.scandir(root / here) as entries:
                for entry in entries:
                    path = os.path.join(here, entry.name)
                    if entry.name.startswith(".") or entry.name.lower() in NOBODYS:
                        continue
                    if not os.path.isdir(entry):
                        files.append(path)
                    elif entry.is_symlink():
                        links.append(path)
                    else:
                        directories.append(path)
        level = sorted(links) + sorted(directories)
    return sorted(files, key=lambda path: path.split(os.sep))


def _identity(directory: Path) -> tuple[int, int]:
    found = directory.stat()
    return found.st_dev, found.st_ino


def stamp(path: Path) -> str:
    """Return a text that changes whenever the file does: its size, its times, how it begins.

    What can't be read has one too.
    """
    try:
        with _opened(path) as file:
            found = os.fstat(file.fileno())
            begin = hashlib.sha256(file.read(HASHED_BYTES)).hexdigest()
    except OSError as error:
        return str(error)
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {begin}"


def read(path: Path) -> bytes:
    """Read a file. Raises OSError where it can't be read, or is a pipe or the like."""
    with _opened(path) as file:
        return file.read()


def _opened(path: Path) -> io.FileIO:
    # A pipe would be waited for, for ever
    file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "no regular file")
