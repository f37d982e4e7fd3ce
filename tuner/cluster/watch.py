"""Ray's own processes, watched by a thread: without them Ray ends this one, in C++.

That takes 10 to 20 s, and a person reads pages of Ray's own words and nothing of how to go on.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

import psutil

LOOKS = 3  # in a row that find nothing, and it is gone for good
LOOK_SEC = 1.0  # between them
ANSWER_SEC = 4.0  # so that a silent head is given up before Ray's own 20 s are over
GCS, RAYLET = "gcs_server", "raylet"


class Watch:
    """Within `with`: says once which of Ray's processes is gone."""

    def __init__(self, missing: Callable[[], str], gone: Callable[[str], None]) -> None:
        """Make it ready.

        Args:
            missing: Returns the name of a process that is not there; empty while all are.
            gone: Called from the thread, with that name.
        """
        self._missing, self._gone = missing, gone
        self._over = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _look(self) -> None:
        in_vain = 0
        while not self._over.wait(LOOK_SEC):
            name = self._missing()
            in_vain = in_vain + 1 if name else 0
            if in_vain == LOOKS and not self._over.is_set():
                self._gone(name)
                return


class Children:
    """Ray's processes where this one has started them itself."""

    def __init__(self) -> None:
        self._known: dict[str, psutil.Process] = {}

    def missing(self) -> str:
        """Return the name of one that was there and has ended; empty otherwise."""
        if len(self._known) < 2:
            for child in psutil.Process().children():
                with suppress(psutil.Error):
                    # One of an earlier Ray stays a while after its end
                    if child.name() in (GCS, RAYLET) and lives(child):
                        self._known[child.name()] = child
        return next((name for name, process in self._known.items() if not lives(process)), "")


class Joined:
    """The head of a cluster that was joined, and the raylet of this machine."""

    def __init__(self) -> None:
        self._raylets: list[psutil.Process] | None = None

    def missing(self) -> str:
        """Return the name of one that has ended or does not answer; empty before it is joined."""
        import ray._private.worker

        node = ray._private.worker._global_node
        if node is None:
            return ""
        if self._raylets is None:
            self._raylets = _listening_on(node.raylet_socket_name)
        if not all(map(lives, self._raylets)):
            return RAYLET
        host, _, port = node.gcs_address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SEC).close()
        except OSError:
            return GCS
        return ""


def lives(process: psutil.Process) -> bool:
    """Return whether a process runs; a child that has ended stays for a while, as a zombie."""
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _listening_on(socket_name: str) -> list[psutil.Process]:
    """Return the raylet of that socket; none where it is in another container."""
    argument = f"--raylet_socket_name={socket_name}"
    every = psutil.process_iter(["name", "cmdline"])
    return [
        one
        for one in every
        if one.info["name"] == RAYLET and argument in (one.info["cmdline"] or ())  # None: a zombie
    ]
