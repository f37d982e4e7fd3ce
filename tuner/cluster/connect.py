"""Ray without its chatter: its environment, a cluster that answers and is joined, and the end."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainables.errors import UsageError, first_line, last_line
from tuner.cluster.auth_token import TOKEN_FILE
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
    # A resumed search is rebuilt from the tables, not from Ray's snapshots
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    # As they are by default. Ray or a search sets them while other threads run: a variable that is
    # new then may move the environment from under a thread that reads it, and glibc before 2.41
    # ends the process for that
    "PYTHONBREAKPOINT": "",
    "RAY_CLIENT_MODE": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "auto",
}
LOG_LEVELS = {
    **dict.fromkeys(("ray", "ray.tune", "ray.train", "ray.air", "ray.data"), logging.ERROR),
    # They log a traceback when a storage can't be written, which the command reports in a sentence
    "ray.tune.execution.experiment_state": logging.CRITICAL,
    "ray.train._internal.storage": logging.CRITICAL,
}
FILTERED = "ray.tune.execution.tune_controller"  # logs other faults too
DUMP = "Raylet is terminated"  # how Ray begins the end of a dead raylet's log
LISTENERS = "ray_"  # how the names of Ray's threads begin
ANSWER_SEC = 5.0  # for the head of a cluster, before Ray tries for 20 s whatever is wrong
ALONE = "leave --address out to start one on this machine"


def prepare_environment(verbose: bool) -> None:
    """Set what Ray reads on import; call it before anything imports ray or starts a thread.

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


def init(**options: Any) -> None:
    """Call `ray.init` with the handler of SIGTERM as it was, during that and afterwards.

    Ray's own in Python ends the command without a word; the one in C++, which comes last, prints
    where it was.
    """
    import ray
    from ray._private import utils

    ours = signal.getsignal(signal.SIGTERM)
    utils.set_sigterm_handler, set_handler = lambda handler: None, utils.set_sigterm_handler
    try:
        ray.init(**options)
    finally:
        utils.set_sigterm_handler = set_handler
        signal.signal(signal.SIGTERM, ours)


def join(address: str, *, own: Sequence[str], verbose: bool) -> None:
    """Join the cluster at `address`, and bring it the code that trials need.

    Call `check_reachable` first. Raises UsageError when it can't be joined.

    Args:
        address: Its head, as `--address` takes it.
        own: What of the search is a person's own, as `own_code.load` takes it.
        verbose: Whether Ray's own messages are shown.
    """
    from ray._private.runtime_env import packaging
    from ray.exceptions import RayError, RuntimeEnvSetupError

    # Without it a node's processes ask any cluster of their machine for the state of a trial
    variables = {"RAY_ADDRESS": head_of(address)}
    try:
        with TemporaryDirectory() as copies:
            environment = {**runtime_environment(own, Path(copies)), "env_vars": variables}
            init(address=address, runtime_env=environment, **output(verbose))
    except RuntimeEnvSetupError as error:
        # Ray's own advice names settings that this command lacks
        reason = last_line(error).partition(". ")[0]  # the first line only says that it failed
        whose = ", ".join(own) or "transform-tuner"
        raise UsageError(
            f"the code of {whose} can't be sent to the nodes ({reason}); Ray takes "
            f"packages below {packaging.GCS_STORAGE_MAX_SIZE / 2**20:g} MiB: move large files out "
            f"of the package, or into a directory `data` in it, which stays here"
        ) from error
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise UsageError(
            f"--address {address}: this machine can't join the cluster there "
            f"({first_line(error)}); type the command on its head, or {ALONE}"
        ) from error


def stop() -> None:
    """Leave the cluster, or end the one that was started; a second Ctrl-C does not stop that.

    One that broke the import of ray off leaves nothing to end.
    """
    ray = sys.modules.get("ray")
    if ray is not None:
        with suppress(KeyboardInterrupt):
            ray.shutdown()


def output(verbose: bool) -> dict[str, Any]:
    """Return what `ray.init` takes of that, and silence the rest.

    Errors that nobody else reports are heard all the same.
    """
    if not verbose:
        warnings.filterwarnings("ignore", module=r"ray\b")
        for name, level in LOG_LEVELS.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger(FILTERED).addFilter(is_not_about_storage)
        _leave_out_dumps()
        _leave_out_lost_connections()
    return {"log_to_driver": verbose, "logging_level": "INFO" if verbose else "ERROR"}


def _leave_out_dumps() -> None:
    """Keep Ray from printing the end of a dead raylet's log: `watch` says what to do."""
    from ray._private import worker

    heard = worker.print_to_stdstream
    if heard.__module__ == __name__:
        return

    def print_but_dumps(data: dict[str, Any], ignore_prefix: bool) -> None:
        if not data["lines"][0].startswith(DUMP):
            heard(data, ignore_prefix)

    worker.print_to_stdstream = print_but_dumps


def _leave_out_lost_connections() -> None:
    """Keep Ray's threads from printing a traceback when its GCS dies: `watch` says what to do."""
    from ray.exceptions import RpcError

    heard = threading.excepthook
    if heard.__module__ == __name__:
        return

    def hear_but_lost_connections(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else ""
        if not (name.startswith(LISTENERS) and issubclass(args.exc_type, RpcError)):
            heard(args)

    threading.excepthook = hear_but_lost_connections
