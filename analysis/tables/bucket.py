"""A storage in a bucket (s3://…): commands work on its copy here, which is kept in step with it."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from filelock import FileLock
from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileType

from analysis.console import Console
from analysis.tables.table_sources import BUCKET, READINGS, is_refusal, reason, resolved
from trainables.atomic_write import atomic_write
from trainables.data.cache import cache_directory
from trainables.errors import UsageError

KEPT = re.compile(r"(tables/[a-z]+|networks)/run=(?P<run>[^/]+)/(?P<name>[^/]+)")
THREADS = 16  # a request is waiting, mostly
SEND_SEC, FETCH_SEC = 1.0, 2.0  # between two looks at what has changed
CLOSE_SEC = 300.0  # for a bucket that is away when a run ends
YOUNG_SEC = 5.0  # a bucket says whole seconds, in which one object may replace another of its size
YOUNG = [0, 0]  # in place of such an object's time and size

Synced = dict[str, list[int]]  # by path: the object's time and size, and the time of the file here
Confirm = Callable[[], None]  # raises TakenError, or OSError while it can't be known


class TakenError(Exception):
    """Another process has the run now: nothing of this one may be sent any more."""


def copy_of(address: str) -> Path:
    """Return where the copy of a bucket's storage lies on this machine."""
    return cache_directory() / "buckets" / hashlib.sha256(address.encode()).hexdigest()[:16]


def check_address(address: str) -> None:
    """Raise UsageError unless it is a bucket's, without keys, which tables and logs would show."""
    if not address.startswith(BUCKET):
        raise UsageError(
            f"{address}: give a directory, which may be a mounted one, or {BUCKET}BUCKET/PATH"
        )
    if "@" in address:
        raise UsageError(
            "a bucket's keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "not its address"
        )


