"""A storage in a bucket (s3://…): its copy on this machine, on which every command works, kept in step with it."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath

from filelock import FileLock
from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileType

from analysis.console import Console
from analysis.tables.table_sources import BUCKET, READINGS, is_refusal, reason, resolved
from trainables.atomic_write import atomic_write
from trainables.data.cache_dir import cache_directory
from trainables.errors import UsageError

KEPT = re.compile(r"(tables/[a-z]+|networks)/run=(?P<run>[^/]+)/(?P<name>[^/]+)")
THREADS = 16  # a request is waiting, mostly
SEND_SEC, FETCH_SEC = 1.0, 2.0
CLOSE_SEC = 300.0  # for a bucket that is away when a run ends
YOUNG_SEC = (
    5.0  # a bucket tells whole seconds, within which one object may replace another of its size
)
YOUNG = [0, 0]  # in place of such an object's time and size

Synced = dict[str, list[int]]  # by path: the object's time and size, and the time of the file here


class TakenError(Exception):
    """Another process has the run now: nothing of this one may be sent any more."""


def copy_of(address: str) -> Path:
    """Where the copy of a bucket's storage lies."""
    return cache_directory() / "buckets" / hashlib.sha256(address.encode()).hexdigest()[:16]


def check_address(address: str) -> None:
    """Raises UsageError when it is none of a bucket, or holds what tables and logs would tell to everybody."""
    if not address.startswith(BUCKET):
        raise UsageError(
            f"{address}: give a directory, which may be a mounted one, or {BUCKET}BUCKET/PATH"
        )
    if "@" in address:
        raise UsageError(
            "a bucket's keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not its address"
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
                    f"there is no bucket {bucket}: make it first, for instance with aws s3 mb s3://{bucket}"
                )
        except (ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{address} can't be opened: {reason(error, address)}") from error
        self.copy = copy_of(address)
        self.copy.mkdir(parents=True, exist_ok=True)

    def fetch(self, run: str | None = None) -> int:
        """Bring here what has changed there, of one run or of all; the number of files.

        What was changed here and not yet sent stays, unless it was changed there too. Raises OSError.
        """
        with self._synced() as synced, ThreadPoolExecutor(THREADS) as pool:
            changed = [info for info in self._objects(run) if self._is_new(info, synced)]
            for info, young in filter(None, pool.map(self._bring, changed)):
                path = self._relative(info)
                known = YOUNG if young else [info.mtime_ns, info.size]
                synced[path] = [*known, (self.copy / path).stat().st_mtime_ns]
        return len(changed)

    def send(self, run: str, confirm: Callable[[], None] = lambda: None) -> int:
        """Bring there what has changed here of one run; the number of files.

        Raises OSError, and what `confirm` does, which is called before the first file.
        """
        sent = 0
        with self._synced() as synced:
            for path in self._written(run):
                stamp = (self.copy / path).stat().st_mtime_ns
                if path not in synced or synced[path][2] != stamp:
                    if not sent:
                        confirm()
                    with self._files.open_output_stream(str(self._root / path)) as file:
                        file.write((self.copy / path).read_bytes())
                    (info,) = self._files.get_file_info([str(self._root / path)])
                    synced[path] = [info.mtime_ns, info.size, stamp]
                    sent += 1
        return sent

    def try_writing(self, run: str) -> None:
        """Write an object and take it away, then fetch the run. Raises OSError when the bucket does not allow that."""
        path = str(self._root / f".trying-{run}")
        with self._files.open_output_stream(path) as file:
            file.write(b"")
        self._files.delete_file(path)
        self.fetch(run)

    def _objects(self, run: str | None) -> Iterator[FileInfo]:
        for folder in ("tables", "networks"):
            selector = FileSelector(str(self._root / folder), recursive=True, allow_not_found=True)
            for info in self._files.get_file_info(selector):
                found = KEPT.fullmatch(self._relative(info))
                if (
                    info.type == FileType.File
                    and found
                    and found["name"] != ".."
                    and run in (None, found["run"])
                ):
                    yield info

    def _relative(self, info: FileInfo) -> str:
        return str(PurePosixPath(info.path).relative_to(self._root))

    def _is_new(self, info: FileInfo, synced: Synced) -> bool:
        path = self._relative(info)
        here = self.copy / path
        if not here.exists() or path not in synced:
            return True
        *known, stamp = synced[path]
        if (
            known == YOUNG
        ):  # whether it changed there is not known: what was written here since then stays
            return here.stat().st_mtime_ns == stamp
        return known != [info.mtime_ns, info.size]

    def _bring(self, info: FileInfo) -> tuple[FileInfo, bool] | None:
        """Fetch an object; what it was then, and whether it was young. None while its writer is busy with it.

        A bucket tells the length before the bytes: of an object that is replaced in between the end would be missing.
        """
        for _ in range(READINGS):
            data = b""
            with (
                suppress(
                    OSError
                ),  # it is shorter now: if the bucket is away, the next line says so
                self._files.open_input_stream(info.path, compression=None) as stream,
            ):
                data = stream.read()
            (after,) = self._files.get_file_info([info.path])
            if (after.mtime_ns, after.size) == (info.mtime_ns, info.size) and len(
                data
            ) == info.size:
                with atomic_write(self.copy / self._relative(info)) as aside:
                    aside.write_bytes(data)
                return info, time.time() - info.mtime_ns / 1e9 < YOUNG_SEC
            info = after
        return None

    def _written(self, run: str) -> Iterator[str]:
        for pattern in (f"tables/*/run={run}/[!.]*", f"networks/run={run}/[!.]*"):
            yield from (path.relative_to(self.copy).as_posix() for path in self.copy.glob(pattern))

    @contextmanager
    def _synced(self) -> Iterator[Synced]:
        """What both sides had last, for one process at a time; kept even when the work breaks off."""
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


class Sending:
    """Sends what a run writes to its bucket a second later, and all of it before it ends; nothing waits for it."""

    def __init__(
        self, bucket: Bucket, run: str, console: Console, confirm: Callable[[], None] = lambda: None
    ) -> None:
        """`confirm` raises TakenError, or OSError while it can't be known whether the run is still this process's."""
        self._bucket, self._run, self._console, self._confirm = bucket, run, console, confirm
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_on, daemon=True)

    def __enter__(self) -> "Sending":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Raises OSError when the bucket refuses, or takes nothing for CLOSE_SEC, and TakenError."""
        self._over.set()
        self._thread.join()
        end = time.monotonic() + CLOSE_SEC
        while True:
            try:
                self._bucket.send(self._run, self._confirm)
                return
            except OSError as error:
                if is_refusal(error) or time.monotonic() > end:
                    raise OSError(
                        f"{self._bucket.name} takes nothing ({error}); all of it lies in {self._bucket.copy}"
                    ) from error
            self._console.progress(f"waiting for {self._bucket.name}")
            time.sleep(SEND_SEC)

    def _send_on(self) -> None:
        told = False
        while not self._over.wait(SEND_SEC):
            try:
                self._bucket.send(self._run, self._confirm)
                told = False
            except TakenError:
                return
            except OSError as error:
                if not told:
                    self._console.line(
                        f"{self._bucket.name} takes nothing ({error}): trying on", style="yellow"
                    )
                told = True


def sending(
    storage: str, run: str, console: Console, confirm: Callable[[], None] = lambda: None
) -> AbstractContextManager[object]:
    """`Sending` to a bucket; nothing for a directory. Raises UsageError when the bucket can't be reached."""
    return (
        Sending(Bucket(storage), run, console, confirm)
        if storage.startswith(BUCKET)
        else nullcontext()
    )


def local_directory(storage: str, run: str | None = None) -> Path:
    """The directory of a storage: itself, or a bucket's copy, with one run or all of them fetched.

    Raises UsageError when the bucket can't be read.
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
    """The directory of a storage, to which a thread brings whatever changes in a bucket. Raises UsageError likewise."""
    directory = local_directory(storage)
    if storage.startswith(BUCKET):
        threading.Thread(target=_fetch_on, args=(Bucket(storage),), daemon=True).start()
    return directory


def _fetch_on(bucket: Bucket) -> None:
    while True:
        time.sleep(FETCH_SEC)
        with suppress(OSError):  # a bucket that is away for a while changes nothing
            bucket.fetch()
