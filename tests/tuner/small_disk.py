"""A small disk that nobody else sees: a tmpfs in a mount namespace, gone with its last process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tuner.conftest import OWN, ROOT, Command

SIZE_MIB = 24
HOLD = "mount -t tmpfs -o size={size}m tmpfs {at} && echo mounted && exec sleep infinity"


class SmallDisk(Command):
    """The command with a storage on that disk."""

    def __init__(self, at: Path, holder: int) -> None:
        self.at = at
        self._enter = ["nsenter", f"--mount=/proc/{holder}/ns/mnt"]
        super().__init__(Path(f"/proc/{holder}/root{at}/results"))  # as it is seen from outside
        self.inside = at / "results"

    def start(self, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tuner.run", "--storage", str(self.inside), *arguments]
        process = subprocess.Popen(
            [*self._enter, "env", f"--chdir={cwd}", *command],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{OWN}"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.started.append(process)
        return process

    @property
    def filler(self) -> Path:
        return self.storage.parent / "filler"

    def fill(self) -> None:
        """To the last byte."""
        with self.filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
            except OSError:
                return

    def protect(self) -> None:
        """Make the storage read-only by a mount above it: open files forbid remounting."""
        script = (
            f"mount --bind {self.inside} {self.inside} && mount -o remount,bind,ro {self.inside}"
        )
        subprocess.run([*self._enter, "sh", "-c", script], check=True)

    def unprotect(self) -> None:
        subprocess.run([*self._enter, "umount", str(self.inside)], check=True)


@contextmanager
def small_disk(at: Path) -> Iterator[SmallDisk]:
    """Skips the test where such a disk can't be had."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    script = HOLD.format(size=SIZE_MIB, at=at)
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        try:
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() != "mounted\n":
                pytest.skip(f"a small disk can't be mounted here: {holder.stderr.read().strip()}")
            yield SmallDisk(at, holder.pid)
        finally:
            holder.kill()
