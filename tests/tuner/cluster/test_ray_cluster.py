"""What a node has room for. Starting and joining Ray is tested with the command."""

import logging
import os

import pytest

from tuner.cluster.ray_cluster import Node, Share, prepare_environment, tells_of_no_storage


@pytest.mark.parametrize(
    ("share", "node", "workers"),
    [
        (Share(1, 0, 0), Node(8, 0, 16), 8),
        (Share(3, 0, 0), Node(8, 0, 16), 2),
        (Share(0.1, 0, 0), Node(0.3, 0, 16), 3),
        (Share(1, 0, 5), Node(8, 0, 16), 3),
        (Share(1, 0.25, 0), Node(16, 2, 16), 8),
        (Share(1, 0.25, 0), Node(3, 2, 16), 3),
        (Share(1, 0.4, 0), Node(16, 1, 16), 2),
        (Share(1, 0.4, 0), Node(16, 2, 16), 4),
        (Share(1, 0.1, 0), Node(64, 3, 16), 30),
        (Share(1, 0.6, 0), Node(16, 4, 16), 4),
        (Share(1, 1, 0), Node(16, 4, 16), 4),
        (Share(1, 2, 0), Node(16, 5, 16), 2),
        (Share(1, 0, 0), Node(16, 5, 16), 16),
        (Share(1, 0.5, 0), Node(16, 0, 16), 0),
        (Share(2, 0, 0), Node(1, 0, 16), 0),
    ],
)
def test_as_many_workers_fit_as_ray_would_place(share: Share, node: Node, workers: int) -> None:
    assert share.fits(node) == workers


def test_resources_are_named_as_ray_does_and_nothing_is_asked_for_zero() -> None:
    assert Share(1.5, 0, 0).resources == {"CPU": 1.5}
    assert Share(1, 0.25, 2).resources == {"CPU": 1, "GPU": 0.25, "memory": 2 * 2**30}


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


def test_of_what_tune_tells_only_faults_of_the_storage_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("a search's")
    logger.addFilter(tells_of_no_storage)
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
