"""Where each image of a source goes before any is decoded: its split, and its number in there."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trainables.data.split_names import TEST, TRAIN

TEST_FRACTION = 1 / 6  # as in CIFAR-10

Place = tuple[str, int]


def splits_after(found: Iterable[str]) -> set[str]:
    """Return the splits that there are in the end, where names made those that were found."""
    return {*found, TEST}


def counts_by_split(names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return how many images each split has in the end.

    Args:
        names: What the images are called, by the split that names put them into.
    """
    counts = {split: len(of_split) for split, of_split in names.items()}
    counts[TRAIN] -= (tests := _held_out(names))
    return {TEST: tests, **counts}


def places(names: Mapping[str, Sequence[str]], split: str) -> Iterator[Place]:
    """Yield where each image of a split goes, in the order of `names`.

    Each is shuffled to where its name alone puts it, so that any first ones are a fair sample.
    Where names set nothing aside for the test, the first ones of the training images do. Splits of
    which names say both stay in their order.

    Args:
        names: As `counts_by_split` has them.
        split: One of them.
    """
    numbers: Iterable[int] = range(len(names[split]))
    if names.keys() != {TRAIN, TEST}:
        numbers = _ranks(names[split])
    tests = _held_out(names) if split == TRAIN else 0
    for number in numbers:
        yield (TEST, number) if number < tests else (split, number - tests)


def _ranks(names: Sequence[str]) -> list[int]:
    """Return where each name comes in the order of their hashes."""
    digests = [hashlib.sha256(os.fsencode(name)).digest() for name in names]
    ranks = [0] * len(names)
    for rank, number in enumerate(sorted(range(len(names)), key=digests.__getitem__)):
        ranks[number] = rank
    return ranks


def _held_out(names: Mapping[str, Sequence[str]]) -> int:
    """Return how many training images test, since no name says which do."""
    count = len(names[TRAIN])
    return 0 if TEST in names else min(count, round(count * TEST_FRACTION) or 1)
