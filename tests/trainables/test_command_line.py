"""Every command ends alike: a mistake, Ctrl-C and a bug each in their own way."""

import pytest

from trainables.errors import BUG, UsageError, command, complain


def test_what_a_command_returns_is_its_exit_status() -> None:
    assert command()(lambda status: status)(1) == 1


def test_a_mistake_is_one_sentence_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command()(raising)(UsageError("--samples 0: give 1 or more")) == 2
    assert capsys.readouterr() == ("", "error: --samples 0: give 1 or more\n")


def test_ctrl_c_says_what_was_kept_and_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(interrupted="Interrupted; all is kept.")(raising)(KeyboardInterrupt()) == 130
    assert command()(raising)(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("Interrupted; all is kept.\n", "")


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
