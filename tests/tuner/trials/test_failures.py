"""What a worker group that failed is blamed for; that groups go on is tested on nodes."""

import ray
import ray.train

from tuner.trials.reporter import OBJECTIVE, failure_result, group_cause


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
