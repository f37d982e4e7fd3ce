"""Objects that Python has in place of a name: a function, a class, a Compose of a notebook.

What a file or an installed module has under its name goes by that name. All else is kept in a small
Python file, as cloudpickle writes it, which every later command finds like a file of one's own.
"""

import base64
import hashlib
import io
import keyword
import sys
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, ClassVar

import cloudpickle

from trainables.atomic_write import atomic_write
from trainables.errors import UsageError, in_one_line
from tuner.cluster.runtime_env import PACKAGES, is_installed
from tuner.settings_sources import IN_ONE_TEXT

NAMED = {"pipeline": "pipeline", "model": "Network", "loss": "loss", "metric": "own_metric"}
"""Settings that may be objects, and what one without a name of its own is called."""
LARGEST_MIB = 64  # of a pickle: of weights that a pipeline brings
LINE = 88  # characters of a pickle in the file
FILE = '''"""`{attribute}` of a notebook or script, as `tuner.search` kept it.

This is code: whoever imports it runs it, as any Python file. It was written by Python {python} and
cloudpickle {version}, and the same Python reads it.
"""

import base64
import pickle

{attribute} = pickle.loads(
    base64.b64decode(
        """
{text}
"""
    )
)
'''


def named(setting: str, value: Any, directory: Path) -> str:
    """Return the value of a setting of NAMED with a name in place of each object.

    Raises UsageError where an object can't be called, or can't be kept.

    Args:
        setting: Which it is.
        value: A name or an object. Losses and metrics may be several, in a list.
        directory: Where files of objects are kept.
    """
    several = isinstance(value, list | tuple) and setting in IN_ONE_TEXT
    return ",".join(_name(setting, one, directory) for one in (value if several else [value]))


def _name(setting: str, value: Any, directory: Path) -> str:
    if isinstance(value, str):
        return value
    if not callable(value):
        raise UsageError(
            f"search: {setting} is a {type(value).__name__}: give a name, or an object that can be "
            f"called"
        )
    if setting == "model" and not isinstance(value, type):
        raise UsageError(f"search: model is an object of {type(value).__name__}: give its class")
    return _importable(value) or _kept(setting, value, directory)


def _importable(value: Any) -> str:
    """Return `module:object` for what any process can import so; empty for all else.

    What a script itself defines is not: who imports it would run the script.
    """
    if isinstance(value, type | FunctionType):
        module, name = sys.modules.get(value.__module__), value.__qualname__
        is_there = value.__module__ != "__main__" and getattr(module, "__file__", None) is not None
        is_there = is_there and getattr(module, name, None) is value
        return f"{value.__module__}:{name}" if is_there else ""
    # Other objects don't know where they are
    for module in _own_modules():
        for name, one in vars(module).items():
            if one is value:
                return f"{module.__name__}:{name}"
    return ""


def _kept(setting: str, value: Any, directory: Path) -> str:
    """Keep an object in a file that is named by its content; return the object's name there."""
    try:
        pickled = _pickled(value)
    except Exception as error:  # whatever is in it, and its own __reduce__
        raise UsageError(
            f"search: {setting} can't be kept in a file ({in_one_line(error)}): write it into a "
            f"Python file, and give path/file.py:object"
        ) from error
    if len(pickled) > LARGEST_MIB * 2**20:
        raise UsageError(
            f"search: {setting} takes {len(pickled) / 2**20:,.0f} MiB in a file, more than "
            f"{LARGEST_MIB}: write it into a Python file that reads its data, and give "
            f"path/file.py:object"
        )
    attribute = _attribute(value) or NAMED[setting]
    text = base64.b64encode(pickled).decode()
    content = FILE.format(
        attribute=attribute,
        version=cloudpickle.__version__,
        python=sys.version.partition(" ")[0],
        text="\n".join(text[start : start + LINE] for start in range(0, len(text), LINE)),
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    path = directory / f"{attribute}_{digest}.py"
    if setting in IN_ONE_TEXT and "," in str(path):
        raise UsageError(
            f"search: {setting} would be kept in {path}, and a comma separates several of them: "
            f"give a storage without a comma in its name"
        )
    try:
        with atomic_write(path) as aside:
            aside.write_text(content)
    except OSError as error:
        raise UsageError(
            f"search: {setting} can't be written to {path} ({error.strerror}): give another "
            f"storage, or the name of an object in a file"
        ) from error
    return f"{path}:{attribute}"


def _attribute(value: Any) -> str:
    """Return what an object is called: a function or class by its name, others by their class."""
    name = getattr(value, "__name__", type(value).__name__)
    is_name = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    return name if is_name else ""


def _pickled(value: Any) -> bytes:
    """Return an object as bytes that need none of a person's own modules to be read."""
    file = io.BytesIO()
    with _own_modules_by_value():
        _Pickler(file).dump(value)
    return file.getvalue()


def _without_place(code: CodeType) -> Any:
    """Reduce code of a notebook without the name of its cell, which each kernel makes anew.

    So the same function has the same file.
    """
    if not Path(code.co_filename).is_file():
        code = code.replace(co_filename="<notebook>")
    return _reduce_code(code)


_reduce_code: Callable[[CodeType], Any] = cloudpickle.Pickler.dispatch_table[CodeType]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap(
        {CodeType: _without_place}, cloudpickle.Pickler.dispatch_table
    )


@contextmanager
def _own_modules_by_value() -> Iterator[None]:
    """Pickle what a person's own modules define as it is, not by their names.

    Neither the nodes nor a command that is typed elsewhere finds them.
    """
    before = cloudpickle.list_registry_pickle_by_value()  # which a person asked for
    own = [module for module in _own_modules() if module.__name__ not in before]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _own_modules() -> list[ModuleType]:
    """Return the imported modules of a person's own: files that no package installed."""
    installed = {*packages_distributions(), *sys.stdlib_module_names, *PACKAGES, "__main__"}
    return [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] not in installed and _is_file(name, module)
    ]


def _is_file(name: str, module: Any) -> bool:
    """Tell whether a module, as it is registered, is a file that is not among what is installed."""
    file = getattr(module, "__file__", None)
    is_module = isinstance(module, ModuleType) and module.__name__ == name
    return is_module and isinstance(file, str) and not is_installed(Path(file))
