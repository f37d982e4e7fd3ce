"""Objects of a person's own, by name: `package.module:object`, or `path/file.py:object`.

Without PyTorch, so that a command line can be checked before its 2 s have passed.
"""

import hashlib
import importlib
import sys
import traceback
from collections.abc import Collection
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from trainables.errors import UsageError, in_one_line

SUFFIX = ".py"


def is_own(name: str) -> bool:
    """Tell whether a name has the form of one of these."""
    place, colon, attribute = name.rpartition(":")
    return bool(place and colon and attribute)


def is_file(name: str) -> bool:
    """Tell whether a name is of an object in a file."""
    return name.rpartition(":")[0].endswith(SUFFIX)


def check_there(flag: str, name: str) -> None:
    """Raise UsageError where a name's module, or its file, is not there.

    Only files are looked for: nothing of the module runs, nor of the packages around it.

    Args:
        flag: The flag that the name was given to.
        name: As `is_own` takes it.
    """
    place = name.rpartition(":")[0]
    if is_file(name):
        if not Path(place).is_file():
            raise UsageError(f"{flag} {name}: {_missing(place)}")
        return
    parts = place.split(".")
    path = None
    with suppress(KeyError):  # a namespace package within another can't be asked before an import
        for part in range(len(parts) if place not in sys.modules else 0):
            wanted = ".".join(parts[: part + 1])
            finders = sys.meta_path if parts[part] else ()
            found = (finder.find_spec(wanted, path) for finder in finders)
            spec = next((one for one in found if one is not None), None)
            path = spec.submodule_search_locations if spec else None
            if spec is None or (path is None and wanted != place):
                raise UsageError(
                    f"{flag} {name}: there is no module {place!r} in this directory or among "
                    f"what is installed; correct the name, or type the command in the directory "
                    f"that holds {parts[0]!r}"
                )


def _missing(place: str) -> str:
    return (
        f"there is no file {place!r}; correct the path, or type the command in the directory from "
        f"which it leads there"
    )


def short(name: str) -> str:
    """Return what an object is called in tables and charts: `Class` for `path/file.py:Class`."""
    return name.rpartition(":")[2]


def check_distinct(flag: str, asked: str, names: list[str], ours: Collection[str]) -> None:
    """Raise UsageError where two of these names, which tables have, are one.

    Args:
        flag: What was given.
        asked: Its value.
        names: What tables call those of a person's own in it.
        ours: What they call those of this project.
    """
    for name in names:
        if name in ours:
            raise UsageError(
                f"{flag} {asked}: {name} is this project's own name; give yours another"
            )
        if names.count(name) > 1:
            raise UsageError(
                f"{flag} {asked}: two of them would be called {name}; give one another name"
            )


def absolute(name: str) -> str:
    """Return a name that means the same in every directory of this machine."""
    place, _, attribute = name.rpartition(":")
    return f"{Path(place).resolve()}:{attribute}" if is_file(name) else name


def sent_as(path: Path) -> str:
    """Return how the directory is called in which a file is sent to other machines.

    Args:
        path: Absolute, on the machine that sends it.
    """
    return f"own_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"


def source_of(name: str) -> str:
    """Return the file of an object that has been loaded; empty where it has none."""
    place = name.rpartition(":")[0]
    if is_file(name):
        return str(_here(Path(place)))
    return getattr(sys.modules.get(place), "__file__", None) or ""


def blamed(error: BaseException, name: str) -> str:
    """Return what an error says, and at which line of an object's module it came up."""
    if isinstance(error, UsageError):
        return str(error)
    file = source_of(name)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    place = f" ({Path(file).name}, line {lines[-1]})" if lines else ""
    return f"{in_one_line(error)}{place}"


def load(name: str) -> Any:
    """Import and return the object that a name stands for.

    A file finds what lies beside it. It is imported once, and again when it was changed. Raises
    UsageError where it can't be imported, or has no such object.
    """
    place, _, attribute = name.rpartition(":")
    if is_file(name) and not _here(Path(place)).is_file():
        raise UsageError(f"{name!r} can't be imported: {_missing(place)}")
    try:
        module = _from_file(Path(place)) if is_file(name) else importlib.import_module(place)
        return getattr(module, attribute)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise UsageError(f"{name!r} can't be imported: {in_one_line(error)}") from error


def _here(path: Path) -> Path:
    """Return where a file lies on this machine, which may be one that it was sent to."""
    for directory in sys.path:
        sent = Path(directory, sent_as(path), path.name)
        if sent.is_file():
            return sent
    return path.resolve()


_loaded: dict[tuple[Path, int], Any] = {}
"""Modules of files, by path and time of the last change."""


def _from_file(path: Path) -> Any:
    path = _here(path)
    key = path, path.stat().st_mtime_ns
    if key not in _loaded:
        _loaded[key] = _imported(path)
    return _loaded[key]


def _imported(path: Path) -> Any:
    name, directory = path.stem, str(path.parent)
    if directory not in sys.path:
        sys.path.append(directory)
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    # Before it runs, as an import does: dataclasses look there
    before, sys.modules[name] = sys.modules.get(name), module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        # A file may have the name of a module that others still want to import
        if before is not None and getattr(before, "__file__", None) != str(path):
            sys.modules[name] = before
    return module
