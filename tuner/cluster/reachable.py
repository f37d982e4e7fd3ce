"""Whether the head of a cluster answers, and with which token: asked before Ray tries to join it.

Ray itself tries for 20 s, and gives the same message whatever is wrong.
"""

import os
from typing import Any

from trainables.errors import UsageError, first_line

ANSWER_SEC = 5.0
ALONE = "leave --address out to start one on this machine"
TOKEN_FILE = "~/.ray/auth_token"


def check_reachable(address: str) -> None:
    """See that the head of the cluster at `address` answers. Raises UsageError otherwise."""
    import grpc
    from ray.exceptions import AuthenticationError

    try:
        _ask_for_id(head_of(address))
    except AuthenticationError:
        problem = (
            f"there is no token on this machine; copy {TOKEN_FILE} from the head of the cluster, "
            f"or set RAY_AUTH_MODE=disabled if it was started without one"
        )
    except grpc.RpcError as error:
        refused = error.code() == grpc.StatusCode.UNAUTHENTICATED
        problem = _wrong_token() if refused else _no_answer(error)
    else:
        return
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
        head: str = canonicalize_bootstrap_address_or_die(address)
    except (ConnectionError, OSError, ValueError) as error:
        raise UsageError(
            f"--address {address}: there is no such cluster ({first_line(error)}); "
            f"give its head as HOST:PORT, or {ALONE}"
        ) from error
    return head


def _wrong_token() -> str:
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode != "token":
        return (
            f"the cluster there asks for a token, and RAY_AUTH_MODE={mode} sends none; "
            f"unset RAY_AUTH_MODE"
        )
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


def _ask_for_id(head: str) -> None:
    """Raises grpc.RpcError, or Ray's AuthenticationError where there is no token to ask with."""
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.gcs_service_pb2 import GetClusterIdRequest  # type: ignore[attr-defined]
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

    options = [("grpc.enable_http_proxy", 0)]  # as Ray's own calls
    with init_grpc_channel(head, options=options) as channel:
        NodeInfoGcsServiceStub(channel).GetClusterId(GetClusterIdRequest(), timeout=ANSWER_SEC)
