"""A search of 16 trials of one thread each, on one node and on two of one core each.

    python -m benchmarks.bench_nodes [ROUNDS]

Whole processes, from the command line to the exit, in turn. The hosts are those of the cluster's
tests (root, Debian's iproute2 and openssh-server): a head that trains nothing and two workers on a
core of their own, which the head and the driver share with them.
"""

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.common import alternate, ratio, report
from tests.cluster.hosts import SHARED, Host, fake_hosts, missing

IMAGES, TRIALS, EPOCHS = 8_000, 16, 16
RAY = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=" + "0" * 64


def ray(host: Host, command: str) -> str:
    """Run it there with the cluster's token. Raises SystemExit with its output when it fails."""
    code, output = host.run(f"export {RAY}; {command}", timeout=900)
    if code:
        sys.exit(output)
    return output


def search(head: Host) -> None:
    fixed = (
        f"--grace-epochs {EPOCHS} --patience {EPOCHS} {EPOCHS} "
        f"--finalists 1 --timing none --wandb disabled"
    )
    budget = f"--model fc --data photos --images {IMAGES} --samples {TRIALS} --max-epochs {EPOCHS}"
    ray(head, f"python -m tuner.run --address auto --storage {SHARED} {budget} {fixed}")


def main(rounds: str = "2") -> None:
    if reason := missing():
        sys.exit(f"error: {reason}")
    with (
        tempfile.TemporaryDirectory() as directory,
        fake_hosts(Path(directory), 3) as (head, *workers),
    ):
        for core, worker in enumerate(workers):
            os.sched_setaffinity(
                worker.init, {core}
            )  # whatever starts there has it from its first process
        ray(head, "ray start --head --num-cpus=0 --include-dashboard=false --disable-usage-stats")
        join = f"ray start --address={head.address}:6379 --num-cpus=1 --disable-usage-stats"
        ray(workers[0], join)

        search(head)  # decodes the images into the head's cache
        seconds: dict[str, list[float]] = {"one node": [], "two nodes": []}
        for _ in range(int(rounds)):
            seconds["one node"] += alternate({"": lambda: search(head)}, 1)[""]
            ray(workers[1], join)
            seconds["two nodes"] += alternate({"": lambda: search(head)}, 1)[""]
            ray(workers[1], "ray stop")
    report(
        "Nodes", seconds, {"one by two": (ratio(seconds, "one node", "two nodes"), "at least 1.7")}
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
