"""The right to write a run: its storage takes files, its name is free, nobody else searches it."""

import json
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from analysis.console import Console
from analysis.tables.bucket import Bucket, TakenError
from analysis.tables.table_sources import BUCKET
from analysis.wording import duration
from trainables.errors import UsageError, first_line
from tuner.storage.run_storage import RunStorage

LEASE_FILE = "lease.json"
LEASE_SEC = 60.0  # without a renewal, and whoever held it is taken for dead
RENEW_SEC, WATCH_SEC = 5.0, 1.0
SETTLE_SEC = 1.0  # for another's writing that had begun before ours, where none can be forbidden


@dataclass(frozen=True)
class Owner:
    """Who holds a lease, as it stands in the bucket.

    Attributes:
        host: Name of the machine.
        pid: Process on it.
        machine: The same for processes that see each other's ids.
        id: One for each lease.
        renewal: Another one with each renewal.
    """

    host: str
    pid: int
    machine: str
    id: str
    renewal: str = ""

    @property
    def has_died(self) -> bool:
        """Whether its process is gone, as far as that can be seen from this machine."""
        return self.machine == _machine() and not psutil.pid_exists(self.pid)


class Lease:
    """This process's right to a run in a bucket: held within `with`, and renewed by a thread.

    It is an object that says whose the run is. A bucket that holds conditions writes it only over
    the version that was read, so of several that come at once one has the run.
    """

    def __init__(self, run: RunStorage, console: Console) -> None:
        """Raises UsageError where AWS's files, or the variables that name them, can't be used."""
        # Takes 0.2 s to import, for which a run in a directory need not wait
        from tuner.storage.guarded_object import GuardedObject

        self._run, self._console = run, console
        self._path = f"{run.experiment.root}/{LEASE_FILE}"
        try:
            self._object = GuardedObject(run.storage, self._path, run.experiment.files.region)
        except OSError as error:
            raise self._unusable(error) from error
        self._owner = Owner(os.uname().nodename, os.getpid(), _machine(), uuid.uuid4().hex)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew_on, daemon=True)

    def __enter__(self) -> "Lease":
        """Raise UsageError when another process has the run, or the bucket can't be reached."""
        try:
            self._take()
        except OSError as error:
            raise self._unusable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Take the lease away. Raises TakenError when another process has the run by now."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):  # the bucket is away: the lease runs out by itself
            version = self._own_version()
            if version is not None:
                self._object.delete(version)

    def confirm(self) -> None:
        """Raise TakenError when another process has the run now, OSError when it is unknown."""
        self._own_version()

    def _own_version(self) -> str | None:
        """Return the version of our lease, None when somebody deleted it; raises as `confirm`."""
        other, version = self._look()
        if other is not None:
            raise TakenError(
                f"the run {self._run.name} is searched by process {other.pid} on {other.host} now, "
                f"which took it over when this one had not been heard of for {LEASE_SEC:g} s"
            )
        return version

    def _take(self) -> None:
        """Write the lease where nobody has one, or over that of a process that is dead."""
        other, version = self._look()
        if other is not None and not other.has_died:
            version = self._outwait(other, version)
        try:
            while not self._write(version):
                version = self._free_version()
            if self._write(None):  # though the lease lies there
                self._settle()
            self._thread.start()
        except BaseException:  # Ctrl-C as well: `__exit__` is not called for what ends `__enter__`
            with suppress(TakenError):
                self.__exit__()
            raise

    def _settle(self) -> None:
        """See after a while whether the lease still stands, in a bucket that holds no conditions.

        A process that took longer than SETTLE_SEC for its writing has the run as well, until the
        next renewal of either.
        """
        self._console.line(
            f"the service of {BUCKET}{self._path} does not know If-None-Match: if the run "
            f"{self._run.name} is started twice within {SETTLE_SEC:g} s, both may begin",
            style="yellow",
        )
        time.sleep(SETTLE_SEC)
        self._free_version()

    def _free_version(self) -> str | None:
        """Return the version to write over. Raises UsageError when another process has the run."""
        winner, version = self._look()
        if winner is not None:
            raise UsageError(self._refusal(winner))
        return version

    def _outwait(self, owner: Owner, version: str | None) -> str | None:
        """Wait until a lease is given back, or was not renewed for LEASE_SEC.

        Returns the version to write over. Raises UsageError when it is renewed.
        """
        self._console.line(
            f"{owner.host} had the run {self._run.name} and has not given it back: "
            f"waiting for a sign of it"
        )
        end = time.monotonic() + LEASE_SEC
        with self._console:
            while (left := end - time.monotonic()) > 0:
                self._console.progress(
                    f"no sign of {owner.host} yet; goes on without it in {duration(left)}"
                )
                time.sleep(min(WATCH_SEC, left))
                now, version = self._look()
                if now is None:
                    break
                if now != owner:
                    raise UsageError(self._refusal(now))
        return version

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(
            f"--storage {self._run.storage} can't be used ({first_line(error)}): "
            f"try again, or another one"
        )

    def _refusal(self, owner: Owner) -> str:
        return (
            f"the run {self._run.name} is being searched by another process, "
            f"{owner.pid} on {owner.host}: wait for it or stop it"
        )

    def _renew_on(self) -> None:
        while not self._over.wait(RENEW_SEC):
            try:
                self._write(self._own_version())
            except TakenError:
                # Ends whatever is under way as Ctrl-C does; `__exit__` says why
                os.kill(os.getpid(), signal.SIGINT)
                return
            except Exception:  # whatever it is: a bucket that is away for a while ends no search
                continue

    def _write(self, version: str | None) -> bool:
        """Write the lease over a version, None where nothing may lie. Returns whether it was."""
        lease = {**asdict(self._owner), "renewal": uuid.uuid4().hex}
        return self._object.write(json.dumps(lease).encode(), version)

    def _look(self) -> tuple[Owner | None, str | None]:
        """Return who else has the lease, None for nobody or this process, and its version.

        Raises OSError when the bucket does not answer, or has something else there.
        """
        found = self._object.read()
        if found is None:
            return None, None
        content, version = found
        try:
            owner = Owner(**json.loads(content))
        except (ValueError, TypeError):
            raise OSError(
                f"{BUCKET}{self._path} is no lease that this version can read: "
                f"delete it if nobody searches"
            ) from None
        return (owner if owner.id != self._owner.id else None), version


