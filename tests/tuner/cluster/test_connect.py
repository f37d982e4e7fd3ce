"""Ray that is slow to start on this machine is waited for; one that never comes ends it."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.console import Console
from tests.paths import ROOT
from tests.tuner.nodes import own_token
from tuner.cluster import connect
from tuner.cluster.connect import RayStartError

DIES = """
import sys
import ray._private.services
ray._private.services.RAYLET_EXECUTABLE = sys.argv.pop(1)
from tuner.run import main
sys.exit(main())
"""


class FirstLine(Console):
    """Makes a file when the first line is printed, and keeps the lines."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.lines: list[str] = []

    def line(self, text: str = "", style: str = "") -> None:
        self.lines.append(text)
        self.file.touch()


def script(path: Path, *lines: str) -> str:
    """Write a script named raylet, as Ray's own process is."""
    path.mkdir()
    raylet = path / "raylet"
    raylet.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    raylet.chmod(0o755)
    return str(raylet)


def test_a_raylet_that_comes_after_rays_own_patience_is_waited_for_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray._private import node, services

    may_come = tmp_path / "may-come"
    late = script(
        tmp_path / "late",
        f'until [ -e "{may_come}" ]; do sleep 0.1; done',
        f'exec {services.RAYLET_EXECUTABLE} "$@"',
    )
    monkeypatch.setattr(services, "RAYLET_EXECUTABLE", late)
    # On Ray's own clock its 30 s are over at once
    hurried = {**vars(time), "monotonic": lambda: 1000 * time.monotonic()}
    monkeypatch.setattr(node, "time", SimpleNamespace(**hurried))
    monkeypatch.setattr(connect, "SLOW_SEC", 0.5)
    console = FirstLine(may_come)
    with own_token():
        try:
            connect.start(console, dashboard=False, verbose=False)
            assert ray.is_initialized()
        finally:
            connect.stop()
    assert console.lines == ["Ray is slow to start on this machine; waiting up to 5 minutes for it"]


def test_a_raylet_that_dies_ends_the_command_with_one_sentence_and_status_1(tmp_path: Path) -> None:
    dead = script(tmp_path / "dead", "exit 1")
    run = ("--storage", str(tmp_path / "results"), "--data", "photos", "--model", "separable")
    done = subprocess.run(
        [sys.executable, "-c", DIES, dead, *run], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
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
