"""What may be typed after `--data`. Without PyTorch, so that a mistake is told before its seconds have passed."""

from pathlib import Path

from trainables.errors import UsageError

SOURCES = ("auto", "cifar10", "photos")


def check(source: str) -> None:
    """Raises UsageError where `source` is neither one of SOURCES nor a directory."""
    if source not in SOURCES and not Path(source).is_dir():
        raise UsageError(
            f"--data {source}: there is no such directory; give a directory with images, or one of {', '.join(SOURCES)}"
        )
