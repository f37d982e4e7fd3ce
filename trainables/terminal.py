"""Output that takes every character, whatever the terminal's encoding has."""

import codecs
import io
import shutil
import sys
from typing import Self

# How people write what ASCII or Latin-1 lacks; what is not here becomes a question mark
SPELLED = {
    **{"≥": ">=", "≤": "<=", "×": "x", "±": "+-", "→": "->", "·": "-", "…": "...", "µ": "u"},
    **{"–": "-", "−": "-", "“": '"', "”": '"', "’": "'"},
}

BLANK = "\r\x1b[K"  # to the beginning of the line, and clear it


def take_every_character() -> None:
    """Let standard output and errors spell characters out that their encoding does not have.

    Without this the first `≥` of a message would end the command.
    """
    codecs.register_error("spelled", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # and no stand-in of a test, or a closed one
            stream.reconfigure(errors="spelled")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(SPELLED.get(letter, "?") for letter in letters), error.end


class ProgressLine:
    """A line on standard error that is written over, within `with`; none where that is a file."""

    def __enter__(self) -> Self:
        self._written = False
        return self

    def __call__(self, text: str) -> None:
        """Replace the line."""
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._write(f"{BLANK}{text[:width]}")
            self._written = True

    def __exit__(self, *_: object) -> None:
        if self._written:
            self._write(BLANK)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