class Bucket:
    """A storage in a bucket. What a run writes is sent by the one process that has the run."""

    def __init__(self, address: str) -> None:
        """Raises UsageError when the address names no bucket that can be reached."""
        check_address(address)
        try:
            self.name, self._files, self._root = resolved(address)
            bucket = self._root.parts[0]
            if self._files.get_file_info(bucket).type == FileType.NotFound:
                raise UsageError(
                    f"there is no bucket {bucket}: make it first, for instance with "
                    f"aws s3 mb s3://{bucket}"
                )
        except (ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{address} can't be opened: {reason(error, address)}") from error
        self.copy = copy_of(address)
        self.copy.mkdir(parents=True, exist_ok=True)

    def fetch(self, run: str | None = None) -> int:
        """Bring here what has changed there, of one run or of all. Raises OSError.

        What was changed here and not yet sent stays, unless it was changed there too.

        Returns:
            How many files had changed.
        """
        with self._synced() as synced, ThreadPoolExecutor(THREADS) as pool:
            changed = [
                (path, info)
                for path, info in self._objects(run)
                if self._is_new(path, info, synced)
            ]
            for path, known in pool.map(self._bring, changed):
                if known:
                    synced[path] = [*known, (self.copy / path).stat().st_mtime_ns]
        return len(changed)

    def send(self, run: str, confirm: Confirm = lambda: None) -> int:
        """Bring there what has changed here of one run. Raises OSError, and what `confirm` does.

        Args:
            run: Its name.
            confirm: Called before the first file: makes sure that the run is this process's.

        Returns:
            How many files were sent.
        """
        sent = 0
        with self._synced() as synced:
            for pattern in (f"tables/*/run={run}/[!.]*", f"networks/run={run}/[!.]*"):
                for file in self.copy.glob(pattern):
                    path, stamp = file.relative_to(self.copy).as_posix(), file.stat().st_mtime_ns
                    if path in synced and synced[path][2] == stamp:
                        continue
                    if not sent:
                        confirm()
                    there = str(self._root / path)
                    with self._files.open_output_stream(there) as stream:
                        stream.write(file.read_bytes())
                    (info,) = self._files.get_file_info([there])
                    synced[path] = [info.mtime_ns, info.size, stamp]
                    sent += 1
        return sent

    def try_writing(self, run: str) -> None:
        """Write an object and take it away, then fetch the run.

        Raises:
            OSError: The bucket does not allow that.
        """
        path = str(self._root / f".trying-{run}")
        with self._files.open_output_stream(path) as stream:
            stream.write(b"")
        self._files.delete_file(path)
        self.fetch(run)

    def _objects(self, run: str | None) -> Iterator[tuple[str, FileInfo]]:
        """Yield tables and networks, of one run or of all, with their paths below the storage."""
        for folder in ("tables", "networks"):
            for info in self._files.get_file_info(
                FileSelector(str(self._root / folder), recursive=True, allow_not_found=True)
            ):
                path = str(PurePosixPath(info.path).relative_to(self._root))
                found = KEPT.fullmatch(path) if info.type == FileType.File else None
                if found and found["name"] != ".." and run in (None, found["run"]):
                    yield path, info

    def _is_new(self, path: str, info: FileInfo, synced: Synced) -> bool:
        here = self.copy / path
        if path not in synced or not here.exists():
            return True
        *known, stamp = synced[path]
        if known == YOUNG:
            # It may have changed there; what was written here since then stays
            return here.stat().st_mtime_ns == stamp
        return known != [info.mtime_ns, info.size]

    def _bring(self, changed: tuple[str, FileInfo]) -> tuple[str, list[int] | None]:
        """Fetch an object; returns its path, and its time and size or None if it keeps changing.

        A bucket gives the length before the bytes: of an object that is replaced in between the end
        would be missing.
        """
        path, info = changed
        for _ in range(READINGS):
            data = b""
            # It may be shorter now: if the bucket is away, the next line raises
            with (
                suppress(OSError),
                self._files.open_input_stream(info.path, compression=None) as stream,
            ):
                data = stream.read()
            (after,) = self._files.get_file_info([info.path])
            known = [info.mtime_ns, info.size]
            if [after.mtime_ns, after.size] == known and len(data) == info.size:
                with atomic_write(self.copy / path) as aside:
                    aside.write_bytes(data)
                return path, YOUNG if time.time() - info.mtime_ns / 1e9 < YOUNG_SEC else known
            info = after
        return path, None

    @contextmanager
    def _synced(self) -> Iterator[Synced]:
        """Yield what both sides had last, to one process at a time; kept if work breaks off too."""
        path = self.copy / ".synced.json"
        with FileLock(self.copy / ".lock"):
            synced: Synced = {}
            with suppress(OSError, ValueError):
                synced = json.loads(path.read_text())
            try:
                yield synced
            finally:
                with atomic_write(path) as aside:
                    aside.write_text(json.dumps(synced))


@contextmanager
def sending(
    storage: str, run: str, console: Console, confirm: Confirm = lambda: None
) -> Iterator[None]:
    """Send what a run writes to its bucket a second later, and all of it before the block ends.

    Nothing in the block waits for it. A directory needs no sending.

    Args:
        storage: As `--storage` has it.
        run: The run's name.
        console: Where it is printed that the bucket takes nothing.
        confirm: Makes sure that the run is this process's.

    Raises:
        UsageError: The bucket can't be reached when the block begins.
        OSError: It refuses when the block ends, or takes nothing for CLOSE_SEC.
        TakenError: The run is another's when the block ends.
    """
    if not storage.startswith(BUCKET):
        yield
        return
    bucket, over = Bucket(storage), threading.Event()
    thread = threading.Thread(
        target=_send_on, args=(bucket, run, console, confirm, over), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _send_rest(bucket, run, console, confirm)


def _send_on(
    bucket: Bucket, run: str, console: Console, confirm: Confirm, over: threading.Event
) -> None:
    failing = False
    while not over.wait(SEND_SEC):
        try:
            bucket.send(run, confirm)
            failing = False
        except TakenError:
            return
        except OSError as error:
            if not failing:
                console.line(f"{bucket.name} takes nothing ({error}): trying on", style="yellow")
            failing = True


def _send_rest(bucket: Bucket, run: str, console: Console, confirm: Confirm) -> None:
    end = time.monotonic() + CLOSE_SEC
    while True:
        try:
            bucket.send(run, confirm)
            return
        except OSError as error:
            if is_refusal(error) or time.monotonic() > end:
                raise OSError(
                    f"{bucket.name} takes nothing ({error}); all of it lies in {bucket.copy}"
                ) from error
        console.progress(f"waiting for {bucket.name}")
        time.sleep(SEND_SEC)


def local_directory(storage: str, run: str | None = None) -> Path:
    """Return the directory of a storage: itself, or a bucket's copy with one run or all fetched.

    Raises:
        UsageError: The bucket can't be read.
    """
    if not storage.startswith(BUCKET):
        return Path(storage)
    bucket = Bucket(storage)
    try:
        bucket.fetch(run)
    except OSError as error:
        raise UsageError(f"{bucket.name} can't be read: {reason(error, storage)}") from error
    return bucket.copy


def follow(storage: str) -> Path:
    """Return the directory of a storage, to which a thread brings whatever changes in a bucket.

    Raises:
        UsageError: The bucket can't be read.
    """
    directory = local_directory(storage)
    if storage.startswith(BUCKET):
        threading.Thread(target=_fetch_on, args=(Bucket(storage),), daemon=True).start()
    return directory


def _fetch_on(bucket: Bucket) -> None:
    while True:
        time.sleep(FETCH_SEC)
        with suppress(OSError):  # a bucket that is away for a while changes nothing
            bucket.fetch()
