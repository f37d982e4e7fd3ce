"""A search of 8 FC trials × 6 epochs with its storage in a bucket, and in a directory.

    python -m benchmarks.bench_storage [DATA] [ROUNDS]

Whole processes, from the command line to the exit, in turn. The bucket is moto's, a process of its
own on the loopback: the CPU seconds that it takes are told too, since they are taken from the
search on a machine with few cores.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pyarrow.fs import FileSystem

from benchmarks.common import alternate, ratio, report

IMAGES, TRIALS, EPOCHS = 20_000, 8, 6
ROOT = Path(__file__).parents[1]
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def bucket_service() -> Iterator[tuple[str, psutil.Process]]:
    """A storage in an empty bucket, and the process that serves it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        options = f"scheme=http&endpoint_override=127.0.0.1:{port}"
        files, _ = FileSystem.from_uri(f"s3://bench?{options}&allow_bucket_creation=true")
        files.create_dir("bench")
        yield f"s3://bench/results?{options}", psutil.Process(server.pid)
        server.kill()


def search(storage: str, data: str) -> None:
    budget = [
        "--images",
        str(IMAGES),
        "--samples",
        str(TRIALS),
        "--max-epochs",
        str(EPOCHS),
        "--seed",
        "0",
    ]
    fixed = ["--grace-epochs", str(EPOCHS), "--patience", str(EPOCHS), str(EPOCHS), "--data", data]
    quiet = ["--timing", "none", "--wandb", "disabled"]
    command = [
        sys.executable,
        "-m",
        "tuner.run",
        "--model",
        "fc",
        *budget,
        *fixed,
        *quiet,
        "--storage",
        storage,
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def cpu_sec(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main(data: str = "photos", rounds: str = "3") -> None:
    os.environ.update(KEYS)
    of_service: list[float] = []
    with tempfile.TemporaryDirectory() as directory, bucket_service() as (address, service):

        def bucket() -> None:
            before = cpu_sec(service)
            search(address, data)
            of_service.append(cpu_sec(service) - before)

        search(f"{directory}/first", data)  # decodes the images into the cache
        sides = {"a bucket": bucket, "a directory": lambda: search(directory, data)}
        seconds = alternate(sides, int(rounds))
    report(
        "Storage",
        seconds,
        {
            "bucket by directory": (ratio(seconds, "a bucket", "a directory"), "at most 1.15"),
            "CPU seconds of the bucket's own process": (
                statistics.median(of_service),
                "for information",
            ),
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
