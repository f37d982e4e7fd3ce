"""Where a run's sessions and checkpoints lie: below a directory that all nodes share, or in a bucket."""

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
UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
)  # what is so for every trial alike
PATIENCE_SEC, RETRY_SEC = 300.0, 1.0

Result = TypeVar("Result")


def trial_directory(number: int) -> str:
    """The name of a trial's directory within a session."""
    return f"trial-{number:04d}"


@dataclass(frozen=True)
class Experiment:
    """One run's. It travels to the trials, whose nodes have their own keys for a bucket."""

    files: FileSystem
    root: str
    """Its path within `files`."""

    @classmethod
    def of(cls, storage: str, run: str) -> "Experiment":
        """A run's within a storage. Raises UsageError for an address that is none."""
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
        """A path as a person types it."""
        return f"{BUCKET}{path}" if self.is_in_bucket else path

    def location(self, session: str = "") -> dict[str, Any]:
        """Where Ray is to keep a session's state, or what lies below one, as its RunConfig takes it."""
        path = f"{self.root}/{session}".rstrip("/")
        return {
            "storage_path": path,
            "storage_filesystem": self.files if self.is_in_bucket else None,
        }

    def sessions(self) -> list[str]:
        """Names of the sessions up to now."""
        found = self.files.get_file_info(FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in found if info.base_name.startswith(SESSION))

    def next_session(self) -> str:
        """A name for one more."""
        return f"{SESSION}{len(self.sessions()) + 1:03d}"

    def checkpoints(self, number: int) -> list[str]:
        """Paths of a trial's checkpoints over all sessions, newest first."""
        found = []
        for session in self.sessions():
            trial = f"{self.root}/{session}/{trial_directory(number)}"
            for info in self.files.get_file_info(
                FileSelector(trial, recursive=True, allow_not_found=True)
            ):
                if info.type == FileType.File and STATE.fullmatch(info.path.removeprefix(trial)):
                    found.append(PurePosixPath(info.path).parent)
        return [str(path) for path in sorted(found, key=_age, reverse=True)]

    def read(self, checkpoint: str) -> bytes:
        """A checkpoint's state as it was written. Raises OSError."""

        def attempt() -> bytes:
            with self.files.open_input_file(f"{checkpoint}/{STATE_FILE}") as file:
                content: bytes = file.read()
            return content

        return self.patiently(attempt)

    def patiently(self, attempt: Callable[[], Result]) -> Result:
        """What `attempt` returns; while a bucket is away it is made again, for PATIENCE_SEC. Raises OSError then."""
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
    """Session, then the checkpoint's own number or time stamp."""
    session, name = checkpoint.parents[1].name, checkpoint.name
    return [tuple(int(part) for part in NUMBER.findall(text)) for text in (session, name)]
