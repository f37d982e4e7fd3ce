"""What a node needs to run trials, where none of the project's files are: its packages, and a network of one's own."""

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
LEFT_OUT_UNLESS_CODE = frozenset(
    {"data", "results", "wandb"}
)  # what a search writes or reads, or a subpackage
INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # how `ray job submit` tells the command what the job brings


def runtime_environment(model: str) -> dict[str, Any]:
    """Ray's runtime environment for a search of `model`; what a job brings itself stays as it is."""
    places = [place for name in [*PACKAGES, _own(model)] for place in _places(name)]
    carried = {"py_modules": places, "excludes": _left_out(places)}
    of_job = json.loads(os.environ.get(JOB, "{}")).get("runtime_env") or {}
    return {name: value for name, value in carried.items() if name not in of_job}


def _own(model: str) -> str:
    """The top-level package or module of `package.module:Class`; empty for one of the project's networks."""
    module, colon, _ = model.partition(":")
    name = module.partition(".")[0] if colon else ""
    return "" if name in PACKAGES else name


def _places(name: str) -> list[str]:
    """The directories of a package or the file of a module, where it is not installed: nodes have what is."""
    spec = find_spec(name) if name else None
    if spec is None:
        return []
    found = spec.submodule_search_locations or [spec.origin or ""]
    places = [Path(place) for place in found if Path(place).is_dir() or place.endswith(".py")]
    return [
        str(place) for place in places if not any(place.is_relative_to(path) for path in INSTALLED)
    ]


def _left_out(places: list[str]) -> list[str]:
    """What of the places stays here, as patterns of .gitignore; Ray applies each of them to every place."""
    found = {path for place in places for path in _without_code(Path(place))}
    # A package of that path in another place would be left out with it
    shared = {
        path
        for path in found
        if any((Path(place) / path / "__init__.py").exists() for place in places)
    }
    return [*LEFT_OUT, *sorted(_pattern(path) for path in found - shared)]


def _without_code(place: Path) -> Iterator[Path]:
    """The directories within a place that hold data, results or an environment."""
    for directory, names, _ in os.walk(place):
        for name in list(names):
            path = Path(directory, name)
            if name in LEFT_OUT:
                names.remove(name)
            elif _holds_no_code(path):
                names.remove(name)
                yield path.relative_to(place)


def _holds_no_code(directory: Path) -> bool:
    is_data = directory.name in LEFT_OUT_UNLESS_CODE and not (directory / "__init__.py").exists()
    return is_data or (directory / "pyvenv.cfg").exists()


def _pattern(path: Path) -> str:
    """Of that path alone; what a pattern means by other signs is escaped."""
    return "/" + re.sub(r"([\\*?\[ ])", r"\\\1", path.as_posix())
