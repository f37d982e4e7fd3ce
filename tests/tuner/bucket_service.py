"""A bucket service on this machine, and the command with a storage in it."""

import os
import subprocess
import sys
from pathlib import Path

from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSystem

from trainables.places import CACHE_VARIABLE

ROOT = Path(__file__).parents[2]


class Service:
    """A bucket service that can be away for a while."""

    def __init__(self) -> None:
        self.port = 0
        self.start()
        self.options = f"scheme=http&endpoint_override=127.0.0.1:{self.port}"
        files, _ = FileSystem.from_uri(f"s3://searches?{self.options}&allow_bucket_creation=true")
        files.create_dir("searches")

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        self._server.stop()


def start(storage: str, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command on a machine with that cache."""
    return subprocess.Popen(
        [sys.executable, "-m", "tuner.run", "--storage", storage, *arguments],
        cwd=ROOT, env={**os.environ, CACHE_VARIABLE: str(cache)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
