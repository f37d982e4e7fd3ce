"""What a worker group that failed is blamed for; that groups go on is tested on nodes."""

import traceback

import ray
import ray.train

from trainables.errors import LONGEST_TEXT
from tuner.trials.reporter import OBJECTIVE, failure_result, group_cause, raise_for_ray


def test_a_group_is_blamed_for_what_its_network_raised_and_not_for_a_process_that_it_lost() -> None:
    ours, died = RuntimeError("does not like dropout"), ray.exceptions.ActorDiedError()
    waited = RuntimeError("[../third_party/gloo/transport/tcp/pair.cc:553] Connection closed")
    for failures, cause in (
        ({0: waited, 1: ours}, ours),
        ({0: ours, 1: ours}, ours),
        ({0: waited, 1: died}, None),
        ({0: waited}, None),
    ):
        assert group_cause(ray.train.WorkerGroupError("it failed", failures)) is cause
    assert group_cause(ray.train.ControllerError(RuntimeError("of Ray"))) is None
    assert failure_result(ours, 2, "text") | {OBJECTIVE: 0} == {
        "epoch": 2,
        "stop_reason": "error",
        "error": "text",
        OBJECTIVE: 0,
    }


def raised(error: BaseException) -> BaseException:
    """What a worker of a group ends with where its network raises `error`."""
    try:
        try:
            raise error from KeyError("cause")
        except BaseException as caught:
            raise_for_ray(caught)
    except BaseException as again:
        return again


def test_a_group_s_error_is_raised_as_it_is_or_with_a_text_that_ray_can_pass_on() -> None:
    ours = OSError(7, "no room")
    assert raised(ours) is ours
    assert isinstance(ours.__cause__, KeyError)
    for text in ("\ud800 strange", "long " + "x" * 1_000_000):
        shown = "".join(traceback.format_exception(raised(ZeroDivisionError(text))))
        assert "RuntimeError: ZeroDivisionError: " in shown
        assert "raise error from KeyError" in shown
        assert len(shown.encode()) < 1.2 * LONGEST_TEXT
