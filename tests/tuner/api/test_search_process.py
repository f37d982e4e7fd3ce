"""A command in a process of its own: lines, endings and signals come through."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from trainables.errors import UsageError
from tuner.api.search_process import SearchError, follow

BEFORE_PYTHON_STARTED = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGINT)
"""


class Noted:
    """Notes what it is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.progressed: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, text: str) -> None:
        self.progressed.append(text)


def run(tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch, shown: Noted) -> None:
    (tmp_path / "made_command.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    follow("made_command", ["a b", "--c"], shown)


def test_lines_and_progress_come_with_arguments_and_characters_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a kernel of Jupyter does
    code = (
        "import sys, os\nprint(sys.argv[1:], '≥')\nprint('\\rhalf', flush=True)\n"
        "print(os.environ.get('FORCE_COLOR'), file=sys.stderr)\nprint('end', end='')"
    )
    shown = Noted()
    run(tmp_path, code, monkeypatch, shown)
    assert shown.lines == ["['a b', '--c'] ≥", "None", "end"]
    assert shown.progressed == ["half"]


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        ("print('error: no\\nerror: nor this'); exit(2)", UsageError, "^no\nnor this$"),
        ("print('error: full'); exit(1)", SearchError, "^full$"),
        ("exit(7)", SearchError, "^made_command ended with exit status 7, and said nothing of it$"),
        ("import os; os.kill(os.getpid(), 9)", SearchError, "ended by SIGKILL"),
        ("exit(130)", KeyboardInterrupt, None),
        (BEFORE_PYTHON_STARTED, KeyboardInterrupt, None),
    ],
)
def test_an_exit_status_is_an_exception_with_the_command_s_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    kind: type[BaseException],
    told: str | None,
) -> None:
    shown = Noted()
    with pytest.raises(kind, match=told):
        run(tmp_path, code, monkeypatch, shown)
    assert shown.lines == []


def test_ctrl_c_goes_to_the_process_and_its_last_lines_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Noted):
        def line(self, text: str) -> None:
            super().line(text)
            if text == "ready":
                os.kill(os.getpid(), signal.SIGINT)

    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # `pytest &` ignores it\n"
        "try:\n    print('ready', flush=True)\n    time.sleep(300)\n"
        "except KeyboardInterrupt:\n    print('kept')\n    exit(130)"
    )
    shown, before = Interrupting(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, code, monkeypatch, shown)
    assert shown.lines == ["ready", "kept"]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_the_process_leaves_behind_does_not_hold_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import subprocess, sys\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        "print(left.pid, flush=True)"
    )
    shown = Noted()
    run(tmp_path, code, monkeypatch, shown)
    os.kill(int(shown.lines[0]), signal.SIGKILL)  # it still lives, and holds the pipe


def test_a_search_ends_with_the_program_that_asked_for_it(
    few_images: tuple[str, ...], tmp_path: Path
) -> None:
    asked = subprocess.Popen(
        [sys.executable, "-m", "tuner.api.child", *few_images, "--storage", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    output, _ = asked.communicate()  # closes its standard input, as the end of a program does
    assert asked.returncode == 130, output
    assert "Interrupted" not in output  # nobody would read it


def test_the_process_is_ended_where_its_lines_can_not_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Noted):
        def line(self, text: str) -> None:
            raise OSError("no space")

    code = "import time\nprint('one', flush=True)\ntime.sleep(300)"
    with pytest.raises(OSError, match="no space"):
        run(tmp_path, code, monkeypatch, Full())
