"""`transform-tuner` runs the same code as `python -m …`, and imports only what is asked for."""

import io
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import simulated
from tuner import command, interrupts, run


@pytest.fixture(autouse=True)
def typed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to type commands in; `sys.path` is as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def type_(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/transform-tuner", *arguments])
    return command.main()


def test_a_sub_command_gets_the_arguments_behind_it_and_finds_modules_of_the_current_directory(
    typed_elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (typed_elsewhere / "made_up_command.py").write_text(
        "import sys\n\n\ndef main():\n    return int(sys.argv[1])\n"
    )
    monkeypatch.setitem(command.COMMANDS, "made-up", ("made_up_command", ""))
    assert type_(monkeypatch, "made-up", "7") == 7


def test_a_search_ends_as_after_python_m(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "end_early", lambda: None)
    monkeypatch.setattr(run, "main", lambda: 3)
    left: list[int] = []
    monkeypatch.setattr(run, "leave", left.append)
    type_(monkeypatch, "run")
    assert left == [3]


@pytest.mark.parametrize("name", command.COMMANDS)
def test_the_help_of_a_sub_command_begins_with_what_was_typed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        type_(monkeypatch, name, "--help")
    assert capsys.readouterr().out.startswith(f"usage: transform-tuner {name} [-h]")
    module = command.COMMANDS[name][0]
    monkeypatch.setattr(sys, "argv", ["file.py"])
    with pytest.raises(SystemExit, match="0"):
        import_module(module).main(["--help"])
    typed = f"python -m {module.removesuffix('.__main__')}"
    assert capsys.readouterr().out.startswith(f"usage: {typed} [-h]")


@pytest.mark.parametrize("name", ["", *command.COMMANDS])
def test_every_command_prints_its_help_and_its_complaints_where_ascii_is_all_there_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True)
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, terminal)
    if name:
        main = import_module(command.COMMANDS[name][0]).main
        for arguments in (["--help"], ["--≥"]):
            with pytest.raises(SystemExit):
                main(arguments)
    else:
        assert type_(monkeypatch, "--help") == 0
        assert type_(monkeypatch, "≥") == 2
    assert isinstance(terminal.buffer, io.BytesIO)
    shown = terminal.buffer.getvalue().decode("ascii")
    assert "usage: " in shown
    assert "error: " in shown


def test_a_search_comes_to_its_end_where_ascii_is_all_there_is(
    few_images: tuple[str, ...], typed_elsewhere: Path
) -> None:
    search = ("--model", "separable", "--samples", "2", "--max-epochs", "2", *few_images)
    with simulated():
        status, output = Command(typed_elsewhere / "results").call(*search, encoding="ascii")
    assert status == 0, output
    assert output.count(" % at cosine >= 0.95 in epoch ") == 2
    assert "No GPU: that is a small search." in output


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ((), "no command was given"),
        (("serach", "--help"), "there is no command 'serach'"),
        (("--version",), "there is no command '--version'"),
    ],
)
def test_a_wrong_sub_command_gets_one_sentence_with_those_that_there_are(
    arguments: tuple[str, ...],
    asked: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert type_(monkeypatch, *arguments) == 2
    names = "run, atlas, task, timing, dashboard, report, aggregate, audit, export, profile"
    assert capsys.readouterr().err == f"error: {asked}: give one of {names}\n"


def test_help_lists_every_sub_command_and_imports_none() -> None:
    script = (
        "import sys; from tuner.command import main; before = set(sys.modules)\n"
        "sys.argv = ['transform-tuner', '--help']; status = main()\n"
        "print(status, set(sys.modules) - before, 'torch' in sys.modules, 'ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    *listed, last = done.stdout.splitlines()
    assert last == "0 set() False False", done.stderr
    assert [line.split()[0] for line in listed[2:]] == list(command.COMMANDS)
