"""The right to write a run: its storage takes files, its name is free, nobody else searches it."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack

from filelock import FileLock, Timeout

from analysis.console import Console
from analysis.tables.bucket import Bucket
from trainables.errors import UsageError, first_line
from tuner import interrupts
from tuner.storage.lease import Lease
from tuner.storage.run_storage import RunStorage


def claim_run(
    run: RunStorage, console: Console, stack: ExitStack, *, resumes: bool
) -> Callable[[], None]:
    """Hold a run until `stack` ends. Raises UsageError where that can't be.

    Returns a function that raises TakenError once another machine has the run, which for one in a
    directory never happens.
    """
    check_storage(run, resumes=resumes)
    stack.enter_context(lock_run(run))
    if not run.experiment.is_in_bucket:
        return lambda: None
    interrupts.take_sigterm()  # so that the lease is given back
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


def lock_run(run: RunStorage) -> FileLock:
    """Hold the run for this process until it ends. Raises UsageError when another one has it."""
    locks = run.directory / "experiments"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f".{run.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"the run {run.name} is being searched by another process: wait for it or stop it"
        ) from None
    return lock
