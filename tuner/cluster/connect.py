"""Ray without its chatter: started on this machine, or a cluster joined that answers; and left."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import psutil

from analysis.console import Console
from trainables.errors import UsageError, first_line, last_line
from tuner.cluster.runtime_env import runtime_environment

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's older output is silent at verbose=0; the newer one is not
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables hold what its CSV and JSON files would
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the recorder prints a line for each
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
BEHAVIOUR = {
    "RAY_AUTH_MODE": "token",  # Ray listens on every interface
    # A driver whose head is gone ends after that; 60 s by default
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
    # A worker group's reports wait for it; 2 s by default
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less per worker group
    "RAY_USAGE_STATS_ENABLED": "0",
    # Trials take no process that was started ahead: each of those costs a core 2 s for nothing
    "RAY_prestart_worker_first_driver": "0",
    # A resumed search is rebuilt from the tables, not from Ray's snapshots
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}
LOG_LEVELS = {
    **dict.fromkeys(("ray", "ray.tune", "ray.train", "ray.air", "ray.data"), logging.ERROR),
    # They log a traceback when a storage can't be written, which the command reports in a sentence
    "ray.tune.execution.experiment_state": logging.CRITICAL,
    "ray.train._internal.storage": logging.CRITICAL,
}
FILTERED = "ray.tune.execution.tune_controller"  # logs other faults too
ANSWER_SEC = 5.0  # for the head of a cluster, before Ray tries for 20 s whatever is wrong
ALONE = "leave --address out to start one on this machine"
TOKEN_FILE = "~/.ray/auth_token"
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


def prepare_environment(verbose: bool) -> None:
    """Set what Ray reads on import; call it before anything imports ray.

    The person's own values stay.
    """
    for name, value in {**BEHAVIOUR, **({} if verbose else QUIET)}.items():
        os.environ.setdefault(name, value)


def is_not_about_storage(record: logging.LogRecord) -> bool:
    """Return whether a record is about something else than a storage that can't be used."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError))


def check_reachable(address: str) -> None:
    """See that the head of the cluster at `address` answers. Raises UsageError otherwise."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.gcs_service_pb2 import GetClusterIdRequest
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
    from ray.exceptions import AuthenticationError

    head = head_of(address)
    options = [("grpc.enable_http_proxy", 0)]  # as Ray's own calls
    mode = os.environ.get("RAY_AUTH_MODE", "")
    try:
        with init_grpc_channel(head, options=options) as channel:
            NodeInfoGcsServiceStub(channel).GetClusterId(GetClusterIdRequest(), timeout=ANSWER_SEC)
        return
    except AuthenticationError:
        problem = (
            f"there is no token on this machine; copy {TOKEN_FILE} from the head of the cluster, "
            f"or set RAY_AUTH_MODE=disabled if it was started without one"
        )
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:
            reason = (error.details() or "").rpartition(": ")[2].strip("[]")
            problem = (
                f"no Ray cluster answers there ({reason}); "
                f"give the HOST:PORT that `ray start --head` told on its head, or {ALONE}"
            )
        elif mode != "token":
            problem = (
                f"the cluster there asks for a token, and RAY_AUTH_MODE={mode} sends none; "
                f"unset RAY_AUTH_MODE"
            )
        else:
            problem = (
                f"the cluster there has another token than this machine; copy {TOKEN_FILE} from "
                f"its head, and unset RAY_AUTH_TOKEN if it is set"
            )
    raise UsageError(f"--address {address}: {problem}")


def head_of(address: str) -> str:
    """Return HOST:PORT of the head of the cluster at `address`.

    Raises UsageError when `auto` finds none here, and for Ray's `local`, which has none.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    if address == "local":
        raise UsageError(
            f"--address local: it names no cluster that runs; "
            f"give its head as HOST:PORT, or {ALONE}"
        )
    try:
        return str(canonicalize_bootstrap_address_or_die(address))
    except (ConnectionError, OSError, ValueError) as error:
        raise UsageError(
            f"--address {address}: there is no such cluster ({first_line(error)}); "
            f"give its head as HOST:PORT, or {ALONE}"
        ) from error


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
    slow = f"Ray is slow to start on this machine; waiting up to {MINUTES} for it"
    timer = Timer(SLOW_SEC, console.line, [slow], {"style": "yellow"})
    timer.start()
    try:
        with _patient():
            ray.init(
                address="local",
                include_dashboard=dashboard,
                runtime_env=environment,
                **_output(verbose),
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

    services.get_node = _patiently(get_node, "raylet", until)
    node.wait_for_persisted_port = _patiently(wait_for_port, "gcs_server", until, timeout_ms=1000)
    try:
        yield
    finally:
        services.get_node, node.wait_for_persisted_port = get_node, wait_for_port


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
    from ray._private.runtime_env import packaging
    from ray.exceptions import RayError, RuntimeEnvSetupError

    # Without it a node's processes ask any cluster of their machine for the state of a trial
    environment = {**runtime_environment(model), "env_vars": {"RAY_ADDRESS": head_of(address)}}
    try:
        ray.init(address=address, runtime_env=environment, **_output(verbose))
    except RuntimeEnvSetupError as error:
        # Ray's own advice names settings that this command lacks
        reason = last_line(error).partition(". ")[0]  # the first line only says that it failed
        raise UsageError(
            f"--model {model}: its code can't be sent to the nodes ({reason}); Ray takes packages "
            f"below {packaging.GCS_STORAGE_MAX_SIZE / 2**20:g} MiB: move large files out of the "
            f"package, or into a directory `data` in it, which stays here"
        ) from error
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
    """Return what `ray.init` takes of that, and silence the rest.

    Errors that nobody else reports are heard all the same.
    """
    if not verbose:
        warnings.filterwarnings("ignore", module=r"ray\b")
        for name, level in LOG_LEVELS.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger(FILTERED).addFilter(is_not_about_storage)
    return {"log_to_driver": verbose, "logging_level": "INFO" if verbose else "ERROR"}
