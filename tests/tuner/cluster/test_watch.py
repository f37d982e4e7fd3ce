"""Ray's processes that are gone are noticed, and a moment's silence is no death."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray._private.worker

from analysis.console import Console
from tests.waiting import until
from tuner import run
from tuner.cluster import watch
from tuner.cluster.watch import GCS, RAYLET, Children, Joined, Watch
from tuner.storage.run_storage import RunStorage

SLEEPS = "import time; time.sleep(600)"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SEC", 0.001)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", SLEEPS]) as process:
        yield process
        process.kill()


def test_what_is_gone_at_three_looks_in_a_row_is_said_once() -> None:
    seen, looks = ["", GCS, GCS, "", GCS, GCS, GCS, GCS], 0
    said: list[tuple[str, int]] = []

    def missing() -> str:
        nonlocal looks
        looks += 1
        return seen[looks - 1]

    with Watch(missing, lambda name: said.append((name, looks))) as watching:
        watching._thread.join()
    assert said == [(GCS, 7)]


def test_when_the_search_ends_rays_processes_may() -> None:
    said: list[str] = []
    with Watch(lambda: "", said.append) as watching:
        pass
    watching._missing = lambda: GCS
    watching._thread.join()
    assert said == []


def test_a_child_that_has_ended_is_missing_though_nobody_has_waited_for_it(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        psutil.Process, "name", lambda self: RAYLET if self.pid == process.pid else ""
    )
    children = Children()
    assert children.missing() == ""
    process.kill()
    until(lambda: children.missing() == RAYLET)


def test_on_a_joined_cluster_the_raylet_of_this_machine_and_the_head_are_watched(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    joined = Joined()
    monkeypatch.setattr(ray._private.worker, "_global_node", None)
    assert joined.missing() == ""
    raylet = psutil.Process(process.pid)
    raylet.info = {"name": RAYLET, "cmdline": ["raylet", "--raylet_socket_name=/ours"]}
    other = SimpleNamespace(info={"name": RAYLET, "cmdline": ["raylet", "--raylet_socket_name=/"]})
    monkeypatch.setattr(psutil, "process_iter", lambda _: [other, raylet])
    with socket.create_server(("127.0.0.1", 0)) as head:
        node = SimpleNamespace(
            gcs_address=f"127.0.0.1:{head.getsockname()[1]}", raylet_socket_name="/ours"
        )
        monkeypatch.setattr(ray._private.worker, "_global_node", node)
        assert joined.missing() == ""
    assert joined.missing() == GCS
    process.kill()
    until(lambda: joined.missing() == RAYLET)


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        ([], "type the command again"),
        ([{}], "what is finished is kept; go on with: python -m tuner.run --resume r --storage D"),
    ],
    ids=["before the search began", "in the middle"],
)
def test_the_end_is_status_1_and_a_sentence_that_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rows: list[dict[str, object]],
    how: str,
) -> None:
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(RunStorage, "rows", lambda self, table: rows)
    run._end(RAYLET, RunStorage("D", "r"), Console())
    sentence = f"error: the search can't go on, since Ray's process raylet has ended; {how}\n"
    assert (statuses, capsys.readouterr().err) == ([1], sentence)
