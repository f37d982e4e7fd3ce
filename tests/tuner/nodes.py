"""Several nodes on one machine, made by `ray start`, each with the flags that its test needs."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote

import psutil
import pytest

from tests.paths import ROOT
from tuner.cluster.runtime_env import PACKAGES

RAY = Path(sys.executable).with_name("ray")


@contextmanager
def own_token(**more: str) -> Iterator[str]:
    """More variables for a cluster; its token is that of all clusters of this test process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in more.items():
            patch.setenv(name, value)
        yield os.environ["RAY_AUTH_TOKEN"]


@contextmanager
def ray_start(
    *flags: str,
    cwd: Path = ROOT,
    within: tuple[str, ...] = (),
    more: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A node, and whatever it starts, until the end.

    `within` is a command that runs the one behind it, and `more` is added to the environment.
    It has no log monitor and no worker that waits for a task: both take much of a core.
    """
    usual = ("--block", "--disable-usage-stats", "--include-log-monitor=false")
    no_waiting_worker = {"RAY_prestart_worker_first_driver": "0"}
    process = subprocess.Popen(
        [*within, RAY, "start", *usual, *flags],
        cwd=cwd,
        env={**os.environ, **no_waiting_worker, "PYTHONPATH": str(ROOT), **(more or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if "Ray runtime started" in line:
                break
        assert process.poll() is None, "".join(told)
        yield
    finally:
        started = [*psutil.Process(process.pid).children(recursive=True), process]
        for one in started:
            one.kill()
        process.communicate()


@contextmanager
def head(
    *flags: str,
    port: int,
    cwd: Path = ROOT,
    page: int | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The head of a cluster, with Ray's own page on a port where one is given; its address."""
    with ExitStack() as stack:
        own = (
            f"--port={port}",
            f"--temp-dir={stack.enter_context(short_directory())}",
            "--node-ip-address=127.0.0.1",
        )
        shown = ["--include-dashboard=false"]
        if (
            page is not None
        ):  # the agent takes the jobs; its usual port belongs to another node of this machine
            shown = [f"--dashboard-port={page}", f"--dashboard-agent-listen-port={free_port()}"]
        stack.enter_context(ray_start("--head", *own, *shown, *flags, cwd=cwd, more=more))
        yield f"127.0.0.1:{port}"


@contextmanager
def short_directory() -> Iterator[str]:
    """For sockets, whose paths may not be long."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        yield directory


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def cannot_hide() -> str | None:
    """Why no directory can be hidden from a process here; None if it can."""
    if shutil.which("unshare") and not subprocess.call(
        "unshare --mount true 2>/dev/null", shell=True
    ):
        return None
    return "needs Linux, root, and the right to make namespaces"


def without(*directories: Path, empty: Path) -> tuple[str, ...]:
    """A command for whose processes these directories are empty."""
    mounts = " && ".join(
        f"mount --bind {quote(str(empty))} {quote(str(one))}" for one in directories
    )
    return ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")


def hidden_from_nodes() -> set[Path]:
    """Where Python finds the project: in this checkout, and at the other end of an installation."""
    script = (
        "import sys; from importlib.util import find_spec as find; "
        "print(*[spec.origin for spec in map(find, sys.argv[1:]) if spec])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *PACKAGES], cwd="/", env={}, capture_output=True, text=True
    )
    installed = {Path(origin).parent for origin in done.stdout.split()}
    return installed | {ROOT / name for name in (*PACKAGES, "tests")}
