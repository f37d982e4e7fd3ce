"""The card of a pipeline: what is known of it without a search.

    python -m trainables.task --pipeline my_transforms.py:preprocess --data photos/ --image-size 64

It says what the pipeline takes and gives, whether it is affine, what costs nothing and what nothing
can pass, and which networks fit. Exit status: 0, 2 for a mistake, 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.data import sources
from trainables.data.images import size_of
from trainables.errors import command, prog
from trainables.pipelines.catalogue import ASKED, LIST, TAKES, check, listed, started
from trainables.settings_fields import add_flags, declared, given, setting
from trainables.tasks import STUDY_NAME
from trainables.terminal import ProgressLine


@dataclass(frozen=True, kw_only=True)
class CardSettings:
    """Every setting of `python -m trainables.task`. Raises UsageError for what makes no sense."""

    pipeline: str = setting(STUDY_NAME, ASKED)
    takes: str | None = setting(
        None, "what it is called with", default_text="found out", choices=TAKES
    )
    data: str = setting("auto", "images, as for tuner.run")
    image_size: tuple[int, ...] | None = setting(
        None,
        "height and width of images; one number for squares",
        default_text="32",
        least=1,
        metavar="PIXELS",
    )

    def __post_init__(self) -> None:
        for name, one in SETTINGS.items():
            one.check(name, getattr(self, name))
        check(self.pipeline, self.takes)


SETTINGS = declared(CardSettings)


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; returns the exit status."""
    typed = given(parser().parse_args(arguments))
    if typed.get("pipeline") == LIST:
        print(listed())
        return 0
    settings = CardSettings(**typed)
    with started(settings.pipeline) as process, ProgressLine() as progress:
        images = sources.read(settings.data, size_of(settings.image_size), progress)
        # Here, since it imports PyTorch, as the process does that was started before
        from trainables import card

        lines = card.lines(images, settings.pipeline, settings.takes, process, progress)
    print("\n".join(lines))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("trainables.task"),
        description="Say what is known of a pipeline without a search.",
        argument_default=argparse.SUPPRESS,
    )
    add_flags(parser, SETTINGS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
