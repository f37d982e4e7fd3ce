"""Targets of many images by a slow pipeline of a person's own, against the pipeline alone.

    python -m benchmarks.bench_targets [IMAGES] [ROUNDS]

The pipeline takes a PIL image, halves it and keeps a core busy until it has had 1 ms of it. Alone:
two processes that call it and do nothing else. Ours: what a search does, from images of 32 × 32 in
memory to targets in memory, with an empty cache: a process is started, the pipeline is probed, its
targets are made and kept, and it is found whether it is affine. The sides run in turn; the third
is ours when the targets are in the cache. Where the machine does other work too, the processor time
says what two free cores would need.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES, ROUNDS = 50_000, 1
CORES = 2
CALL_SEC = 0.001
PROCESSOR = ", processor time"
ALONE, OURS, AGAIN = "the pipeline alone, two processes", "targets made", "targets kept"


def busy(image: Image.Image) -> Image.Image:
    """Halve an image, and work until a millisecond is over."""
    end = time.thread_time() + CALL_SEC
    made = image.resize((16, 16), Image.Resampling.BOX)
    while time.thread_time() < end:
        pass
    return made


def call_on(pixels: np.ndarray) -> None:
    """Call the pipeline with an image (3, 32, 32) uint8."""
    busy(Image.fromarray(pixels.transpose(1, 2, 0)))


def alone(images: np.ndarray) -> None:
    """Call the pipeline with images (N, 3, 32, 32) uint8."""
    with multiprocessing.Pool(CORES) as pool:
        for _ in pool.imap_unordered(call_on, images, chunksize=250):
            pass


def processor_sec() -> float:
    """Return the processor time of this process and of all that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(images: str = str(IMAGES), rounds: str = str(ROUNDS)) -> None:
    from benchmarks.common import ratio, report  # here, for the processes do without
    from trainables.data.images import Images
    from trainables.data.loading import with_targets
    from trainables.pipelines.catalogue import started

    count = int(images)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), np.uint8)
    given = Images(source="noise", train=pixels[: -count // 6], test=pixels[-count // 6 :])
    name = f"{Path(__file__)}:busy"

    def ours() -> None:
        with started(name) as process:
            data = with_targets(given, pipeline=name, process=process)
        made = sum(len(part) for part in (data.train, data.validation, data.test))
        if made != count:
            raise RuntimeError(f"{made} targets of {count} images")

    def made_anew() -> None:
        os.environ["TRANSFORM_TUNER_CACHE"] = tempfile.mkdtemp(dir=caches)
        ours()

    with tempfile.TemporaryDirectory() as caches:
        sides: dict[str, Callable[[], None]] = {
            ALONE: lambda: alone(pixels),
            OURS: made_anew,
            AGAIN: ours,
        }
        seconds: dict[str, list[float]] = {}
        for _ in range(int(rounds)):
            for side, run in sides.items():
                start, used = time.perf_counter(), processor_sec()
                run()
                seconds.setdefault(side, []).append(time.perf_counter() - start)
                seconds.setdefault(side + PROCESSOR, []).append(processor_sec() - used)
    report(
        f"Targets of {images} images by a pipeline of 1 ms an image",
        seconds,
        {
            "ours by the pipeline alone": (ratio(seconds, OURS, ALONE), "at most 1.2 on 2 cores"),
            f"the same{PROCESSOR}": (
                ratio(seconds, OURS + PROCESSOR, ALONE + PROCESSOR),
                "at most 1.2",
            ),
            "made by kept": (ratio(seconds, OURS, AGAIN), "for information"),
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
