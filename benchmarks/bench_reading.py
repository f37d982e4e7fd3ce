"""Reading a folder of JPEG files that nobody has read before, against Pillow's plain way.

    python -m benchmarks.bench_reading [IMAGES] [ROUNDS]

Plainly: each file opened, decoded whole and fitted to 32 × 32, one after the other. Ours: what
`--data DIRECTORY` does, from the list of files to images mapped from the cache. The files are
crops of the built-in photographs at 640 × 480, as cameras save them. The sides run in turn, each in
a process of its own; the time is that of the reading alone.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trainables.data import folders, photos

IMAGES, ROUNDS = 2000, 5
WIDTH, HEIGHT = 640, 480
PLAIN, OURS = "one after the other, decoded whole", "as read here"
TIMED = """
import sys, time
from pathlib import Path
from benchmarks import bench_reading as bench
directory, side = Path(sys.argv[1]), sys.argv[2]
start = time.perf_counter()
images = (bench.ours if side == bench.OURS else bench.plain)(directory)
print(time.perf_counter() - start)
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


def plain(directory: Path) -> int:
    """Read a directory as a loop over Pillow does; return how many images it has."""
    images = []
    for file in sorted(directory.iterdir()):
        with Image.open(file) as image:
            image = ImageOps.fit(image.convert("RGB"), (32, 32), Image.Resampling.LANCZOS)
        images.append(np.asarray(image))
    return len(np.stack(images))


def ours(directory: Path) -> int:
    """Read a directory as a search does, into an empty cache; return how many images it has."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRANSFORM_TUNER_CACHE"] = cache
        images = folders.read(directory)
        return len(images.train) + len(images.test)


def read_sec(directory: Path, side: str) -> float:
    """Return how long a new process reads."""
    command = [sys.executable, "-c", TIMED, str(directory), side]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(images: str = str(IMAGES), rounds: str = str(ROUNDS)) -> None:
    # Here, since it imports PyTorch, which the timed processes do without
    from benchmarks.common import ratio, report

    seconds: dict[str, list[float]] = {PLAIN: [], OURS: []}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_photographs(directory, int(images))
        for _ in range(int(rounds)):
            for side, of_side in seconds.items():
                of_side.append(read_sec(directory, side))
    rates = {
        f"images/s, {side}": (int(images) / sorted(of_side)[len(of_side) // 2], "for information")
        for side, of_side in seconds.items()
    }
    report(
        f"Reading {images} JPEG files of {WIDTH} × {HEIGHT}",
        seconds,
        {"plain by ours": (ratio(seconds, PLAIN, OURS), "at least 5 on 2 cores"), **rates},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
