"""What a person sees, in a file and in a terminal."""

import os
import pty
import shlex
import subprocess
import sys

import pytest

from analysis import console
from analysis.console import Console, command_text, hyperparameters, perceptual


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "an [red]error[/red] in [/tmp/x]",
        "x" * 300,
        "",
        pytest.param("a :key: and :bug:"),
        pytest.param("[a] C:\\"),
    ],
)
def test_a_line_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Console().line(text, style="red")
    assert capsys.readouterr().out == text + "\n"


def test_a_table_in_a_file_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["", "≥ 0.95", "4 seeds, mean ± sd", "≥ 0.99", "mean cosine", "parameters"]
    row = [
        "resized and grey, not flipped [floor]",
        "12.34 %",
        "99.11 ± 0.12 %",
        "9.00 %",
        "0.9999",
        "1,234,567",
    ]
    Console().table("share of images", columns, [row, ["fc", *row[1:]]])
    title, head, first, second = capsys.readouterr().out.splitlines()
    assert title.strip() == "share of images"
    assert all(name in head for name in columns)
    assert all(cell in first for cell in row)
    assert second.startswith("fc ")
    assert first.rstrip().endswith("1,234,567")
    assert first.index("12.34") == second.index("12.34")
    assert head.index("≥ 0.95") + len("≥ 0.95") == first.index("12.34 %") + len("12.34 %")


def test_a_table_in_a_narrow_terminal_breaks_names_and_cuts_no_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    narrow = Console()
    narrow._rich.width = 80
    columns = ["", "≥ 0.95", "2 seeds, mean ± sd", "≥ 0.99", "mean cosine", "parameters"]
    row = ["57.93 %", "53.98 ± 5.59 %", "11.45 %", "0.9480", "494,480"]
    narrow.table("share of images", columns, [["pipeline's own matrix (ceiling)", *row]])
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert all(cell in shown for cell in [*columns, *row, "pipeline's own", "matrix (ceiling)"])


def test_progress_into_a_file_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Console() as quiet:
        for _ in range(100):
            quiet.progress("working")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(console, "PLAIN_PROGRESS_SEC", 0.0)
    with Console() as talking:
        talking.progress("1/2 done")
        talking.progress("2/2 done")
    assert capsys.readouterr().out == "1/2 done\n2/2 done\n"


def test_a_progress_line_is_due_again_when_its_time_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with Console() as one:
        due = [one.progress_is_due]
        now += console.PLAIN_PROGRESS_SEC
        due.append(one.progress_is_due)
        one.progress("1/2 done")
        due.append(one.progress_is_due)
    assert due == [False, True, False]


IN_A_TERMINAL = """
from analysis.console import Console
with Console() as console:
    console.progress("1 of 2")
    console.line("trial 0 ended")
    console.progress("2 of 2")
console.line("all done")
"""


def shown_in_a_terminal(code: str) -> bytes:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=slave, stdin=slave, stderr=slave, env=environment
    ) as child:
        os.close(slave)
        shown = b""
        while chunk := _read(master):
            shown += chunk
    os.close(master)
    assert child.returncode == 0
    return shown


def test_in_a_terminal_progress_gives_way_to_lines() -> None:
    shown = shown_in_a_terminal(IN_A_TERMINAL)
    places = [shown.index(text) for text in (b"1 of 2", b"trial 0 ended", b"2 of 2", b"all done")]
    assert places == sorted(places)
    assert b"\x1b[2K" in shown, "the progress line is erased"


QUIET = """
import sys
from analysis.console import Console
with Console() as console:
    print("a bar of another's", end="\\r")
    print("half of it", file=sys.stderr, end="\\r")
"""


def test_in_a_terminal_nothing_is_drawn_before_the_first_progress() -> None:
    assert shown_in_a_terminal(QUIET) == b"a bar of another's\rhalf of it\r"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def test_hyperparameters_leave_out_a_dropout_that_is_not_there() -> None:
    row = {"learning_rate": 0.00123, "dropout": 0.25, "patience": 4, "parameters": None}
    assert hyperparameters(row) == "lr 1.23e-03, dropout 0.250, patience 4"
    assert hyperparameters({**row, "dropout": None}) == "lr 1.23e-03, patience 4"


def test_hyperparameters_are_whatever_the_run_searched() -> None:
    row = {"learning_rate": 0.00123, "dropout": None, "patience": 4}
    more = '{"hidden": 4096, "kind": "relu", "deep": true, "weight_decay": 1e-05, "slope": 0.125}'
    assert hyperparameters({**row, "parameters": more}) == (
        "lr 1.23e-03, patience 4, hidden 4096, kind relu, deep true, weight decay 1.00e-05, "
        "slope 0.125"
    )


def test_a_loss_that_is_searched_is_the_first_hyperparameter() -> None:
    row = {
        "loss": "perceptual",
        "learning_rate": 0.00123,
        "dropout": None,
        "patience": 4,
        "parameters": None,
    }
    assert hyperparameters(row, loss=True) == "perceptual loss, lr 1.23e-03, patience 4"


def test_a_perceptual_loss_is_told_with_layers_weights_and_size() -> None:
    config = {
        "perceptual_layers": [2, 7],
        "perceptual_weights": [1.0, 0.5],
        "mse_weight": 2.0,
        "perceptual_size": 64,
    }
    assert perceptual({**config, "vgg_weights": "file"}) == (
        "2 × MSE, and layers 2, 7 of VGG16 (file, 64 × 64 pixels) weighted 1, 0.5"
    )


def test_the_default_storage_is_not_typed() -> None:
    assert command_text("analysis.report", "fc-1") == "python -m analysis.report fc-1"
    assert command_text("analysis.report", "fc-1", storage="results") == (
        "python -m analysis.report fc-1"
    )


def test_a_shell_reads_back_what_was_meant() -> None:
    line = command_text("tuner.run", "--data", "my images", storage="/mnt/a $b")
    words = ["python", "-m", "tuner.run", "--data", "my images", "--storage", "/mnt/a $b"]
    assert shlex.split(line) == words
