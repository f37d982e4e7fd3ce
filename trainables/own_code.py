"""Objects of a person's own, by name: `package.module:object`, or `path/file.py:object`.

Without PyTorch, so that a command line can be checked before its 2 s have passed.
"""

import importlib
import sys
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
            raise UsageError(
                f"{flag} {name}: there is no file {place!r}; correct the path, "
                f"or name an object as package.module:object"
            )
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


def load(name: str) -> Any:
    """Import and return the object that a name stands for.

    A file finds what lies beside it. Raises UsageError where it can't be imported, or has no such
    object.
    """
    place, _, attribute = name.rpartition(":")
    try:
        module = _from_file(Path(place)) if is_file(name) else importlib.import_module(place)
        return getattr(module, attribute)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise UsageError(f"{name!r} can't be imported: {in_one_line(error)}") from error


def _from_file(path: Path) -> Any:
    name = path.stem
    directory = str(path.resolve().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    spec = spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as an import does: dataclasses look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
