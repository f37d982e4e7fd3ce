"""Ray on this machine: started with patience, and where it can't be, the reason and the cure."""

import errno
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.request import getproxies_environment

import psutil

from analysis.console import Console
from trainables.errors import first_line
from tuner.cluster import auth_token, connect
from tuner.cluster.watch import lives

START_SEC = 300.0  # for Ray's own processes; Ray itself gives the last of them 30 s
MINUTES = f"{START_SEC / 60:g} minutes"
SLOW_SEC = 20.0  # until a line says that it takes long
POLL_SEC = 0.5
LEAST_ROOM = 64 * 2**20  # bytes; Ray's first logs take a few MiB
# How long Ray waits for its own processes, as it reads it from the environment
PATIENCE = {
    "RAY_raylet_start_wait_time_s": "1",  # then it is looked whether the raylet lives
    "RAY_NUM_REDIS_GET_RETRIES": f"{START_SEC:.0f}",  # one a second, until the GCS answers
    "RAY_agent_register_timeout_ms": f"{START_SEC * 1000:.0f}",
    "RAY_worker_register_timeout_seconds": f"{START_SEC:.0f}",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": f"{START_SEC:.0f}",
}
# Processes for trials are started while the driver still imports, and wait for their trial
AHEAD = {
    "RAY_prestart_worker_first_driver": "1",
    "RAY_idle_worker_killing_time_threshold_ms": f"{START_SEC * 1000:.0f}",  # 1 s by default
}
NONE_AHEAD = {"RAY_prestart_worker_first_driver": "0"}
LISTEN_PORT = "dashboard_agent_listen_port"
AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", LISTEN_PORT)
OURS = range(20_000, 32_768)  # below the ports that systems give to connections
SCARCE = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE)  # memory, processes, open files
NO_PROXY = ("no_proxy", "NO_PROXY")  # some programs read the one, some the other


class RayStartError(Exception):
    """Ray does not start on this machine: one sentence."""


def prepare_environment(*, dashboard: bool) -> None:
    """Set what Ray reads when it starts here, as `connect.prepare_environment` does, and as early.

    Args:
        dashboard: As `start` has it.
    """
    # Worker groups take no process that was started ahead: each of those costs a core 2 s
    for name, value in {**PATIENCE, **(NONE_AHEAD if dashboard else AHEAD)}.items():
        os.environ.setdefault(name, value)
    os.environ.pop("RAY_GCS_SERVER_PORT", None)  # for others' clusters, which may have it now
    _go_round_proxies()


def start(console: Console, *, dashboard: bool, verbose: bool) -> None:
    """Start Ray on this machine; a line says so where that takes long.

    Call `prepare_environment` first. Raises RayStartError when it has not come within START_SEC, or
    one of its processes died.
    """
    try:
        auth_token.make()
    except (OSError, RuntimeError) as error:  # the second where nobody knows of a HOME
        raise RayStartError(
            f"Ray keeps its token in {auth_token.TOKEN_FILE}, which can't be made "
            f"({_reason(error)}): put HOME=DIRECTORY before the command, with one that can be "
            f"written"
        ) from error
    # With the dashboard, since only worker groups need both
    environment = (
        {"worker_process_setup_hook": f"{__name__}.{name_this_cluster.__name__}"}
        if dashboard
        else {}
    )
    slow = f"Ray is slow to start on this machine; waiting up to {MINUTES} for it"
    timer = Timer(SLOW_SEC, console.line, [slow], {"style": "yellow"})
    timer.start()
    try:
        with _our_start(slim=not dashboard, verbose=verbose):
            connect.init(
                address="local",
                include_dashboard=dashboard,
                runtime_env=environment,
                **connect.output(verbose),
            )
    except Exception as error:
        raise RayStartError(
            f"Ray does not start on this machine ({_reason(error)}); {_cure(error)}"
        ) from error
    finally:
        timer.cancel()


def _go_round_proxies() -> None:
    """Let no request to this machine go through a proxy, here and in what is started from here.

    Ray Train asks the dashboard by HTTP which worker groups are gone.
    """
    known = [os.environ.get(name, "") for name in NO_PROXY]
    if "*" in known or not getproxies_environment():
        return
    from ray.util import get_node_ip_address  # here, since the import takes half a second

    own = ["localhost", "127.0.0.1", get_node_ip_address()]
    hosts = [host.strip() for host in ",".join([*known, *own]).split(",")]
    os.environ |= dict.fromkeys(NO_PROXY, ",".join(dict.fromkeys(filter(None, hosts))))


