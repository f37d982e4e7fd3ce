"""Imports go tuner → analysis → trainables and in no circle; and rules for every source file."""

import ast
import subprocess
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
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


def graph(files: dict[str, Path]) -> dict[str, set[str]]:
    """The modules that each module imports, within functions and for type checkers too."""
    edges: dict[str, set[str]] = {}
    for module, path in files.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= (inner & files.keys()) or {node.module or ""}
        edges[module] = names & files.keys()
    return edges


def circle(files: dict[str, Path]) -> list[str]:
    """Modules each of which imports the next, and the last the first; empty if there are none."""
    try:
        TopologicalSorter(graph(files)).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({module_of(path): path for path in FILES}) == []


@pytest.mark.parametrize(
    "last",
    [
        "import made.up.first",
        "from made.up import first",
        "from made.up.first import anything",
        "def f():\n    from made.up import first",
        "if TYPE_CHECKING:\n    from made.up.first import A, B",
    ],
)
def test_a_circle_is_found_however_it_is_imported(tmp_path: Path, last: str) -> None:
    (tmp_path / "made" / "up").mkdir(parents=True)
    sources = {
        "first": "from made.up import second",
        "second": "import made.up.third",
        "third": last,
    }
    for name, source in sources.items():
        (tmp_path / "made" / "up" / f"{name}.py").write_text(source)
    files = {module_of(path, tmp_path): path for path in tmp_path.rglob("*.py")}
    assert set(circle(files)) == {"made.up.first", "made.up.second", "made.up.third"}
    files.pop("made.up.third")
    assert circle(files) == []


def test_a_file_name_stands_for_one_thing() -> None:
    """But for a dashboard's page, which is named after the charts that it shows."""
    places = defaultdict(list)
    for path in FILES:
        if path.name not in ("__init__.py", "__main__.py"):
            places[path.name].append(str(path.parent.relative_to(ROOT)))
    page_and_charts = ["analysis/charts", "analysis/dashboard"]
    several = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if found != page_and_charts} == {}


def test_every_way_of_importing_is_seen() -> None:
    source = "import ray.tune as t\nfrom tuner import x\n"
    source += "def f():\n    from wandb.sdk import y\nfrom . import z"
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
