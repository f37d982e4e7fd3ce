"""Nodes that have Ray, but none of the project's files, train what they are sent."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.tuner.nodes import RAY, cannot_hide
from tests.tuner.on_nodes.conftest import Cluster, InProcess
from trainables.own_code import sent_as
from tuner.cluster import connect, nodes
from tuner.cluster.runtime_env import PACKAGES

CANNOT_HIDE = cannot_hide()
pytestmark = pytest.mark.skipif(CANNOT_HIDE is not None, reason=CANNOT_HIDE or "")

NETWORK = (
    "from trainables.networks.separable import Separable\n\n\nclass Mine(Separable):\n    pass\n"
)
STAYS = (".venv", "env", ".git", "__pycache__", "data", "wandb", "deep/results")
SEARCH = ("--samples", "1", "--max-epochs", "1", "--finalists", "1")


@pytest.fixture(scope="module")
def checkout(cluster: Cluster) -> Path:
    """A person's, with networks of their own and much else; hidden from the nodes."""
    checkout = cluster.checkout
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
    (checkout / "alone").mkdir()
    (checkout / "alone" / "net.py").write_text("from part_of_it import Mine\n")
    (checkout / "alone" / "part_of_it.py").write_text(NETWORK)
    (checkout / "alone" / "large").write_text("not for other machines")
    return checkout


@pytest.fixture
def in_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command as it is typed there."""
    monkeypatch.chdir(checkout)
    monkeypatch.syspath_prepend(checkout)
    yield
    for name in ("mine", "nets", "nets.small", "nets.results", "nets.results.kept"):
        sys.modules.pop(name, None)


def test_the_nodes_have_none_of_the_projects_files(cluster: Cluster, checkout: Path) -> None:
    names = (*PACKAGES, "mine", "nets")
    # A directory that is hidden is an empty one there, and so a package without a file
    script = (
        f"from importlib.util import find_spec as find; "
        f"print([getattr(find(name), 'origin', None) for name in {names}])"
    )
    tried = subprocess.run(
        [*cluster.node, sys.executable, "-c", script],
        cwd=checkout, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert tried.stdout == f"{[None] * len(names)}\n", tried.stdout + tried.stderr


@pytest.mark.usefixtures("in_checkout")
def test_a_package_of_ones_own_is_searched_on_bare_nodes_which_are_sent_code_and_nothing_else(
    cluster: Cluster, search: InProcess
) -> None:
    search.tries_out = True
    code, output = search("--name", "run", "--model", "nets.small:Mine", *SEARCH)
    assert code == 0, output
    assert not [name for name in sys.modules if name.startswith("nets")], "only others run it"
    assert search.table("trials", "run").best_validation_loss.notna().tolist() == [True]
    connect.join(cluster.address, own=["mine:Mine"], verbose=False)
    try:
        training = [node for node in nodes.nodes() if node.cpus]
        answers = nodes.on_each(training, importlib.import_module, "mine")
    finally:
        connect.stop()
    assert not [answer for answer in answers if isinstance(answer, Exception)]

    files = unpacked(cluster, "py_modules_files")
    of_other_tests = {"gated_network.py"}
    own = {parts[0] for parts in files} - of_other_tests
    assert {name for name in own if not name.startswith("own_")} == {*PACKAGES, "mine.py", "nets"}
    of_network = {parts[1:] for parts in files if parts[0] == "nets"}
    assert of_network == {
        ("small.py",),
        ("weights.bin",),
        ("results", "__init__.py"),
        ("results", "kept.py"),
    }
    assert not {"large", "pyvenv.cfg"} & {part for parts in files for part in parts}


@pytest.mark.usefixtures("in_checkout")
def test_a_network_in_a_file_is_searched_on_bare_nodes_with_what_lies_beside_it(
    cluster: Cluster, checkout: Path, search: InProcess
) -> None:
    search.tries_out = True
    code, output = search("--name", "run", "--model", "alone/net.py:Mine", *SEARCH)
    assert code == 0, output
    assert "part_of_it" not in sys.modules, "only others run it"
    assert search.table("trials", "run").best_validation_loss.notna().tolist() == [True]
    name = sent_as(checkout / "alone" / "net.py")
    received = {parts[1:] for parts in unpacked(cluster, "py_modules_files") if parts[0] == name}
    assert received == {("net.py",), ("part_of_it.py",)}


def test_a_job_brings_the_checkout_without_data_results_and_environments(
    cluster: Cluster, checkout: Path, search: InProcess, few_images: tuple[str, ...]
) -> None:
    there = (*few_images, "--storage", str(search.storage), "--name", "run", "--address", "auto")
    submit = [RAY, "job", "submit", "--address", cluster.jobs, "--working-dir", checkout, "--"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*submit, sys.executable, "-m", "tuner.run", *there, "--model", "mine:Mine", *SEARCH],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert search.table("trials", "run").best_validation_loss.notna().tolist() == [True]
    sent = {parts[0] for parts in unpacked(cluster, "working_dir_files")}
    assert sent == {*PACKAGES, "mine.py", "nets", "alone", ".gitignore"}


def unpacked(cluster: Cluster, kind: str) -> set[tuple[str, ...]]:
    """The files of all packages of that kind that the nodes were sent, each within its package."""
    return {
        path.relative_to(directory).parts[1:]
        for received in cluster.received
        for directory in received.rglob(kind)
        for path in directory.rglob("*")
        if path.is_file()
    } - {()}  # locks lie beside the packages
