"""The blocks of the tutorial: files that are written, commands, and programs that run."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.paths import ROOT

BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.S | re.M
)


@dataclass(frozen=True)
class Block:
    language: str
    """`python` or `sh`; what stands there as `text` was printed, and is no block to type."""
    title: str | None
    """Of the file that it is; None for what runs at once."""
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """What is typed, line by line."""
        return [shlex.split(line) for line in self.text.replace("\\\n", " ").splitlines()]


def blocks() -> Iterator[Block]:
    for found in BLOCK.finditer((ROOT / "docs" / "tutorial.md").read_text()):
        if found["language"] != "text":
            yield Block(found["language"], found["title"], found["text"])
