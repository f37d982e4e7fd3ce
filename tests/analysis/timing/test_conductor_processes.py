"""Processes of their own: what each begins with, what goes wrong there, and how they end."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from safetensors.torch import save_file

from analysis.timing.subject_processes import SubjectProcess, close_all
from analysis.timing.subjects import DEFAULT, STEADY, Subject
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


def subject(function: str, environment: str = STEADY) -> Subject:
    name = f"{OWN}:{function}"
    return Subject(name=name, kind="own", engine="own", device="cpu", environment=environment)


def start(
    function: str, started: list[SubjectProcess], directory: Path, environment: str = STEADY
) -> SubjectProcess:
    started.append(SubjectProcess(subject(function, environment), 1, directory))
    return started[-1]


def child_of(process: SubjectProcess) -> int:
    """The number of its process."""
    (pid,) = process._pool._processes
    return int(pid)


@pytest.mark.parametrize("environment", [STEADY, DEFAULT])
def test_a_subject_is_checked_and_timed_in_a_process_of_its_own(
    environment: str, images_file: Path, started: list[SubjectProcess], tmp_path: Path
) -> None:
    own = start("right", started, tmp_path, environment)
    assert own.start("build_and_check", images_file).share_99 == 1.0
    child = child_of(own)
    assert child != os.getpid()
    assert own.call("turn", 10, 2, True).end_to_end_sec > 0
    assert child_of(own) == child
    close_all([own])
    until(lambda: not psutil.pid_exists(child))


@pytest.mark.skipif(sys.platform != "linux", reason="the environment is set for Linux alone")
def test_steady_processes_have_threads_that_sleep_and_keep_memory_and_default_ones_do_not(
    images_file: Path, started: list[SubjectProcess], tmp_path: Path
) -> None:
    said = {}
    for environment in (STEADY, DEFAULT):
        own = start("environment", started, tmp_path, environment)
        with pytest.raises(SubjectError) as error:
            own.start("build_and_check", images_file)
        said[environment] = str(error.value)
    assert said == {
        STEADY: "RuntimeError: GOMP_SPINCOUNT 0, memory kept: True",
        DEFAULT: "RuntimeError: GOMP_SPINCOUNT None, memory kept: False",
    }


COMMAND = """
import sys
from pathlib import Path

with open(sys.argv[1], "a") as known:
    known.write(f"{__name__}\\n")

from analysis.timing.subject_processes import SubjectProcess, close_all, main_left_out
from analysis.timing.subjects import Subject

if __name__ == "__main__":
    own = Subject(name="any", kind="own", engine="own", device="cpu", environment=sys.argv[2])
    process = SubjectProcess(own, 1, Path(sys.argv[1]).parent)
    with main_left_out():
        process._pool.submit(int).result()
    close_all([process])
"""


@pytest.mark.parametrize("environment", [STEADY, DEFAULT])
def test_processes_that_are_timed_do_not_import_the_command(
    environment: str, tmp_path: Path
) -> None:
    command, imported = tmp_path / "command.py", tmp_path / "imported"
    command.write_text(COMMAND)
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, command, imported, environment],
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert imported.read_text().split() == ["__main__"]


def test_two_processes_of_a_subject_are_two(
    images_file: Path, started: list[SubjectProcess], tmp_path: Path
) -> None:
    first, second = (start("right", started, tmp_path) for _ in range(2))
    for process in (first, second):
        process.start("build", images_file)
    assert child_of(first) != child_of(second)


def test_whatever_goes_wrong_in_a_subject_is_one_line_and_what_it_prints_is_not_seen(
    images_file: Path,
    started: list[SubjectProcess],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    own = start("right", started, tmp_path)
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
            own.start("build_and_check", images_file)
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
    idle = start("right", started, tmp_path)
    busy = start("endless", started, tmp_path, DEFAULT)  # a copy would not know the variable
    failures: list[SubjectError] = []

    def check() -> None:
        try:
            busy.start("build_and_check", images_file)
        except SubjectError as error:
            failures.append(error)

    thread = threading.Thread(target=check)
    thread.start()
    idle.start("build", images_file)
    until(lambda: marker.exists() and marker.read_text())
    both = [child_of(idle), int(marker.read_text())]
    assert both[1] == child_of(busy) != os.getpid()
    close_all(started)
    thread.join(60)
    assert not thread.is_alive()
    assert [str(failure) for failure in failures] == [
        "its process died, most likely for want of memory"
    ]
    until(lambda: not any(psutil.pid_exists(pid) for pid in both))


def test_processes_that_were_never_used_are_closed_too(
    started: list[SubjectProcess], tmp_path: Path
) -> None:
    close_all([start("right", started, tmp_path)])
    close_all([])
