"""The wheel, installed into an environment of its own, works where no checkout is.

That environment has nothing but the wheel. It finds the packages that the project needs in the
environment that the tests run in, through a `.pth` file. The editable installation there is not
found that way: it is a `.pth` file itself, and Python reads those only in an environment's own
directory. So nothing is downloaded, and no file of the checkout can be imported.

    make test-wheel
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.paths import ROOT
from tests.tuner.nodes import (
    cannot_hide,
    free_port,
    head,
    hidden_from_nodes,
    own_token,
    ray_start,
    short_directory,
    without,
)
from tuner.cluster.runtime_env import PACKAGES
from tuner.command import COMMANDS

SITE_PACKAGES = f"lib/python{sysconfig.get_python_version()}/site-packages"
TINY = shlex.split(
    "--model separable --data photos --images 2000 --samples 2 --max-epochs 1 --finalists 1 "
    "--timing none --wandb disabled"
)
CANNOT_HIDE = cannot_hide()


@dataclass(frozen=True)
class Installed:
    environment: Path
    """A virtual environment with the wheel."""
    elsewhere: Path
    """A directory without a checkout, in which commands are typed."""

    def run(self, *arguments: str) -> str:
        """Run the command of the environment; what it printed."""
        return self._run("transform-tuner", *arguments)

    def python(self, code: str) -> str:
        """Run lines of Python in the environment; what they printed."""
        return self._run("python", "-c", code)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self.environment / "bin" / program, *arguments],
            cwd=self.elsewhere,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def table(self, table: str, run: str) -> pd.DataFrame:
        return pd.read_parquet(self.elsewhere / "results" / "tables" / table / f"run={run}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves `build` beside the source, and takes from it again."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(source))
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = tmp_path_factory.mktemp("installed") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    pip("--python", str(environment / "bin" / "python"), "install", "--no-deps", str(wheel))
    dependencies = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (environment / SITE_PACKAGES / "dependencies.pth").write_text("\n".join(dependencies))
    return Installed(environment, tmp_path_factory.mktemp("elsewhere"))


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_wheel_holds_every_file_of_the_packages_and_the_licence(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}
    meta = "transform_tuner-0.1.0.dist-info"
    described = {f"{meta}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "top_level.txt")}
    assert held == {
        *expected,
        *described,
        f"{meta}/entry_points.txt",
        f"{meta}/licenses/LICENSE",
    }
    assert {
        "analysis/dashboard/static/page.js",
        "analysis/report/page.html",
        "tuner/py.typed",
    } <= held


def test_an_installed_search_and_its_report_need_no_checkout(installed: Installed) -> None:
    output = installed.run("run", *TINY, "--name", "tiny")
    assert "Best: trial" in output
    (run,) = installed.table("runs", "tiny").to_dict("records")
    assert run["command"].startswith("python -m tuner.run --model separable")
    assert pd.isna(run["commit"])  # as everywhere outside a checkout
    installed.run("report", "tiny")
    page = installed.elsewhere / "results" / "reports" / "tiny" / "report.html"
    assert page.read_text().count("data:image/svg+xml") == len(list(page.parent.glob("*.svg"))) > 4


FIVE_LINES = """
from torchvision.transforms import v2
from tuner import search
preprocess = v2.Compose([v2.Resize(24), v2.Grayscale()])
result = search(pipeline=preprocess, data="photos", model="separable", **TINY)
print(result)
"""
TINY_IN_PYTHON = {
    **{"images": 2000, "samples": 2, "max_epochs": 1, "finalists": 1},
    **{"timing": "none", "wandb": "disabled"},
}


def test_five_lines_of_python_search_for_a_pipeline_of_one_s_own(installed: Installed) -> None:
    output = installed.python(f"TINY = {TINY_IN_PYTHON}\n{FIVE_LINES}")
    assert "separable does not replace Compose" in output or "replaces Compose" in output
    (kept,) = installed.elsewhere.glob("results/own/Compose_*.py")
    assert f"{kept.relative_to(installed.elsewhere)}:Compose takes a PIL image" in output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_installed_command_explains_each_of_its_sub_commands(
    name: str, installed: Installed
) -> None:
    assert installed.run(name, "--help").startswith(f"usage: transform-tuner {name} ")
    assert f"  {name} " in installed.run("--help")


@pytest.mark.skipif(CANNOT_HIDE is not None, reason=CANNOT_HIDE or "")
def test_an_installed_search_sends_its_packages_to_a_node_that_has_none(
    installed: Installed, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    node = without(*hidden_from_nodes(), empty=empty)
    with ExitStack() as stack:
        stack.enter_context(own_token())
        address = stack.enter_context(head("--num-cpus=0", port=free_port()))
        received = stack.enter_context(short_directory())
        flags = (f"--address={address}", "--num-cpus=1", f"--temp-dir={received}")
        stack.enter_context(ray_start(*flags, cwd=empty, within=node))
        installed.run("run", *TINY, "--address", address, "--name", "sent")
        assert installed.table("trials", "sent").best_validation_loss.notna().all()
        (unpacked,) = Path(received).rglob("py_modules_files")
        assert {path.parent.name for path in unpacked.glob("*/*/__init__.py")} == {*PACKAGES}
