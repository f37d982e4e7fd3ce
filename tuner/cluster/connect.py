"""Ray started on this machine, or a cluster joined; and left again."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import psutil

from analysis.console import Console
from trainables.errors import UsageError, first_line, last_line
from tuner.cluster.quiet import quieten_loggers
from tuner.cluster.reachable import ALONE, head_of
from tuner.cluster.runtime_env import runtime_environment

START_SEC = 300.0  # for Ray's own processes; Ray itself gives the last of them 30 s
MINUTES = f"{START_SEC / 60:g} minutes"
SLOW_SEC = 20.0  # until a line says that it takes long
POLL_SEC = 0.5
# What Ray reads from the environment for that; set before its first import
PATIENCE = {
    "RAY_raylet_start_wait_time_s": "1",  # then it is looked whether the raylet lives
    "RAY_NUM_REDIS_GET_RETRIES": f"{START_SEC:.0f}",  # one a second, until the GCS answers
    "RAY_agent_register_timeout_ms": f"{START_SEC * 1000:.0f}",
    "RAY_worker_register_timeout_seconds": f"{START_SEC:.0f}",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": f"{START_SEC:.0f}",
}


class RayStartError(Exception):
    """Ray does not start on this machine: one sentence."""


def start(console: Console, *, dashboard: bool, verbose: bool) -> None:
    """Start Ray on this machine; a line says so where that takes long.

    Raises RayStartError when it has not come within START_SEC, or one of its processes died.
    """
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import ray
    from ray._common.utils import get_default_ray_temp_dir

    # With the dashboard, since only worker groups need both
    environment = (
        {"worker_process_setup_hook": f"{__name__}.{name_this_cluster.__name__}"}
        if dashboard
        else {}
    )
    output = _output(verbose)
    slow = f"Ray is slow to start on this machine; waiting up to {MINUTES} for it"
    timer = Timer(SLOW_SEC, console.line, [slow], {"style": "yellow"})
    timer.start()
    try:
        with _patient():
            ray.init(
                address="local", include_dashboard=dashboard, runtime_env=environment, **output
            )
    except Exception as error:
        raise RayStartError(
            f"Ray does not start on this machine ({first_line(error).rstrip('.')}); "
            f"its logs are in {Path(get_default_ray_temp_dir(), 'session_latest', 'logs')}; "
            f"type the command again when there is memory, and less runs here"
        ) from error
    finally:
        timer.cancel()


@contextmanager
def _patient() -> Iterator[None]:
    """Let Ray wait START_SEC for its own processes, as long as they live.

    Its limit for a raylet to be known is 30 s, which is written into `Node` itself.
    """
    import ray._private.node
    from ray._private import services

    node: Any = ray._private.node
    until = time.monotonic() + START_SEC
    get_node, wait_for_port = services.get_node, node.wait_for_persisted_port

    def wait_a_second_for_port(*where: Any, timeout_ms: int) -> Any:
        return wait_for_port(*where, timeout_ms=min(timeout_ms, 1000))

    services.get_node = _patiently(get_node, "raylet", until)
    node.wait_for_persisted_port = _patiently(wait_a_second_for_port, "gcs_server", until)
    try:
        yield
    finally:
        services.get_node, node.wait_for_persisted_port = get_node, wait_for_port


def _patiently(ask: Callable[..., Any], process: str, until: float) -> Callable[..., Any]:
    """Return `ask`, called again while it raises RuntimeError and that process of ours lives."""

    def patient(*args: Any, **options: Any) -> Any:
        while True:
            try:
                return ask(*args, **options)
            except RuntimeError as error:
                if not _lives(process):
                    raise RayStartError(f"its process {process} has ended") from error
                if time.monotonic() > until:
                    raise RayStartError(f"{process} has not answered in {MINUTES}") from error
            time.sleep(POLL_SEC)

    return patient


def _lives(name: str) -> bool:
    return any(
        child.name() == name and child.status() != psutil.STATUS_ZOMBIE
        for child in psutil.Process().children()
    )


def name_this_cluster() -> None:
    """In a process of it: ask no other cluster of this machine for the state of a trial."""
    import ray

    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address


def join(address: str, *, model: str, verbose: bool) -> None:
    """Join the cluster at `address`, and bring it what trials of `model` need.

    Call `check_reachable` first. Raises UsageError when it can't be joined.
    """
    import ray
    from ray.exceptions import RayError, RuntimeEnvSetupError

    # Without it a node's processes ask any cluster of their machine for the state of a trial
    named = {"env_vars": {"RAY_ADDRESS": head_of(address)}}
    environment = {**runtime_environment(model), **named}
    try:
        ray.init(address=address, runtime_env=environment, **_output(verbose))
    except RuntimeEnvSetupError as error:
        raise UsageError(_not_sent(model, error)) from error
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise UsageError(
            f"--address {address}: this machine can't join the cluster there "
            f"({first_line(error)}); type the command on its head, or {ALONE}"
        ) from error


def stop() -> None:
    """Leave the cluster, or end the one that `start` made; a second Ctrl-C does not stop that."""
    import ray

    with suppress(KeyboardInterrupt):
        ray.shutdown()


def _output(verbose: bool) -> dict[str, Any]:
    """Silence Ray unless its messages are asked for; what `ray.init` takes for that."""
    if not verbose:
        quieten_loggers()
    return {"log_to_driver": verbose, "logging_level": "INFO" if verbose else "ERROR"}


def _not_sent(model: str, error: Exception) -> str:
    """Say what is wrong with the code; Ray's advice names settings that this command lacks."""
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

    reason = last_line(error).partition(". ")[0]  # the first line only says that it failed
    return (
        f"--model {model}: its code can't be sent to the nodes ({reason}); Ray takes packages "
        f"below {GCS_STORAGE_MAX_SIZE / 2**20:g} MiB: move large files out of the package, "
        f"or into a directory `data` in it, which stays here"
    )
