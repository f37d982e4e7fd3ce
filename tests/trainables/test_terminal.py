"""A terminal whose encoding lacks a character gets it spelled out, and the command goes on."""

import io
import sys

import pytest

from trainables.errors import UsageError, command
from trainables.terminal import ProgressLine


class Terminal(io.TextIOWrapper):
    """A stream with an encoding of its own."""

    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding, write_through=True)

    @property
    def shown(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "2 x 99.1 +- 0.1 % at cosine >= 0.95, 3 us ... ? ? ?\n"),
        ("latin-1", "2 × 99.1 ± 0.1 % at cosine >= 0.95, 3 µs ... é ? ?\n"),
        ("cp1252", "2 × 99.1 ± 0.1 % at cosine >= 0.95, 3 µs … é ? ?\n"),
        ("utf-8", "2 × 99.1 ± 0.1 % at cosine ≥ 0.95, 3 µs … é ☃ ?\n"),
    ],
)
def test_a_character_that_a_terminal_lacks_is_spelled_out(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", terminal)

    @command()
    def main() -> int:
        print("2 × 99.1 ± 0.1 % at cosine ≥ 0.95, 3 µs … é ☃ \udcff")
        return 0

    assert main() == 0
    assert terminal.shown == shown


def test_a_mistake_is_a_whole_sentence_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal("ascii")
    monkeypatch.setattr(sys, "stderr", terminal)

    @command()
    def main() -> int:
        raise UsageError("--samples ≥ 1 must hold, but got 0")

    assert main() == 2
    assert terminal.shown == "error: --samples >= 1 must hold, but got 0\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["closed", "a stand-in"])
def test_output_without_an_encoding_is_left_alone(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    assert command()(lambda: 0)() == 0


def test_a_progress_line_is_written_over_and_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal("utf-8")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "12")
    with ProgressLine() as progress:
        progress("1 of 2")
        progress("2 of 2 which is the last")
    assert terminal.shown == "\r\x1b[K1 of 2\r\x1b[K2 of 2 whic\r\x1b[K"


def test_a_file_gets_no_progress_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal("utf-8")
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressLine() as progress:
        progress("1 of 2")
    assert terminal.shown == ""
