import time

from tuner.trials.tune_run import SearchEnd


def test_a_deadline_passes_once_and_for_all_and_stops_no_single_trial() -> None:
    now = time.monotonic()
    assert not SearchEnd(None, now).stop_all()
    assert not SearchEnd(3600, now).stop_all()
    late = SearchEnd(10, now - 20)
    assert not late.timed_out
    assert late("id", {}) is False
    assert late.stop_all()
    assert late.timed_out


def test_a_storage_that_is_gone_for_one_trial_ends_all_with_its_error() -> None:
    gone = SearchEnd(None, 0)
    assert gone("id", {"epoch": 1}) is False
    assert not gone.stop_all()
    assert gone("id", {"storage_problem": (28, "No space left on device")}) is False
    assert gone.stop_all()
    assert gone("id", {"epoch": 2}) is False
    assert gone.storage_problem == (28, "No space left on device")
    assert not gone.timed_out
