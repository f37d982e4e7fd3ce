"""A run's sessions and checkpoints: below a directory that all nodes share, or in a bucket."""

import errno
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from analysis.tables.table_sources import BUCKET, is_refusal, reason, resolved
from trainables.errors import UsageError

STATE_FILE = "state.pt"
SESSION = "session-"
STATE = re.compile(rf"/checkpoint_[^/]+/{re.escape(STATE_FILE)}")
NUMBER = re.compile(r"(\d+)")
UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})  # for every trial alike
PATIENCE_SEC, RETRY_SEC = 300.0, 1.0

Result = TypeVar("Result")


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
        path = f"{self.root}/{session}".rstrip("/")
        return {
            "storage_path": path,
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
    session, name = checkpoint.parents[1].name, checkpoint.name
    return [tuple(int(part) for part in NUMBER.findall(text)) for text in (session, name)]
