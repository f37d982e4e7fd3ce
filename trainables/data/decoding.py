"""Many images decoded on all cores, and all that can't be read told together."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from trainables.cores import cores
from trainables.data.pixels import UnreadableError
from trainables.errors import UsageError, first_line, printable
from trainables.own_process import Say

NAMED = 10  # of the images that can't be read
AHEAD = 4  # images a core that are begun before the first of them is taken
QUIET_SEC = 1.0  # before the first line of progress
PROGRESS_SEC = 0.2  # between two of them

Key = TypeVar("Key")
Decoded = TypeVar("Decoded")
Job = tuple[Key, str, Callable[[], Decoded]]
"""What is to be done with an image: any key, the image's name, and what decodes it.

The latter raises OSError or UnreadableError where it can't.
"""


def decode_all(
    asked: str, jobs: Iterable[Job[Key, Decoded]], total: int, progress: Say | None
) -> Iterator[tuple[Key, Decoded]]:
    """Decode images, and yield the key of each with what came of it, in the order of `jobs`.

    Threads do it: Pillow lets go of Python's lock while it decodes.

    Args:
        asked: What the sentence about unreadable images begins with.
        jobs: The images. It is asked for more as they are decoded.
        total: How many there are.
        progress: Gets lines of what is left, where it takes longer than a second.

    Raises:
        UsageError: Images can't be read; all of them are counted, the first NAMED are named. Or
            there are not as many as `total`.
    """
    bad, done = [], 0
    tell = _Progress(total, progress)
    for key, name, decoded in _begun_ahead(jobs):
        try:
            yield key, decoded.result()
        except (OSError, UnreadableError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            bad.append(f"{printable(name)} ({reason})")
        done += 1
        tell(done)
    if bad:
        more = f" and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
        raise UsageError(
            f"{asked}: {len(bad):,} of {done:,} images can't be read: "
            f"{', '.join(bad[:NAMED])}{more}: mend them or take them away"
        )
    if done != total:
        raise UsageError(
            f"{asked}: its parquet files say that they have {total:,} rows and have {done:,}: "
            f"write them anew"
        )


def _begun_ahead(
    jobs: Iterable[Job[Key, Decoded]],
) -> Iterator[tuple[Key, str, Future[Decoded]]]:
    """Begin jobs in threads, and yield each when AHEAD others a core were begun after it."""
    threads = cores()
    pool = ThreadPoolExecutor(threads)
    begun: deque[tuple[Key, str, Future[Decoded]]] = deque()
    try:
        # For all threads at once: Pillow's, of what is taken as it is or refused
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for key, name, work in jobs:
                begun.append((key, name, pool.submit(work)))
                if len(begun) > threads * AHEAD:
                    yield begun.popleft()
            while begun:
                yield begun.popleft()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C waits for no image


class _Progress:
    """Says how many images are left, and for how long."""

    def __init__(self, total: int, say: Say | None) -> None:
        self._total = total
        self._say = say
        self._start = time.monotonic()
        self._next = self._start + QUIET_SEC

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if self._say is None or now < self._next:
            return
        self._next = now + PROGRESS_SEC
        left = (now - self._start) / done * (self._total - done)
        self._say(f"images read: {done:,} of {self._total:,}, about {left:.0f} s left")
