"""Code that a search sends to the nodes: this project's packages, and what is a person's own."""

import ast
import json
import os
import re
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainables import own_code
from trainables.errors import UsageError, first_line

PACKAGES = ("analysis", "trainables", "tuner")
LEFT_OUT = [".git", ".venv", "__pycache__"]
# What a search writes or reads, unless it is a subpackage
LEFT_OUT_UNLESS_CODE = frozenset({"data", "results", "wandb"})
INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # how `ray job submit` tells the command what the job brings


def runtime_environment(names: Iterable[str], copies: Path) -> dict[str, Any]:
    """Return Ray's runtime environment for a search; what a job brings stays as it is.

    This project's packages are always sent, from a checkout or from where a wheel put them, so that
    trials run the driver's own code. A package of a person's own is sent unless it is installed:
    nodes are expected to have what `pip` installs. A file is sent with the modules beside it that
    it imports.

    Args:
        names: What is a person's own, as `own_code.load` takes it; others need nothing more.
        copies: An empty directory for files; Ray reads it when it is given the environment.
    """
    ours = [path for name in PACKAGES for path in _paths(name)]
    files = {
        Path(own_code.absolute(name).rpartition(":")[0]) for name in names if own_code.is_file(name)
    }
    packages = {_own_package(name) for name in names if not own_code.is_file(name)}
    own = [path for name in sorted(packages) for path in _paths(name) if not is_installed(path)]
    sent = [*ours, *own, *(_copied(file, copies) for file in sorted(files))]
    environment = {"py_modules": [str(path) for path in sent], "excludes": _excludes(sent)}
    of_job = json.loads(os.environ.get(JOB, "{}")).get("runtime_env") or {}
    return {name: value for name, value in environment.items() if name not in of_job}


def _own_package(name: str) -> str:
    """Return the top-level name in `package.module:object`; empty for what is this project's."""
    module, colon, _ = name.partition(":")
    top = module.partition(".")[0] if colon else ""
    return "" if top in PACKAGES else top


def _copied(file: Path, copies: Path) -> Path:
    """Copy a file, with the modules beside it that it needs, into a directory of its own.

    Raises UsageError where one of them can't be read.
    """
    directory = copies / own_code.sent_as(file)
    directory.mkdir()
    try:
        for path in (file, *_beside(file)):
            if path.is_dir():
                # A link that leads nowhere, such as an editor's lock, is of no use here either
                shutil.copytree(
                    path, directory / path.name, ignore=_not_copied, ignore_dangling_symlinks=True
                )
            else:
                shutil.copy(path, directory)
    except OSError as error:
        # The first of those that copytree collects
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise UsageError(
            f"{file} can't be sent to the nodes with what it imports ({first_line(reason)}): see "
            f"that all of it can be read, or move what is no code elsewhere"
        ) from error
    return directory


def _beside(file: Path) -> list[Path]:
    """Return the modules and packages beside a file that it imports, and those that these do."""
    found: list[Path] = []
    waiting = [file]
    while waiting:
        for name in _imported(waiting.pop()):
            if name in PACKAGES or any(map(is_installed, _paths(name))):
                continue  # it comes first, as where the file is imported
            path = _module(file.parent, name)
            if path is not None and path not in (file, *found):
                found.append(path)
                waiting += _sources(path) if path.is_dir() else [path]
    return found


def _module(directory: Path, name: str) -> Path | None:
    """Return what an import finds in a directory: a package, a module, or a directory with some."""
    package, module = directory / name, directory / f"{name}.py"
    if module.is_file() and not (package / "__init__.py").is_file():
        return module
    return package if any(_sources(package)) else None


def _sources(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*.py") if path.is_file())


def _imported(file: Path) -> set[str]:
    """Return the top-level names of what a file imports; none where it is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _not_copied(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name in LEFT_OUT or _holds_no_code(Path(directory, name))]


def _paths(name: str) -> list[Path]:
    """Return the directories of a package, or the file of a module; none where there is neither."""
    spec = find_spec(name) if name else None
    if spec is None:
        return []
    paths = [Path(path) for path in spec.submodule_search_locations or [spec.origin or ""]]
    return [path for path in paths if path.is_dir() or path.suffix == ".py"]


def is_installed(path: Path) -> bool:
    """Tell whether a module's file, or a package's directory, is where `pip` installs."""
    return any(path.is_relative_to(directory) for directory in INSTALLED)


def _excludes(paths: list[Path]) -> list[str]:
    """Return what stays here, as patterns of .gitignore; Ray applies each of them to every path.

    A person's `data` stays here although `trainables/data` does not: where another package has code
    at the same relative path, what lies there is named again, after a `!`.
    """
    excludes = list(LEFT_OUT)
    for directory in sorted({directory for path in paths for directory in _without_code(path)}):
        code = [path / directory for path in paths if (path / directory / "__init__.py").exists()]
        kept = {entry.name for package in code for entry in package.iterdir()} - {*LEFT_OUT}
        excludes.append(_pattern(directory) + ("/*" if kept else ""))
        excludes.extend("!" + _pattern(directory / name) for name in sorted(kept))
    return excludes


def _without_code(package: Path) -> Iterator[Path]:
    """Yield the directories of a package that hold data, results or an environment."""
    for directory, names, _ in os.walk(package):
        for name in list(names):
            path = Path(directory, name)
            if name in LEFT_OUT:
                names.remove(name)
            elif _holds_no_code(path):
                names.remove(name)
                yield path.relative_to(package)


def _holds_no_code(directory: Path) -> bool:
    is_data = directory.name in LEFT_OUT_UNLESS_CODE and not (directory / "__init__.py").exists()
    return is_data or (directory / "pyvenv.cfg").exists()


def _pattern(path: Path) -> str:
    """Return a pattern that matches this path alone, with the signs of patterns escaped."""
    return "/" + re.sub(r"([\\*?\[ ])", r"\\\1", path.as_posix())
