"""Lines of a search in a terminal and in a file; a notebook is in test_in_a_notebook."""

import sys

import pytest

from trainables.terminal import BLANK
from tuner.api import lines_shown
from tuner.api.lines_shown import shown_here


def test_in_a_terminal_a_line_takes_the_place_of_the_progress_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shown_here() as shown:
        shown.progress("half")
        shown.line("done")
        shown.progress("all")
    out, err = capsys.readouterr()
    assert out == "done\n"
    assert err == f"{BLANK}half{BLANK}{BLANK}all{BLANK}"


def test_a_file_gets_lines_and_a_progress_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(lines_shown.time, "monotonic", lambda: now)
    with shown_here() as shown:
        shown.progress("too soon")
        shown.line("first")
        now = lines_shown.PLAIN_PROGRESS_SEC
        shown.progress("due")
        shown.progress("too soon again")
    out, err = capsys.readouterr()
    assert (out, err) == ("first\ndue\n", "")
