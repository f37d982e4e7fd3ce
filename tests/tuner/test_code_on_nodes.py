"""A node that has Ray and what it needs, but none of the project's files, trains what the head sends it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tuner.conftest import ROOT, TINY, Command
from tests.tuner.nodes import (
    RAY,
    cannot_hide,
    free_port,
    head,
    own_token,
    ray_start,
    short_directory,
    without,
)
from tuner.cluster.runtime_env import PACKAGES

CANNOT_HIDE = cannot_hide()
pytestmark = pytest.mark.skipif(CANNOT_HIDE is not None, reason=CANNOT_HIDE or "")

NETWORK = (
    "from trainables.networks.separable import Separable\n\n\nclass Mine(Separable):\n    pass\n"
)
STAYS = (".venv", "env", ".git", "__pycache__", "data", "wandb", "deep/results")
SEARCH = ("--samples", "2", "--max-epochs", "1", "--finalists", "1", *TINY)


@dataclass(frozen=True)
class Bare:
    """A cluster of a head that trains nothing, and a node without the project's files."""

    address: str
    page: str
    """Where it takes jobs."""
    checkout: Path
    """A person's, with networks of their own and much else."""
    node: tuple[str, ...]
    """A command that runs the one behind it as the node's processes run."""
    received: Path
    """Where the node unpacks what it is sent."""


def installed() -> list[Path]:
    """Where Python finds the project by itself: the other end of an editable installation."""
    script = "from importlib.util import find_spec as f; import sys; print(*[f(n).origin for n in sys.argv[1:] if f(n)])"
    done = subprocess.run(
        [sys.executable, "-c", script, *PACKAGES], cwd="/", env={}, capture_output=True, text=True
    )
    return [Path(origin).parent for origin in done.stdout.split()]


def fill(checkout: Path) -> None:
    for name in PACKAGES:
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", checkout)
    (checkout / "mine.py").write_text(NETWORK)
    for name in (".venv", ".git", "data", "results", "wandb", *(f"nets/{name}" for name in STAYS)):
        (checkout / name).mkdir(parents=True)
        (checkout / name / "large").write_text("not for other machines")
    (checkout / "nets" / "env" / "pyvenv.cfg").touch()
    (checkout / "nets" / "small.py").write_text("from nets.results.kept import Mine\n")
    (checkout / "nets" / "results").mkdir()
    (checkout / "nets" / "results" / "__init__.py").touch()
    (checkout / "nets" / "results" / "kept.py").write_text(NETWORK)
    (checkout / "nets" / "weights.bin").write_text("a network may read what lies beside it")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    empty, checkout = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("checkout")
    fill(checkout)
    ours = [ROOT / name for name in PACKAGES]
    node = without(*{*ours, *installed(), checkout}, empty=empty)
    with ExitStack() as stack:
        stack.enter_context(own_token())
        port, page = free_port(), free_port()
        address = stack.enter_context(head("--num-cpus=0", port=port, page=page))
        directory = stack.enter_context(short_directory())
        stack.enter_context(
            ray_start(
                f"--address={address}",
                "--num-cpus=1",
                f"--temp-dir={directory}",
                cwd=empty,
                within=node,
            )
        )
        yield Bare(address, f"http://127.0.0.1:{page}", checkout, node, Path(directory))


def test_the_bare_node_has_none_of_the_projects_files(bare: Bare) -> None:
    for name in (*PACKAGES, "mine"):
        python = [*bare.node, sys.executable, "-c", f"import {name}.run"]
        tried = subprocess.run(
            python, cwd=bare.checkout, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        assert "ModuleNotFoundError" in tried.stderr


@pytest.mark.parametrize("model", ["mine:Mine", "nets.small:Mine"])
def test_a_network_of_ones_own_is_searched_on_a_bare_node(
    bare: Bare, command: Command, model: str
) -> None:
    process = command.start(
        "--name", "run", "--address", bare.address, "--model", model, *SEARCH, cwd=bare.checkout
    )
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    assert command.table("trials", "run").best_validation_loss.notna().tolist() == [True, True]


def test_the_bare_node_was_sent_the_code_and_nothing_else(bare: Bare) -> None:
    files = unpacked(bare, "py_modules_files")
    assert {parts[0] for parts in files} == {*PACKAGES, "mine.py", "nets"}
    of_network = {parts[1:] for parts in files if parts[0] == "nets"}
    assert of_network == {
        ("small.py",),
        ("weights.bin",),
        ("results", "__init__.py"),
        ("results", "kept.py"),
    }
    assert not {"large", "pyvenv.cfg"} & {part for parts in files for part in parts}


def test_a_job_brings_the_checkout_without_data_results_and_environments(
    bare: Bare, command: Command
) -> None:
    search = (
        "--storage",
        str(command.storage),
        "--name",
        "run",
        "--address",
        "auto",
        "--model",
        "mine:Mine",
        *SEARCH,
    )
    submit = [RAY, "job", "submit", "--address", bare.page, "--working-dir", bare.checkout, "--"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*submit, sys.executable, "-m", "tuner.run", *search],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert command.table("trials", "run").best_validation_loss.notna().tolist() == [True, True]
    sent = {parts[0] for parts in unpacked(bare, "working_dir_files")}
    assert sent == {*PACKAGES, "mine.py", "nets", ".gitignore"}


def unpacked(bare: Bare, kind: str) -> set[tuple[str, ...]]:
    """The files of all packages of that kind that the node was sent, each within its package."""
    (directory,) = bare.received.rglob(kind)
    files = {
        path.relative_to(directory).parts[1:] for path in directory.rglob("*") if path.is_file()
    }
    return files - {()}  # locks lie beside the packages
