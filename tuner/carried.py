"""What a node needs to run trials, where none of the project's files are: its packages, and a network of one's own."""

import json
import os
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("analysis", "trainables", "tuner")
LEFT_OUT = [".git", ".venv", "venv", "__pycache__", "results", "wandb"]
INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # how `ray job submit` tells the command what the job brings


def runtime_environment(model: str) -> dict[str, Any]:
    """Ray's runtime environment for a search of `model`; what a job brings itself stays as it is."""
    carried = {"py_modules": [place for name in [*PACKAGES, _own(model)] for place in _places(name)]}
    of_job = json.loads(os.environ.get(JOB, "{}")).get("runtime_env") or {}
    return {name: value for name, value in {**carried, "excludes": LEFT_OUT}.items() if name not in of_job}


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
    return [str(place) for place in places if not any(place.is_relative_to(path) for path in INSTALLED)]
