"""The command line: one sentence for every mistake, and an end without noise."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.dashboard.__main__ import main
from tests.analysis.dashboard.conftest import ROOT, WAIT_SEC

SENTENCE = re.compile(r"error: [^\n]+\n")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a person starts it, to its end."""
    command = [sys.executable, "-m", "analysis.dashboard", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SEC)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{}/nothing"], "nothing is no directory: give the one that --storage named"),
        (["{}/file"], "file is no directory"),
        (["s3://KEY:SECRET@bucket/results"], "a bucket's keys belong into AWS_ACCESS_KEY_ID"),
        (["{}", "--port", "65536"], "--port 65536: give one from 0 to 65535"),
        (["{}", "--port", "-1"], "--port -1"),
        (["{}", "--allow-host", "*"], "--allow-host *: give a host's name without port or path"),
        (["{}", "--allow-host", "gpu1:8501"], "--allow-host gpu1:8501"),
        (["{}", "--allow-host", "gpu1", "--allow-host", "http://gpu2"], "--allow-host http://gpu2"),
        (["{}", "--address", "999.1.1.1"], "--address 999.1.1.1"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([argument.format(tmp_path) for argument in arguments]) == 2
    printed, complaint = capsys.readouterr()
    assert printed == ""
    assert SENTENCE.fullmatch(complaint)
    assert told in complaint


@pytest.mark.parametrize(
    "arguments", [["--port", "eighty"], ["--bogus"], ["one", "two"], ["--allow-host"]]
)
def test_what_cannot_be_understood_is_a_mistake_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_command_ends_with_that_status(tmp_path: Path) -> None:
    done = run(str(tmp_path / "nothing"))
    assert (done.returncode, done.stdout) == (2, "")
    assert SENTENCE.fullmatch(done.stderr)


def test_a_port_that_is_taken_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([str(tmp_path), "--port", str(port)]) == 1
    printed, complaint = capsys.readouterr()
    assert printed == ""
    assert SENTENCE.fullmatch(complaint)
    assert f"--port {port}: Address already in use; give another --port" in complaint


def test_help_says_what_every_argument_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for argument in ("DIR", "--address ADDRESS", "--port PORT", "--allow-host NAME", "--token"):
        assert re.search(rf"^  {argument}\s+\S+ \S+", text, re.MULTILINE), argument
    for default in ("results", "8501", "127.0.0.1, this machine only"):
        assert f"default: {default}" in " ".join(text.split())


def test_it_says_where_it_is_and_takes_ctrl_c_from_then_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analysis.dashboard", str(tmp_path), "--port", "0"]
    with subprocess.Popen(
        [*command, "--address", "0.0.0.0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline()]
        while not printed[-1].startswith("From elsewhere"):
            printed.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=WAIT_SEC)
    assert (process.returncode, complaint) == (0, "")
    tables, address, everybody, elsewhere = printed
    assert tables == f"Tables   {tmp_path}/tables\n"
    found = re.fullmatch(r"Address  http://0\.0\.0\.0:(\d+)/\n", address)
    assert found
    assert "--token" in everybody, "everybody can reach it, and it says so"
    assert f"ssh -L {found[1]}:localhost:{found[1]}" in elsewhere