def _machine() -> str:
    """Return what is the same for processes that see each other's ids.

    That is one start of a kernel, and one container on it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot + os.readlink("/proc/self/ns/pid")
    except OSError:  # not on Linux
        return f"{os.uname().nodename} {uuid.getnode()}"


def claim_run(
    run: RunStorage, console: Console, stack: ExitStack, *, resumes: bool
) -> Callable[[], None]:
    """Hold a run until `stack` ends. Raises UsageError where that can't be.

    Returns a function that raises TakenError once another machine has the run, which for one in a
    directory never happens.
    """
    check_storage(run, resumes=resumes)
    stack.enter_context(locked(run))
    if not run.experiment.is_in_bucket:
        return lambda: None
    lease = stack.enter_context(Lease(run, console))
    # Again, with what the one that had the run has sent since
    check_storage(run, resumes=resumes)
    return lease.confirm


def check_storage(run: RunStorage, *, resumes: bool = False) -> None:
    """Raise UsageError where the storage takes no files, or a new run's name is taken."""
    in_bucket = run.experiment.is_in_bucket
    try:
        if in_bucket:
            Bucket(run.storage).try_writing(run.name)
        run.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run.directory) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        raise UsageError(
            f"--storage {run.storage} can't be written ({error.strerror or first_line(error)}): "
            f"give another {'bucket' if in_bucket else 'directory'}"
        ) from error
    if not resumes and (run.experiment.sessions() or run.rows("runs")):
        raise UsageError(
            f"--name {run.name}: {run.storage} already has a run of that name; "
            f"give another one, or go on with it: --resume {run.name}"
        )


@contextmanager
def locked(run: RunStorage) -> Iterator[None]:
    """Hold the run for this process. Raises UsageError when another one has it."""
    path = run.directory / "experiments" / f".{run.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"the run {run.name} is being searched by another process: wait for it or stop it"
        ) from None
    try:
        yield
    finally:
        # While it is held: a process that has just opened it sees that it is gone
        with suppress(OSError):
            path.unlink()
        lock.release()
