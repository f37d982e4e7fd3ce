"""What sentences say of errors and of names that are not there, and how commands end."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainables.errors import (
    BUG,
    LONGEST,
    RUNS_LISTED,
    UsageError,
    at_once,
    cleaned,
    command,
    complain,
    cut,
    first_line,
    in_one_line,
    known_runs,
    last_line,
)


def test_an_error_is_said_by_its_first_or_its_last_line() -> None:
    error = RuntimeError("\nout of memory\n  at line 3\ncaused by: the card")
    assert first_line(error) == "out of memory"
    assert last_line(error) == "caused by: the card"


def test_an_error_without_text_is_said_by_its_class() -> None:
    assert first_line(KeyError()) == last_line(KeyError()) == "KeyError"


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def test_an_error_in_one_line_begins_with_its_class() -> None:
    assert in_one_line(KeyError("name")) == "KeyError: 'name'"
    assert in_one_line(SystemExit(3)) == "SystemExit: 3"
    assert in_one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert in_one_line(SilentError()) == "SilentError"


def test_what_is_said_of_an_error_goes_to_any_terminal_and_has_an_end() -> None:
    assert first_line(OSError("a \ud800 b \x00 c \x1b[2J ≥")) == r"a \ud800 b \x00 c \x1b[2J ≥"
    assert last_line("first\n" + "é" * 5_000_000) == "é" * LONGEST + " …"


def refuse(sentence: str) -> None:
    raise UsageError(sentence)


def test_all_mistakes_are_told_at_once_each_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert at_once(lambda: 1, lambda: None) == [1, None]
    checks = [lambda: 1, lambda: refuse("--data a: no"), lambda: refuse("--model b: no")]
    assert command()(lambda: at_once(*checks)[0])() == 2
    assert capsys.readouterr().err == "error: --data a: no\nerror: --model b: no\n"
    with pytest.raises(ZeroDivisionError):
        at_once(checks[1], lambda: 1 // 0)


def test_text_has_escapes_for_what_no_file_and_no_terminal_takes() -> None:
    text = "größer ≥ 0.95\tand\n\x1b[2J\x00\udcff\x85"
    assert cleaned(text) == "größer ≥ 0.95\tand\n" + r"\x1b[2J\x00\udcff\x85"


def test_of_a_long_text_both_ends_are_kept() -> None:
    assert cut("0123456789", 10) == "0123456789"
    assert cut("0123456789ab", 4) == "01 … 8 characters left out … ab"


def test_a_mistake_is_caught_where_a_value_error_is() -> None:
    with pytest.raises(ValueError, match="give 1"):
        raise UsageError("--samples 0: give 1 or more")


def test_a_wrong_name_is_answered_with_the_runs_that_there_are() -> None:
    folders = [Path("tables/runs/run=fc-2"), Path("run=fc-1")]
    assert known_runs(folders, "give a file") == "give one of fc-1, fc-2, or give a file"
    assert known_runs([], "give a file") == "there is none yet: give a file"


def test_of_many_runs_the_last_are_named() -> None:
    folders = [Path(f"run=fc-{number:03}") for number in range(200)]
    said = known_runs(folders, "give a file")
    assert said.startswith("give one of …, fc-190, ")
    assert said.count("fc-") == RUNS_LISTED


def test_what_a_command_returns_is_its_exit_status() -> None:
    assert command()(lambda status: status)(1) == 1


def test_a_mistake_is_one_sentence_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command()(raising)(UsageError("--samples 0: give 1 or more")) == 2
    assert capsys.readouterr() == ("", "error: --samples 0: give 1 or more\n")


def test_a_directory_that_was_deleted_is_told_before_anything_is_done_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert command()(raising)(AssertionError("it was begun")) == 2
    sentence = "the directory that this was typed in is not there any more: change to another one"
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_a_file_that_hides_an_installed_module_is_named_where_that_breaks_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ImportError("cannot import name 'Tensor' from 'torch'")
    monkeypatch.chdir(tmp_path)
    own = SimpleNamespace(__file__=f"{tmp_path}/of_ones_own.py")
    monkeypatch.setitem(sys.modules, "of_ones_own", own)
    assert command()(raising)(broken) == 1
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__file__=f"{tmp_path}/torch.py"))
    assert command()(raising)(ZeroDivisionError()) == 1
    assert capsys.readouterr().err.count(BUG) == 2
    assert command()(raising)(broken) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/torch.py is imported in place of the installed module of that name: "
        f"rename it, or type the command in another directory\n"
    )


def test_ctrl_c_says_what_was_kept_and_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(interrupted="Interrupted; all is kept.")(raising)(KeyboardInterrupt()) == 130
    assert command()(raising)(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("Interrupted; all is kept.\n", "")


@pytest.fixture
def usual_sigterm() -> Iterator[None]:
    """As in a process of a command's own: Ray may have been in this one, and leaves a handler."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("usual_sigterm")
def test_sigterm_ends_a_command_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    def terminated() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    assert command(interrupted="Interrupted; all is kept.")(terminated)() == 130
    assert capsys.readouterr() == ("Interrupted; all is kept.\n", "")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_sigterm_that_is_ignored_stays_so() -> None:
    def terminated() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert command()(terminated)() == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_library_s_error_is_a_bug_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert command()(raising)(ValueError("shapes do not match")) == 1
    printed, lines = capsys.readouterr()
    assert not printed
    assert lines.startswith("Traceback")
    assert "in raising" in lines
    assert lines.endswith(f"ValueError: shapes do not match\nerror: {BUG}\n")


def test_the_parser_s_own_exit_passes() -> None:
    with pytest.raises(SystemExit):
        command()(raising)(SystemExit(2))


def test_a_complaint_is_one_line_on_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ValueError("--samples [0]"))
    assert capsys.readouterr() == ("", "error: --samples [0]\n")


def raising(error: BaseException) -> int:
    raise error
