"""Where a run lies, on disk or in a bucket, and the proof that a node shares that."""

import errno
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from analysis.tables import files
from analysis.tables.bucket import copy_of
from analysis.tables.files import Row
from analysis.tables.table_sources import BUCKET, is_refusal, reason, resolved
from trainables.errors import UsageError, first_line, last_line
from tuner.cluster.nodes import Node, on_each, this_node

STATE_FILE = "state.pt"
SESSION = "session-"
STATE = re.compile(rf"/checkpoint_[^/]+/{re.escape(STATE_FILE)}")
NUMBER = re.compile(r"(\d+)")
UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})  # for every trial alike
PATIENCE_SEC, RETRY_SEC = 300.0, 1.0

Result = TypeVar("Result")
BEST_FILE = "best.safetensors"
MARK = ".shared"


def trial_directory(number: int) -> str:
    """Return the name of a trial's directory within a session."""
    return f"trial-{number:04d}"


@dataclass(frozen=True)
class Experiment:
    """Ray's state and the checkpoints of one run.

    It travels to the trials, whose nodes have their own keys for a bucket.

    Attributes:
        files: The file system of the storage.
        root: Path of the run's directory within it.
    """

    files: FileSystem
    root: str

    @classmethod
    def of(cls, storage: str, run: str) -> "Experiment":
        """Return a run's within a storage. Raises UsageError for an address that is none."""
        try:
            _, files, path = resolved(storage)
        except (ArrowException, OSError, ValueError) as error:
            raise UsageError(
                f"--storage {storage} can't be opened: {reason(error, storage)}"
            ) from error
        if isinstance(files, LocalFileSystem):
            path = PurePosixPath(Path(storage).resolve())
        return cls(files, str(path / "experiments" / run))

    @property
    def is_in_bucket(self) -> bool:
        """Whether writing may fail for a while and then work again."""
        return not isinstance(self.files, LocalFileSystem)

    def address(self, path: str) -> str:
        """Return a path as a person types it."""
        return f"{BUCKET}{path}" if self.is_in_bucket else path

    def location(self, session: str = "") -> dict[str, Any]:
        """Return where Ray keeps its state, for its RunConfig: of all sessions, or below one."""
        return {
            "storage_path": f"{self.root}/{session}".rstrip("/"),
            "storage_filesystem": self.files if self.is_in_bucket else None,
        }

    def sessions(self) -> list[str]:
        """Return the names of the sessions so far."""
        found = self.files.get_file_info(FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in found if info.base_name.startswith(SESSION))

    def next_session(self) -> str:
        """Return a name for one more session."""
        return f"{SESSION}{len(self.sessions()) + 1:03d}"

    def checkpoints(self, number: int) -> list[str]:
        """Return the paths of a trial's checkpoints over all sessions, newest first."""
        found = []
        for session in self.sessions():
            trial = f"{self.root}/{session}/{trial_directory(number)}"
            below = FileSelector(trial, recursive=True, allow_not_found=True)
            for info in self.files.get_file_info(below):
                if info.type == FileType.File and STATE.fullmatch(info.path.removeprefix(trial)):
                    found.append(PurePosixPath(info.path).parent)
        return [str(path) for path in sorted(found, key=_age, reverse=True)]

    def read(self, checkpoint: str) -> bytes:
        """Return the bytes of a checkpoint's state. Raises OSError."""

        def attempt() -> bytes:
            with self.files.open_input_file(f"{checkpoint}/{STATE_FILE}") as file:
                return bytes(file.read())

        return self.patiently(attempt)

    def patiently(self, attempt: Callable[[], Result]) -> Result:
        """Return what `attempt` returns. While a bucket is away, try again.

        Raises OSError after PATIENCE_SEC, and at once for a file that is not there or is refused.
        """
        end = time.monotonic() + PATIENCE_SEC
        while True:
            try:
                return attempt()
            except FileNotFoundError:
                raise
            except OSError as error:
                if not self.is_in_bucket or is_refusal(error) or time.monotonic() > end:
                    raise
            time.sleep(RETRY_SEC)