def _reason(error: Exception) -> str:
    strerror = isinstance(error, OSError) and error.strerror
    return strerror or first_line(error).partition(". ")[0].rstrip(".")


def _cure(error: Exception) -> str:
    from ray._common.utils import get_default_ray_temp_dir
    from ray.exceptions import AuthenticationError

    if isinstance(error, AuthenticationError):
        return f"unset RAY_AUTH_TOKEN_PATH, and it takes the token in {auth_token.TOKEN_FILE}"
    directory = Path(get_default_ray_temp_dir())
    of_files = isinstance(error, OSError) and error.errno not in SCARCE
    is_full = directory.exists() and shutil.disk_usage(directory).free < LEAST_ROOM
    if of_files or is_full:
        variable = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
        return (
            f"its sockets and logs lie in {directory}: put {variable}=/tmp before the command, or "
            f"another short path to a directory that can be written and has room"
        )
    session = next(directory.glob(f"session_*_{os.getpid()}"), directory)
    return (
        f"its logs are in {session / 'logs'}; "
        f"type the command again when there is memory, and less runs here"
    )


@contextmanager
def _our_start(*, slim: bool, verbose: bool) -> Iterator[None]:
    """Let Ray wait for its processes as long as they live; the one place that changes its start.

    Its limit for a raylet to be known is 30 s, which is written into `Node` itself. A raylet ends
    when its agents have not told their ports in 15 s, so they are given theirs.

    Args:
        slim: Whether to start none that nobody asks: autoscaler's monitor, dashboard, logs. With
            what the node's agent imports for the dashboard they take 6 s of processor time, while
            trials wait for their processes. Ray imports the same here to see whether that can be
            had, which is 0.8 s.
        verbose: Whether somebody reads the logs.
    """
    import ray._private.node
    from ray._private import parameter, services, utils

    node: Any = ray._private.node
    until = time.monotonic() + START_SEC
    params, start_ray_process = parameter.RayParams, services.start_ray_process
    ports = _agent_ports()
    fixed: dict[str, Any] = dict(ports)
    if slim:
        fixed |= {"no_monitor": True, "include_log_monitor": verbose}

    def start_process(command: list[str], kind: str, **options: Any) -> Any:
        if kind == "raylet":
            command = [*command, f"--{LISTEN_PORT}={ports[LISTEN_PORT]}"]
        return start_ray_process(command, kind, **options)

    wait_for_port = node.wait_for_persisted_port
    changes = [
        (services, "get_node", _patiently(services.get_node, "raylet", until)),
        (
            node,
            "wait_for_persisted_port",
            _patiently(wait_for_port, "gcs_server", until, timeout_ms=1000),
        ),
        (services, "start_ray_process", start_process),
        (parameter, "RayParams", lambda **options: params(**options | fixed)),
    ]
    if slim:
        without = ImportError("nobody asks the dashboard")
        changes += [
            (node.Node, "start_api_server", lambda node, **options: None),
            (utils, "get_dashboard_dependency_error", lambda: without),
        ]
    with ExitStack() as as_it_was:
        for owner, name, changed in changes:
            as_it_was.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, changed)
        yield


def _agent_ports() -> dict[str, int]:
    """Return ports that nobody listens on, drawn so that searches that start at once differ."""
    free: list[int] = []
    for port in random.Random().sample(OURS, len(OURS)):
        with suppress(OSError), socket.socket() as one:
            one.bind(("", port))
            free.append(port)
        if len(free) == len(AGENT_PORTS):
            break
    return dict(zip(AGENT_PORTS, free, strict=True))


def _patiently(
    ask: Callable[..., Any], process: str, until: float, **fixed: Any
) -> Callable[..., Any]:
    """Return `ask`, called again while it raises RuntimeError and that process of ours lives.

    Each time it gets what is `fixed`, whatever Ray gives.
    """

    def patient(*args: Any, **options: Any) -> Any:
        while True:
            try:
                return ask(*args, **{**options, **fixed})
            except RuntimeError as error:
                if not _lives(process):
                    raise RayStartError(f"its process {process} has ended") from error
                if time.monotonic() > until:
                    raise RayStartError(f"{process} has not answered in {MINUTES}") from error
            time.sleep(POLL_SEC)

    return patient


def _lives(name: str) -> bool:
    return any(child.name() == name and lives(child) for child in psutil.Process().children())


def name_this_cluster() -> None:
    """In a process of it: ask no other cluster of this machine for the state of a trial."""
    import ray

    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
