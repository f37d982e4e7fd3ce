"""Ctrl-C where Python, a library or Ray Tune would drop it."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from ray._private import utils
from ray.tune.tune import _setup_signal_catching

from tests.paths import ROOT
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import simulated
from trainables.data.images import Images
from tuner import interrupts, run
from tuner.cluster import connect
from tuner.settings import SearchConfig


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Imports a module of this text, as `pressed`."""

    def import_it(text: str) -> None:
        (tmp_path / "pressed.py").write_text(text)
        importlib.import_module("pressed")

    monkeypatch.syspath_prepend(tmp_path)
    yield import_it
    sys.modules.pop("pressed", None)


PRESS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


def test_a_ctrl_c_during_an_import_comes_when_the_import_is_over(
    module: Callable[[str], None],
) -> None:
    with interrupts.noted():
        module(PRESS + "import time\ntime.sleep(0.2)\n")
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    assert "pressed" in sys.modules


def test_a_second_ctrl_c_ends_an_import_too_and_nothing_comes_after_it(
    module: Callable[[str], None],
) -> None:
    with interrupts.noted():
        with pytest.raises(KeyboardInterrupt):
            module(PRESS + PRESS)
        time.sleep(3 * interrupts.AGAIN_SEC)
    assert "pressed" not in sys.modules


def test_a_sigterm_during_an_import_comes_when_the_import_is_over_too(
    module: Callable[[str], None],
) -> None:
    with interrupts.noted():
        module(PRESS.replace("SIGINT", "SIGTERM"))
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    assert "pressed" in sys.modules


SENT_DURING_AN_IMPORT = """
import os, sys

class Sender:
    def find_spec(self, name, *_):
        if name == "tuner.planning.plan":
            os.kill(os.getpid(), NUMBER)

sys.meta_path.insert(0, Sender())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "typed", [("-m", "tuner.run"), ("-c", "from tuner import command; command.main()", "run")]
)
def test_either_signal_while_python_imports_the_command_ends_it_with_a_sentence(
    tmp_path: Path, number: signal.Signals, typed: tuple[str, ...]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        SENT_DURING_AN_IMPORT.replace("NUMBER", str(int(number)))
    )
    ended = subprocess.run(
        [sys.executable, *typed, "--model", "fc"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, f"{interrupts.EARLY_END}\n", "")


def test_what_ends_an_import_is_not_left_where_the_command_has_ended() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    interrupts.end_early()
    with interrupts.noted():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_ctrl_c_that_is_dropped_while_the_search_starts_still_ends_it(
    command: Command, few_images: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(*_: object, **__: object) -> None:
        with suppress(KeyboardInterrupt):
            press_ctrl_c()

    monkeypatch.setattr(connect, "prepare_environment", deaf)
    with simulated():
        status, output = command.call("--name", "run", "--model", "separable", *few_images)
    assert status == 130, output
    assert not (command.storage / "tables" / "trials").exists()


def test_what_goes_wrong_after_a_ctrl_c_is_taken_for_it() -> None:
    def break_off() -> None:
        try:
            press_ctrl_c()
        finally:
            raise AttributeError("partially initialized module")

    with pytest.raises(KeyboardInterrupt), interrupts.noted():
        break_off()
    with pytest.raises(AttributeError), interrupts.noted():
        raise AttributeError("a bug")


def test_the_handler_of_sigterm_that_rays_cpp_sets_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = signal.getsignal(signal.SIGTERM)

    def start(**options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.setattr(ray, "init", start)
    connect.init()
    assert signal.getsignal(signal.SIGTERM) is ours


def test_where_the_import_of_ray_was_broken_off_there_is_nothing_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "ray")
    connect.stop()
    assert "ray" not in sys.modules


def test_ctrl_c_works_again_after_a_search_that_tune_ended_by_itself() -> None:
    with interrupts.noted():
        with interrupts.left_to_tune():
            _setup_signal_catching()
        interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_a_ctrl_c_that_comes_as_tune_ends_is_not_lost() -> None:
    with interrupts.noted():
        with interrupts.left_to_tune():
            _setup_signal_catching()
            press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


def test_where_a_person_keeps_ctrl_c_from_tune_it_stays_so_and_is_not_taken_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(interrupts.KEPT_FROM_TUNE, "1")
    before = signal.getsignal(signal.SIGUSR1)
    with interrupts.noted():
        with interrupts.left_to_tune():
            _setup_signal_catching()
        interrupts.check()
    assert os.environ[interrupts.KEPT_FROM_TUNE] == "1"
    assert signal.getsignal(signal.SIGUSR1) is before


def test_signals_are_python_s_own_again_afterwards() -> None:
    both = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in both]
    with interrupts.noted():
        assert not set(map(signal.getsignal, both)) & set(before)
    assert [signal.getsignal(number) for number in both] == before


@pytest.mark.parametrize("pressed", [("SIGTERM",), ("SIGINT",), ("SIGINT", "SIGINT")])
@pytest.mark.parametrize("loads", [False, True], ids=["when all is loaded", "while it loads"])
def test_signals_while_ray_starts_end_it_at_once_with_status_130_and_a_sentence(
    command: Command,
    few_images: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    pressed: tuple[str, ...],
    loads: bool,
) -> None:
    loaded, may_go_on = threading.Event(), threading.Event()

    def load(config: SearchConfig, images: Images, *others: object) -> None:
        loaded.set()
        if loads:
            may_go_on.wait()

    def start(**options: object) -> None:
        utils.set_sigterm_handler(lambda *_: sys.exit(15))  # as Ray does, in Python
        loaded.wait()
        try:
            os.kill(os.getpid(), signal.Signals[pressed[0]])
            time.sleep(10)
        finally:  # whoever cleans up is met by the second one
            for again in pressed[1:]:
                os.kill(os.getpid(), signal.Signals[again])

    monkeypatch.setattr(run, "load", load)
    with simulated(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "init", start)
        status, output = command.call("--model", "separable", *few_images)
    may_go_on.set()  # only now: nobody has waited for it
    assert (status, output) == (130, f"{interrupts.EARLY_END}\n")


def test_a_command_that_was_started_to_ignore_ctrl_c_ignores_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.noted():
            press_ctrl_c()
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("sent", "ended"), [(signal.SIGINT, "and goes on"), (signal.SIGTERM, "and ends")]
)
def test_a_search_that_was_started_to_ignore_ctrl_c_ignores_it_while_tune_runs_too(
    command: Command, few_images: tuple[str, ...], sent: signal.Signals, ended: str
) -> None:
    budget = ("--model", "separable", "--samples", "3", "--max-epochs", "3", "--finalists", "1")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with simulated() as ray:
            moments = []

            def send_once(what: str, trial: object) -> None:
                moments.append(what)
                if len(moments) == 2:
                    os.kill(os.getpid(), sent)

            ray.moment = send_once
            status, output = command.call("--name", "run", *budget, *few_images)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status == 0) == (ended == "and goes on"), output
    if status:
        assert (status, "Interrupted. What is finished is kept" in output) == (130, True)
        assert len(command.table("trials", "run")) < 3
