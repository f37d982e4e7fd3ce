"""What Ray reads from the environment, which of its loggers are heard, and how it refuses code."""

import logging
import os
import threading

import pytest
from ray._private import worker
from ray.exceptions import RpcError, RuntimeEnvSetupError

from tests.tuner.conftest import as_a_process
from trainables.errors import UsageError
from tuner.cluster import connect
from tuner.cluster.connect import is_not_about_storage, output, prepare_environment


def test_the_environment_is_set_but_what_the_person_set_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_USAGE_STATS_ENABLED": "1"})
    prepare_environment(verbose=True)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AIR_NEW_OUTPUT" not in os.environ
    prepare_environment(verbose=False)
    assert os.environ["RAY_AIR_NEW_OUTPUT"] == "0"


@pytest.mark.parametrize(
    ("own", "whose"), [(["nets:Mine", "my.py:f"], "nets:Mine, my.py:f"), ([], "transform-tuner")]
)
def test_code_that_can_not_be_sent_is_named_as_far_as_it_is_a_persons_own(
    monkeypatch: pytest.MonkeyPatch, own: list[str], whose: str
) -> None:
    def refuse(**_: object) -> None:
        raise RuntimeEnvSetupError("It failed.\nThe package is too large. Try this.")

    monkeypatch.setattr(connect, "init", refuse)
    monkeypatch.setattr(connect, "head_of", str)
    monkeypatch.setattr(connect, "runtime_environment", lambda names, copies: {})
    told = rf"^the code of {whose} can't be sent to the nodes \(The package is too large\); Ray"
    with pytest.raises(UsageError, match=told):
        connect.join("head:6379", own=own, verbose=True)


def test_of_what_tune_logs_only_faults_of_the_storage_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("a search's")
    logger.addFilter(is_not_about_storage)
    for error in (OSError("ACCESS_DENIED"), KeyError("a fault of ours")):
        try:
            raise error
        except Exception as raised:
            logger.exception("Trial failed: %s", type(raised).__name__)
    logger.error("without a traceback")
    assert [record.getMessage() for record in caplog.records] == [
        "Trial failed: KeyError",
        "without a traceback",
    ]


def test_the_log_of_a_dead_raylet_is_not_printed_and_what_else_ray_tells_of_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = []

    def heard(data: dict[str, list[str]], ignore_prefix: bool) -> None:
        printed.extend(data["lines"])

    monkeypatch.setattr(worker, "print_to_stdstream", heard)
    for _ in range(2):  # one search after the other, in one process
        with as_a_process():
            output(verbose=False)
        for line in ("Raylet is terminated. Termination is unexpected. …", "A node is dead."):
            worker.print_to_stdstream({"lines": [line]}, ignore_prefix=False)
    assert printed == ["A node is dead."] * 2


def test_a_connection_that_rays_threads_lose_is_not_printed_and_what_else_threads_raise_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = []
    monkeypatch.setattr(threading, "excepthook", lambda args: printed.append(str(args.exc_value)))

    def end(name: str, error: Exception) -> None:
        def fail() -> None:
            raise error

        thread = threading.Thread(target=fail, name=name)
        thread.start()
        thread.join()

    for _ in range(2):  # one search after the other, in one process
        with as_a_process():
            output(verbose=False)
        end("ray_listen_error_messages", RpcError("Connection reset by peer"))
        end("ray_listen_error_messages", ValueError("a fault of Ray"))
        end("images", RpcError("ours"))
    assert printed == ["a fault of Ray", "ours"] * 2
