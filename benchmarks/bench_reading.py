"""Reading a folder of JPEG files that nobody has read before, against Pillow's plain way.

    python -m benchmarks.bench_reading [IMAGES] [ROUNDS] [SIDE]

Plainly: each file opened, decoded whole and fitted to 32 × 32, one after the other. Ours: what
`--data DIRECTORY` does, from the list of files to images mapped from the cache. The bound: files in
memory decoded on all cores as small as JPEG's own scaling makes them, and nothing else. The files
are crops of the built-in photographs at 640 × 480, as cameras save them. The sides run in turn,
each in a process of its own; the time is that of the reading alone. On a machine that does other
work too, the processor time says what two free cores would need.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trainables.cores import cores
from trainables.data import folders, photos, pixels

IMAGES, ROUNDS, SIDE = 2000, 5, 32
WIDTH, HEIGHT = 640, 480
PLAIN, OURS = "one after the other, decoded whole", "as read here"
BOUND = "decoded alone"
PROCESSOR = ", processor time"
TIMED = """
import sys, time
from pathlib import Path
from benchmarks import bench_reading as bench
directory, side, pixels = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run = {bench.OURS: bench.ours, bench.PLAIN: bench.plain, bench.BOUND: bench.bound}[side]
start, start_processor = time.perf_counter(), time.process_time()
images = run(directory, pixels)
print(time.perf_counter() - start, time.process_time() - start_processor)
assert images == len(list(directory.iterdir()))
"""


def write_photographs(directory: Path, count: int) -> None:
    """Write JPEG files of random crops, scaled to 640 × 480."""
    random = np.random.default_rng(0)
    whole = [
        Image.fromarray(photos._views(*where)[0]) for where in photos.PHOTOGRAPHS["train"].values()
    ]
    for number in range(count):
        image = whole[number % len(whole)]
        width, height = image.width // 2, image.height // 2
        left, top = int(random.integers(width)), int(random.integers(height))
        crop = image.crop((left, top, left + width, top + height))
        crop.resize((WIDTH, HEIGHT)).save(directory / f"{number:05}.jpg", quality=90)


def plain(directory: Path, side: int) -> int:
    """Read a directory as a loop over Pillow does; return how many images it has."""
    images = []
    for file in sorted(directory.iterdir()):
        with Image.open(file) as image:
            image = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        images.append(np.asarray(image))
    return len(np.stack(images))


def ours(directory: Path, side: int) -> int:
    """Read a directory as a search does, into an empty cache; return how many images it has."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRANSFORM_TUNER_CACHE"] = cache
        images = folders.read(directory, (side, side))
        return len(images.train) + len(images.test)


def bound(directory: Path, side: int) -> int:
    """Decode the files of a directory, neither scaled nor kept; return how many images it has."""
    with ThreadPoolExecutor(cores()) as pool:
        encoded = [file.read_bytes() for file in directory.iterdir()]
        return sum(1 for _ in pool.map(partial(pixels.opened, size=(side, side)), encoded))


def read_sec(directory: Path, which: str, side: int) -> tuple[float, float]:
    """Return how long a new process reads, and of how much processor time."""
    command = [sys.executable, "-c", TIMED, str(directory), which, str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def main(images: str = str(IMAGES), rounds: str = str(ROUNDS), side: str = str(SIDE)) -> None:
    # Here, since it imports PyTorch, which the timed processes do without
    from benchmarks.common import ratio, report

    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_photographs(directory, int(images))
        for _ in range(int(rounds)):
            for which in (PLAIN, OURS, BOUND):
                wall, processor = read_sec(directory, which, int(side))
                seconds.setdefault(which, []).append(wall)
                seconds.setdefault(which + PROCESSOR, []).append(processor)
    per_core = {
        f"{one} by {other}{PROCESSOR}": ratio(seconds, one + PROCESSOR, other + PROCESSOR)
        for one, other in ((PLAIN, OURS), (OURS, BOUND))
    }
    report(
        f"Reading {images} JPEG files of {WIDTH} × {HEIGHT}, to {side} × {side}",
        seconds,
        {
            "plain by ours": (ratio(seconds, PLAIN, OURS), "at least 5 on 2 cores, to 32 × 32"),
            **{label: (value, "for information") for label, value in per_core.items()},
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
