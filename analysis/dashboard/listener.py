"""The socket that visitors connect to: it leaves descriptors for the files of tables."""

import asyncio
import errno
import os
import resource
import socket
import time
from typing import Any

KEPT_FREE = 64  # descriptors: for files of tables, and the process that works things out
PAUSE_SEC = 1.0  # asyncio's own, after which it accepts again


class Listener(socket.socket):
    """A listening socket that accepts no more connections than the process can hold.

    Further visitors wait until others have gone. With all descriptors taken by connections no table
    could be read.
    """

    _paused_until = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises OSError while there are too many: then asyncio pauses.
        """
        if time.monotonic() < self._paused_until:
            raise BlockingIOError
        lowest_free = os.dup(self.fileno())
        os.close(lowest_free)
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if lowest_free >= most - KEPT_FREE:
            self._paused_until = time.monotonic() + PAUSE_SEC / 2
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def expect_pauses() -> None:
    """Have the running loop say nothing of such a pause, which it would log as an error."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno == errno.EMFILE):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(handle)