def _age(checkpoint: PurePosixPath) -> list[tuple[int, ...]]:
    """Return what sorts checkpoints: session, then their own number or time stamp."""
    names = (checkpoint.parents[1].name, checkpoint.name)
    return [tuple(int(part) for part in NUMBER.findall(name)) for name in names]


@dataclass(frozen=True)
class RunStorage:
    """One run within a storage: its tables, its networks, and Ray's state with the checkpoints.

    Attributes:
        storage: A directory, or s3://BUCKET/PATH, as `--storage` takes it.
        name: Name of the run.
    """

    storage: str
    name: str

    @property
    def directory(self) -> Path:
        """The storage, or the copy on this machine of one in a bucket."""
        return copy_of(self.storage) if self.storage.startswith(BUCKET) else Path(self.storage)

    @property
    def tables(self) -> Path:
        """Directory of the parquet tables of all runs."""
        return self.directory / "tables"

    @property
    def networks(self) -> Path:
        """Directory of the finalists' weights."""
        return self.directory / "networks" / f"run={self.name}"

    def weights(self, trial: int) -> Path:
        """The file of a finalist's weights."""
        return self.networks / f"{trial_directory(trial)}.safetensors"

    @cached_property
    def experiment(self) -> Experiment:
        """Ray's state and the checkpoints. Raises UsageError where the storage can't be opened."""
        return Experiment.of(self.storage, self.name)

    def rows(self, table: str) -> list[Row]:
        """The run's rows of a table; none where the run or the table is not there."""
        return files.rows_of(self.tables, table, self.name)

    def publish(self, table: str, rows: Iterable[Row]) -> None:
        """Replace the run's rows of a table. Raises OSError when the storage does not take them."""
        files.publish(self.tables, table, self.name, rows)


def leave_mark(files: FileSystem, directory: str) -> None:
    """Leave what a node that shares the storage finds in a directory. Raises OSError."""
    files.create_dir(directory)
    with files.open_output_stream(f"{directory}/{MARK}") as file:
        file.write(b"")


def answer_mark(files: FileSystem, directory: str) -> None:
    """On a node: find the mark, and leave an answer beside it. Raises OSError where it can't."""
    files.open_input_file(f"{directory}/{MARK}").close()
    with files.open_output_stream(f"{directory}/{MARK}-{this_node()}") as file:
        file.write(b"")


def check_shared(storage: str, nodes: Sequence[Node]) -> None:
    """Have every one of these nodes find a mark in the storage, and leave its answer there.

    Tables, checkpoints and networks go that way; images do not, Ray's object store brings them to
    each node. A node that joins later is asked by its first trial.

    Raises:
        UsageError: A node does not share the storage.
    """
    _, files, path = resolved(storage)
    within = path if storage.startswith(BUCKET) else Path(storage).absolute()
    directory = f"{within}/{MARK}-{uuid.uuid4().hex}"
    try:
        leave_mark(files, directory)
        answers = on_each(nodes, _answer, files, directory)
        for node, answer in zip(nodes, answers, strict=True):
            problem = answer
            if isinstance(answer, Exception):
                problem = f"it does not answer: {last_line(answer)}"
            elif not answer and not _is_there(files, f"{directory}/{MARK}-{node.id}"):
                problem = "what it writes there does not arrive here"
            if problem:
                raise UsageError(
                    f"--storage {storage}: the node {node.name} does not share it ({problem}); "
                    f"give a directory that all nodes share, or a bucket that all may write to"
                )
    finally:
        with suppress(OSError):
            files.delete_dir(directory)


def _answer(files: FileSystem, directory: str) -> str:
    """On a node: what went wrong, if anything."""
    try:
        answer_mark(files, directory)
    except OSError as error:
        return first_line(error)
    return ""


def _is_there(files: FileSystem, path: str) -> bool:
    with suppress(OSError):
        (info,) = files.get_file_info([path])
        return bool(info.type == FileType.File)
    return False
