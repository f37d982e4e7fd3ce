"""Joining a cluster that runs: whoever does not answer, or asks for another token, is told at once.

Ray itself tries for 20 s and says the same of both.
"""

import os
from typing import Any

from tuner.cluster.runtime_env import runtime_environment

KNOCK_SEC = 5.0
ALONE = "leave --address out to start one on this machine"
TOKEN_FILE = "~/.ray/auth_token"


def knock(address: str) -> None:
    """See that the head of the cluster at `address` answers. Raises ValueError when it does not tell even its id."""
    import grpc
    from ray.exceptions import AuthenticationError

    try:
        _ask_for_id(_head(address))
    except AuthenticationError:
        problem = (
            f"there is no token on this machine; copy {TOKEN_FILE} from the head of the cluster, "
            f"or set RAY_AUTH_MODE=disabled if it was started without one"
        )
    except grpc.RpcError as error:
        problem = (
            _other_token() if error.code() == grpc.StatusCode.UNAUTHENTICATED else _no_answer(error)
        )
    else:
        return
    raise ValueError(f"--address {address}: {problem}")


def join(address: str, model: str, **quiet: Any) -> None:
    """Join the cluster at `address`, and bring it what trials of `model` need; `knock` first.

    Raises ValueError when that can't be done.
    """
    import ray
    from ray.exceptions import RayError, RuntimeEnvSetupError

    # Without it a node's processes ask any cluster of their machine for the state of a trial, when there are several
    named = {"env_vars": {"RAY_ADDRESS": _head(address)}}
    try:
        ray.init(address=address, runtime_env={**runtime_environment(model), **named}, **quiet)
    except RuntimeEnvSetupError as error:
        raise ValueError(_not_sent(model, error)) from error
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise ValueError(
            f"--address {address}: this machine can't join the cluster there ({_first_line(error)}); "
            f"type the command on its head, or {ALONE}"
        ) from error


def _not_sent(model: str, error: Exception) -> str:
    """What is wrong with the code for the nodes; Ray's own advice names settings that this command does not have."""
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

    reason = (
        str(error).splitlines()[-1].partition(". ")[0]
    )  # the first line only says that it failed
    return (
        f"--model {model}: its code can't be sent to the nodes ({reason}); Ray takes packages below "
        f"{GCS_STORAGE_MAX_SIZE / 2**20:g} MiB: move large files out of the package, "
        f"or into a directory `data` in it, which stays here"
    )


def _other_token() -> str:
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode != "token":
        return f"the cluster there asks for a token, and RAY_AUTH_MODE={mode} sends none; unset RAY_AUTH_MODE"
    return (
        f"the cluster there has another token than this machine; copy {TOKEN_FILE} from its head, "
        f"and unset RAY_AUTH_TOKEN if it is set"
    )


def _no_answer(error: Any) -> str:
    reason = (error.details() or "").rpartition(": ")[2].strip("[]")
    return (
        f"no Ray cluster answers there ({reason}); "
        f"give the HOST:PORT that `ray start --head` told on its head, or {ALONE}"
    )


def _head(address: str) -> str:
    """HOST:PORT of the head. Raises ValueError when `auto` finds none here, and for Ray's `local`, which has none."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    if address == "local":
        raise ValueError(
            f"--address local: it names no cluster that runs; give its head as HOST:PORT, or {ALONE}"
        )
    try:
        head: str = canonicalize_bootstrap_address_or_die(address)
    except (ConnectionError, OSError, ValueError) as error:
        raise ValueError(
            f"--address {address}: there is no such cluster ({_first_line(error)}); "
            f"give its head as HOST:PORT, or {ALONE}"
        ) from error
    return head


def _ask_for_id(head: str) -> None:
    """Raises grpc.RpcError, or Ray's AuthenticationError where there is no token to ask with."""
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.gcs_service_pb2 import GetClusterIdRequest  # type: ignore[attr-defined]
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

    with init_grpc_channel(
        head, options=[("grpc.enable_http_proxy", 0)]
    ) as channel:  # as Ray's own calls
        NodeInfoGcsServiceStub(channel).GetClusterId(GetClusterIdRequest(), timeout=KNOCK_SEC)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
