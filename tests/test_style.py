"""Lint, format and types, beside the other tests.

mypy takes most of a minute when it begins anew, and has one core of two to itself only here.
"""

import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.parametrize("tool", ["mypy", "ruff check .", "ruff format --check ."])
def test_nothing_is_left_to_complain_about(tool: str) -> None:
    command = [sys.executable, "-m", *tool.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
