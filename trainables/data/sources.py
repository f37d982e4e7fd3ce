"""What may be typed after `--data`. Without PyTorch, whose import takes 2 s."""

from pathlib import Path

from trainables.errors import UsageError

SOURCES = ("auto", "cifar10", "photos")


def check(source: str) -> None:
    """Raise UsageError where `source` is neither one of SOURCES nor a directory."""
    if source not in SOURCES and not Path(source).is_dir():
        raise UsageError(
            f"--data {source}: there is no such directory; "
            f"give a directory with images, or one of {', '.join(SOURCES)}"
        )
