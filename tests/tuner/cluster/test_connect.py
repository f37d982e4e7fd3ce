"""Ray that is slow to start on this machine is waited for; one that never comes ends it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT
from tuner.cluster import connect
from tuner.cluster.connect import PATIENCE, RayStartError

COMES_LATE = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from analysis.console import Console
from tuner.cluster import connect

connect.prepare_environment(verbose=False)
import ray
from ray._private import node, services

late, may_come = sys.argv[1:]
get_node = services.get_node


def ask(*where):
    try:
        return get_node(*where)
    except RuntimeError:
        Path(may_come).touch()
        raise


services.RAYLET_EXECUTABLE, services.get_node = late, ask
# On Ray's own clock its 30 s are over at once
node.time = SimpleNamespace(**{**vars(time), "monotonic": lambda: 1000 * time.monotonic()})
connect.SLOW_SEC = 0
connect.start(Console(), dashboard=False, verbose=False)
print(ray.is_initialized())
connect.stop()
"""
DIES = """
import sys
from ray._private import services
from tuner.run import main

services.RAYLET_EXECUTABLE = sys.argv.pop(1)
sys.exit(main())
"""


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, **PATIENCE},  # which Ray reads when it is imported
        capture_output=True,
        text=True,
    )


def script(path: Path, *lines: str) -> str:
    """Write a script named raylet, as Ray's own process is."""
    path.mkdir()
    raylet = path / "raylet"
    raylet.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    raylet.chmod(0o755)
    return str(raylet)


def test_a_raylet_that_comes_after_rays_own_patience_is_waited_for_and_a_line_says_so(
    tmp_path: Path,
) -> None:
    from ray._private.services import RAYLET_EXECUTABLE

    may_come = tmp_path / "may-come"
    late = script(
        tmp_path / "late",
        f'until [ -e "{may_come}" ]; do sleep 0.1; done',
        f'exec {RAYLET_EXECUTABLE} "$@"',
    )
    done = run_python(COMES_LATE, late, str(may_come))
    slow = "Ray is slow to start on this machine; waiting up to 5 minutes for it"
    assert (done.stdout, done.stderr) == (f"{slow}\nTrue\n", "")


def test_a_raylet_that_dies_ends_the_command_with_one_sentence_and_status_1(
    few_images: tuple[str, ...], tmp_path: Path
) -> None:
    dead = script(tmp_path / "dead", "exit 1")
    done = run_python(DIES, dead, "--storage", str(tmp_path / "results"), *few_images)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: Ray does not start on this machine (its process raylet has ended); its logs are in "
    )
    assert done.stderr.count("\n") == 1


def test_what_does_not_answer_in_minutes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def silent(question: str) -> None:
        asked.append(question)
        raise RuntimeError("not yet")

    monkeypatch.setattr(connect, "_lives", lambda process: len(asked) < 3)
    monkeypatch.setattr(connect, "POLL_SEC", 0)
    with pytest.raises(RayStartError, match="its process gcs_server has ended"):
        connect._patiently(silent, "gcs_server", time.monotonic() + 1e6)("port?")
    assert asked == ["port?"] * 3
    asked.clear()
    with pytest.raises(RayStartError, match="gcs_server has not answered in 5 minutes"):
        connect._patiently(silent, "gcs_server", 0)("port?")
