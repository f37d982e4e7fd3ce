"""Output that takes every character, whatever the terminal's encoding has."""

import codecs
import io
import sys

# How people write what ASCII or Latin-1 lacks; what is not here becomes a question mark
SPELLED = {
    **{"≥": ">=", "≤": "<=", "×": "x", "±": "+-", "→": "->", "·": "-", "…": "...", "µ": "u"},
    **{"–": "-", "−": "-", "“": '"', "”": '"', "’": "'"},
}


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
