"""The import direction tuner → analysis → trainables, and two rules for every source file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

MAY_NOT_IMPORT = {
    "trainables": {"ray", "wandb", "tuner", "analysis"},
    "analysis": {"ray", "tuner"},
    "tuner": set(),
}
FILES = [path for package in MAY_NOT_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]
BY_NAME = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def imported(source: str) -> set[str]:
    """Top-level names of everything that is imported anywhere in the source."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else (node.module or "").partition(".")[0])
    return names


def test_every_way_of_importing_is_seen() -> None:
    source = "import ray.tune as t\nfrom tuner import x\ndef f():\n    from wandb.sdk import y\nfrom . import z"
    assert imported(source) == {"ray", "tuner", "wandb", "."}


def test_the_three_packages_have_files() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES if path.name != "__init__.py"} == set(
        MAY_NOT_IMPORT
    )


@BY_NAME
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    names = imported(path.read_text())
    assert not names & MAY_NOT_IMPORT[path.relative_to(ROOT).parts[0]]
    assert "." not in names, "imports name their package, so that this test can see where they lead"


@BY_NAME
def test_a_file_says_what_it_is_for_and_asserts_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("package", ["trainables", "analysis"])
def test_importing_every_module_of_a_package_brings_nothing_forbidden_in(package: str) -> None:
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / package).rglob("*.py")]
    modules = [".".join(path.parts) for path in files if path.name not in ("__init__", "__main__")]
    forbidden = sorted(MAY_NOT_IMPORT[package])
    code = f"import sys, {', '.join(modules)}\nprint([n for n in {forbidden} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
