"""Code that a search sends to the nodes: this project's packages, and a network of one's own."""

import json
import os
import re
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("analysis", "trainables", "tuner")
LEFT_OUT = [".git", ".venv", "__pycache__"]
# What a search writes or reads, unless it is a subpackage
LEFT_OUT_UNLESS_CODE = frozenset({"data", "results", "wandb"})
INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # how `ray job submit` tells the command what the job brings


def runtime_environment(model: str) -> dict[str, Any]:
    """Return Ray's runtime environment for a search of `model`; what a job brings stays as it is.

    This project's packages are always sent, from a checkout or from where a wheel put them, so that
    trials run the driver's own code. A network's package is sent unless it is installed: nodes are
    expected to have what `pip` installs.
    """
    sent = [path for name in PACKAGES for path in _paths(name)]
    own = [path for path in _paths(_own_package(model)) if not _is_installed(path)]
    modules = [str(path) for path in [*sent, *own]]
    environment = {"py_modules": modules, "excludes": _excludes([*sent, *own])}
    of_job = json.loads(os.environ.get(JOB, "{}")).get("runtime_env") or {}
    return {name: value for name, value in environment.items() if name not in of_job}


def _own_package(model: str) -> str:
    """Return the top-level name in `package.module:Class`; empty for a network of this project."""
    module, colon, _ = model.partition(":")
    name = module.partition(".")[0] if colon else ""
    return "" if name in PACKAGES else name


def _paths(name: str) -> list[Path]:
    """Return the directories of a package, or the file of a module; none where there is neither."""
    spec = find_spec(name) if name else None
    if spec is None:
        return []
    paths = [Path(path) for path in spec.submodule_search_locations or [spec.origin or ""]]
    return [path for path in paths if path.is_dir() or path.suffix == ".py"]


def _is_installed(path: Path) -> bool:
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
