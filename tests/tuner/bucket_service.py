"""A bucket service on this machine, and the command with a storage in it."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSystem

from tests.paths import ROOT
from trainables.data.cache import CACHE_VARIABLE

DENIED = (
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
)


AWAY = "503 Service Unavailable"
TRIES_WHILE_AWAY = 31  # at most of the client itself, over 6 s
BUSY = "409 Conflict"  # which the client does not try again
CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")


class Service:
    """A bucket service that can be away for a while, and can refuse keys as Amazon's does."""

    def __init__(self) -> None:
        self.port = 0
        self.refused_keys: set[str] = set()
        self.trouble = ""
        """A status that it answers everything with."""
        self.turned_away: list[str] = []
        """Paths of what was asked for meanwhile."""
        self.conditions = "held"
        """What becomes of conditions: "held", "ignored", or a status that they are refused with."""
        self._one_at_a_time = threading.Lock()
        self.start()
        self.options = f"scheme=http&endpoint_override=127.0.0.1:{self.port}"
        files, _ = FileSystem.from_uri(f"s3://searches?{self.options}&allow_bucket_creation=true")
        files.create_dir("searches")

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        http: Any = self._server._server
        http.app = self._guard(http.app)

    def _guard(self, serve: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def answer(request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if self.trouble:
                self.turned_away.append(request["PATH_INFO"])
                start_response(self.trouble, [("Content-Type", "text/plain")])
                return [b"not now"]
            _, _, key = request.get("HTTP_AUTHORIZATION", "").partition("Credential=")
            if key.partition("/")[0] not in self.refused_keys:
                return conditionally(request, start_response)
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [DENIED]

        def conditionally(
            request: dict[str, Any], start_response: Callable[..., Any]
        ) -> Iterable[bytes]:
            if not any(condition in request for condition in CONDITIONS):
                return serve(request, start_response)
            if self.conditions == "held":
                with self._one_at_a_time:  # moto looks, and writes in another moment
                    return [*serve(request, start_response)]
            if self.conditions == "ignored":
                return serve(
                    {k: request[k] for k in request if k not in CONDITIONS}, start_response
                )
            start_response(self.conditions, [("Content-Type", "text/plain")])
            return [b"no conditions here"]

        return answer

    def stop(self) -> None:
        self._server.stop()


def start(storage: str, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command on a machine with that cache."""
    return subprocess.Popen(
        [sys.executable, "-m", "tuner.run", "--storage", storage, *arguments],
        cwd=ROOT, env={**os.environ, CACHE_VARIABLE: str(cache)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
