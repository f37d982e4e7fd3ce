"""The wheel, installed into an environment of its own, works where no checkout is.

That environment has nothing but the wheel. It finds the packages that the project needs in the
environment that the tests run in, through a `.pth` file. The editable installation there is not
found that way: it is a `.pth` file itself, and Python reads those only in an environment's own
directory. So nothing is downloaded, and no file of the checkout can be imported.

    make test-wheel
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

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
from tests.tutorial import blocks
from tuner.cluster.runtime_env import PACKAGES
from tuner.command import COMMANDS

SITE_PACKAGES = f"lib/python{sysconfig.get_python_version()}/site-packages"
TINY = shlex.split(
    "--model separable --data photos --images 2000 --samples 2 --max-epochs 1 --finalists 1 "
    "--timing none --wandb disabled"
)
CANNOT_HIDE = cannot_hide()
ADDRESS = re.compile(r"http://[\d.]+:\d+\S*")


@dataclass(frozen=True)
class Installed:
    environment: Path
    """A virtual environment with the wheel."""
    elsewhere: Path
    """A directory without a checkout, in which commands are typed."""

    def run(self, *arguments: str) -> str:
        """Run the command of the environment; what it printed."""
        return self._output(self.environment / "bin" / "transform-tuner", *arguments)

    def python(self, program: str) -> str:
        """Run a program as a person would who saved it here; what it printed."""
        (self.elsewhere / "program.py").write_text(program)
        return self._output(self.environment / "bin" / "python", "program.py")

    def look_at_dashboard(self) -> None:
        """Start it, read its first page, and end it as Ctrl-C does."""
        command = [self.environment / "bin" / "transform-tuner", "dashboard", "--port", "0"]
        options: dict[str, Any] = {"cwd": self.elsewhere, "env": self._variables(), "text": True}
        with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as process:
            address = next(filter(None, map(ADDRESS.search, process.stdout or ())))[0]
            with urlopen(address) as page:
                assert "first" in page.read().decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0

    def _output(self, *command: str | Path) -> str:
        done = subprocess.run(
            command,
            cwd=self.elsewhere,
            env=self._variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @staticmethod
    def _variables() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def table(self, table: str, run: str) -> pd.DataFrame:
        return pd.read_parquet(self.elsewhere / "results" / "tables" / table / f"run={run}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, and that from a copy: setuptools leaves files there."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    sdist = "import sys, setuptools.build_meta as backend; print(backend.build_sdist(sys.argv[1]))"
    command = [sys.executable, "-c", sdist, built]
    done = subprocess.run(command, cwd=source, stdout=subprocess.PIPE, text=True, check=True)
    packed = built / done.stdout.split()[-1]
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(packed))
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
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    meta = f"transform_tuner-{version}.dist-info"
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


def test_every_block_of_the_tutorial_works_where_no_checkout_is(installed: Installed) -> None:
    printed = []
    for block in blocks():
        if block.title:
            (installed.elsewhere / block.title).write_text(block.text)
        elif block.language == "python":
            printed.append(installed.python(block.text))
        elif block.text.strip() == "transform-tuner dashboard":
            installed.look_at_dashboard()
        else:
            printed += [installed.run(*rest) for command, *rest in block.commands]
    task, search, report, difference, tables = printed
    assert "Grayscale → GaussianBlur → Resize" in task
    assert "Best: trial" in search
    assert report.startswith("Report   results/reports/first/report.html")
    assert float(difference.removeprefix("largest difference: ")) < 0.05
    assert "best_validation_loss" in tables
    (run,) = installed.table("runs", "first").to_dict("records")
    assert run["command"].startswith("python -m tuner.run --pipeline my_transforms.py:preprocess")
    assert pd.isna(run["commit"])  # as everywhere outside a checkout
    page = installed.elsewhere / "results" / "reports" / "first" / "report.html"
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
