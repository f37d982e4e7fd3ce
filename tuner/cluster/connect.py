"""Ray started on this machine, or a cluster joined; and left again."""

import os
from contextlib import suppress
from typing import Any

from analysis.console import Console
from trainables.errors import UsageError, first_line, last_line
from tuner.cluster.quiet import quieten_loggers
from tuner.cluster.reachable import ALONE, head_of
from tuner.cluster.runtime_env import runtime_environment


class RayStartError(Exception):
    """Ray does not start on this machine: one sentence."""


def start(console: Console, *, dashboard: bool, verbose: bool) -> None:
    """Start Ray on this machine."""
    import ray

    # With the dashboard, since only worker groups need both
    environment = (
        {"worker_process_setup_hook": f"{__name__}.{name_this_cluster.__name__}"}
        if dashboard
        else {}
    )
    ray.init(
        address="local", include_dashboard=dashboard, runtime_env=environment, **_output(verbose)
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
    """Leave the cluster, or end the one that `start` made. A second Ctrl-C does not break it off."""
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
        f"--model {model}: its code can't be sent to the nodes ({reason}); Ray takes packages below "
        f"{GCS_STORAGE_MAX_SIZE / 2**20:g} MiB: move large files out of the package, "
        f"or into a directory `data` in it, which stays here"
    )
