"""Ctrl-C where Python, a library or Ray Tune would drop it."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ray.tune.tune import _setup_signal_catching

from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import simulated
from tuner import interrupts
from tuner.cluster import connect


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
    before = signal.getsignal(signal.SIGTERM)
    try:
        with interrupts.noted():
            interrupts.take_sigterm()
            module(PRESS.replace("SIGINT", "SIGTERM"))
            with pytest.raises(KeyboardInterrupt):
                time.sleep(10)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "pressed" in sys.modules


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


def test_ctrl_c_is_python_s_own_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts.noted():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_command_that_was_started_to_ignore_ctrl_c_ignores_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.noted():
            press_ctrl_c()
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)
