"""One cluster for all tests of this directory: a head, and two nodes of one core without the code.

The command runs in the test's own process: a process of its own costs more than the search in it.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tuner.conftest import Command
from tests.tuner.gated_network import GATE, Gate
from tests.tuner.nodes import (
    cannot_hide,
    free_port,
    head,
    hidden_from_nodes,
    ray_start,
    short_directory,
    without,
)
from tests.waiting import until
from trainables.data.cache import CACHE_VARIABLE

Waiting = Callable[[Callable[[], object]], None]


@dataclass(frozen=True)
class Cluster:
    """A head without CPUs and without a right to any bucket, and the nodes `first` and `second`."""

    address: str
    jobs: str
    """Where `ray job submit` reaches it."""
    gate: Gate
    node: tuple[str, ...]
    """A command that runs the one behind it as on a node; empty where nothing is hidden."""
    received: list[Path]
    """Where each node unpacks what it is sent."""
    checkout: Path
    """A person's, with networks of their own and much else; hidden from the nodes."""
    caches: list[Path]
    """Each node's own."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Nodes have a key of their own for buckets, `of-the-nodes`; the head's is refused."""
    directory = tmp_path_factory.mktemp("cluster")
    gate = directory / "gate"
    checkout, empty = directory / "checkout", directory / "empty"
    for path in (gate, checkout, empty):
        path.mkdir()
    hidden = () if cannot_hide() else without(*hidden_from_nodes(), checkout, empty=empty)
    with ExitStack() as stack:
        page, names = free_port(), ("first", "second")
        keys = {"AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
        of_head = {**keys, "AWS_ACCESS_KEY_ID": "of-the-head"}
        address = stack.enter_context(
            head("--num-cpus=0", port=free_port(), page=page, more=of_head)
        )
        received = [Path(stack.enter_context(short_directory())) for _ in names]
        starting = []
        for name, unpacked in zip(names, received, strict=True):
            own = directory / name
            own.mkdir()
            more = {
                **keys,
                "AWS_ACCESS_KEY_ID": "of-the-nodes",
                "PYTHONPATH": "",
                "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
                "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
                CACHE_VARIABLE: str(own / "cache"),
                GATE: str(gate),
            }
            flags = (f"--address={address}", "--num-cpus=1", f"--node-name={name}")
            starting.append(
                ray_start(*flags, f"--temp-dir={unpacked}", cwd=own, within=hidden, more=more)
            )
        with ThreadPoolExecutor() as pool:
            list(pool.map(stack.enter_context, starting))
        caches = [directory / name / "cache" for name in names]
        yield Cluster(
            address, f"http://127.0.0.1:{page}", Gate(gate), hidden, received, checkout, caches
        )


@pytest.fixture
def gate(cluster: Cluster) -> Iterator[Gate]:
    """Open at first, with no witness."""
    cluster.gate.forget()
    yield cluster.gate
    cluster.gate.forget()


class InProcess(Command):
    """The command within this process, on the cluster, on few images if not on others."""

    def __init__(self, storage: Path | str, *usual: str) -> None:
        super().__init__(storage)
        self._usual = usual

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """The exit status, and what is printed on either stream."""
        return self.call(*self._usual, *arguments)

    def has_epochs(self, run: str, count: int) -> bool:
        """Whether the epochs table has so many rows."""
        directory = Path(self.storage) / "tables" / "epochs" / f"run={run}"
        return any(directory.glob("[!.]*.parquet")) and len(self.table("epochs", run)) >= count


@pytest.fixture
def search(cluster: Cluster, tmp_path: Path, few_images: tuple[str, ...]) -> InProcess:
    return InProcess(tmp_path / "results", "--address", cluster.address, *few_images)


class SearchIsOverError(Exception):
    """Ends the thread beside a search."""


@contextmanager
def meanwhile(do: Callable[[Waiting], None]) -> Iterator[None]:
    """Do it in a thread, with a way to wait; it ends where the search in this one has ended.

    What it raises ends the search as Ctrl-C does, and is raised here.
    """
    over = threading.Event()
    problems: list[Exception] = []

    def wait(true: Callable[[], object]) -> None:
        until(lambda: over.is_set() or true())
        if over.is_set():
            raise SearchIsOverError

    def guarded() -> None:
        try:
            do(wait)
        except SearchIsOverError:
            pass
        except Exception as problem:
            problems.append(problem)
            if not over.is_set():
                os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if problems:
            raise problems[0]
