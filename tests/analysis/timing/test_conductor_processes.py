import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from safetensors.torch import save_file

from analysis.timing import conductor
from analysis.timing.conductor import SubjectProcess, close_all
from analysis.timing.subjects import Subject
from analysis.timing.worker import SubjectError
from tests.trainables.made_up import photographs
from tests.waiting import until

OWN = "tests.analysis.timing.own_subjects"


@pytest.fixture(scope="module")
def images_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    examples = photographs(20)
    path = tmp_path_factory.mktemp("images") / "images.safetensors"
    save_file({"images": examples.images, "targets": examples.targets}, path)
    return path


@pytest.fixture
def started() -> Iterator[list[SubjectProcess]]:
    processes: list[SubjectProcess] = []
    yield processes
    close_all(processes)


def subject(function: str) -> Subject:
    return Subject(name=f"{OWN}:{function}", kind="own", engine="own", device="cpu")


def start(function: str, started: list[SubjectProcess]) -> SubjectProcess:
    started.append(SubjectProcess(subject(function), threads=1))
    return started[-1]


def test_a_subject_is_checked_and_timed_in_a_process_of_its_own(
    images_file: Path, started: list[SubjectProcess]
) -> None:
    own = start("right", started)
    before = children()
    assert own.prepare(images_file).share_99 == 1.0
    (child,) = (
        pid
        for pid in children() - before
        if "spawn_main" in " ".join(psutil.Process(pid).cmdline())
    )
    assert own.call("warm_up", 10, 10.0).images == 20
    assert own.call("measure", 10).end_to_end_sec > 0
    assert psutil.pid_exists(child)
    close_all([own])
    assert not psutil.pid_exists(child)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_whatever_goes_wrong_in_a_subject_is_one_line_and_what_it_prints_is_not_seen(
    images_file: Path, started: list[SubjectProcess], capfd: pytest.CaptureFixture[str]
) -> None:
    own = start("right", started)
    messages = {
        "raises": "RuntimeError: 20 images are not to its liking",
        "raises_value_error": "ValueError: not with these images",
        "raises_peculiar": "PeculiarError: 20 images, not to its liking",
        "leaves": "SystemExit: 3",
        "interrupts": "KeyboardInterrupt",
        "killed": "its process died, most likely for want of memory",  # the last that it can say
    }
    for function, message in messages.items():
        own.subject = subject(function)
        with pytest.raises(SubjectError) as error:
            own.prepare(images_file)
        assert str(error.value) == message
    assert capfd.readouterr() == ("", "")


def test_a_busy_process_is_ended_by_force_and_idle_ones_are_ended_with_it(
    images_file: Path,
    started: list[SubjectProcess],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    marker = tmp_path / "began"
    monkeypatch.setenv("OWN_SUBJECTS_MARKER", str(marker))
    monkeypatch.setattr(conductor, "GRACE_SEC", 0.2)
    before = children()
    idle, busy = start("right", started), start("endless", started)
    failures: list[SubjectError] = []

    def prepare() -> None:
        try:
            busy.prepare(images_file)
        except SubjectError as error:
            failures.append(error)

    thread = threading.Thread(target=prepare)
    thread.start()
    idle.prepare(images_file)
    until(lambda: marker.exists() and marker.read_text())
    busy_child = int(marker.read_text())
    assert busy_child in children()
    assert busy_child != os.getpid()
    close_all(started)
    thread.join(60)
    assert not thread.is_alive()
    assert [str(failure) for failure in failures] == [
        "its process died, most likely for want of memory"
    ]
    psutil.wait_procs(
        [psutil.Process(pid) for pid in children() - before if pid == busy_child], timeout=60
    )
    left = [" ".join(psutil.Process(pid).cmdline()) for pid in children() - before]
    assert not [line for line in left if "spawn_main" in line]


def test_processes_that_were_never_used_are_closed_too(started: list[SubjectProcess]) -> None:
    close_all([start("right", started)])
    close_all([])
