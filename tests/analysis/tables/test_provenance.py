"""What a run says of the code and the machine."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import pytest

from analysis.tables import provenance
from analysis.tables.provenance import code_version, cpu_model, versions


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which the package lies, in no repository yet."""
    (tmp_path / "analysis").mkdir()
    code = tmp_path / "analysis" / "provenance.py"
    code.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(code))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_versions_are_those_that_are_installed() -> None:
    told = versions()
    assert told["python"] == platform.python_version()
    for package in ("torch", "ray", "optuna", "wandb", "transform-tuner"):
        assert told[package] == importlib.metadata.version(package)


def test_code_outside_of_a_checkout_has_no_commit(checkout: Path) -> None:
    assert code_version() == (None, None)


def test_a_checkout_tells_its_commit_and_whether_the_code_differs(checkout: Path) -> None:
    git(checkout, "init", "-q")
    git(checkout, "add", "analysis")
    git(checkout, "commit", "-q", "-m", "all")
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "untracked").write_text("")
    assert code_version() == (commit, False)
    (checkout / "analysis" / "provenance.py").write_text("changed")
    assert code_version() == (commit, True)


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == (None, None)


def test_the_processor_has_a_name() -> None:
    assert cpu_model().strip()
    if "model name" in Path("/proc/cpuinfo").read_text():
        assert cpu_model() in Path("/proc/cpuinfo").read_text()
