import time

import pytest

from tuner.trials.tune_run import Deadline, StorageGone


def test_a_deadline_passes_once_and_for_all_and_stops_no_single_trial() -> None:
    now = time.monotonic()
    assert not Deadline(None, now).stop_all()
    assert not Deadline(3600, now).stop_all()
    late = Deadline(10, now - 20)
    assert not late.passed
    assert late("id", {}) is False
    assert late.stop_all()
    assert late.passed


def test_a_storage_that_is_gone_for_one_trial_ends_all_with_its_error() -> None:
    gone = StorageGone()
    assert gone("id", {"epoch": 1}) is False
    assert not gone.stop_all()
    gone.check()
    assert gone("id", {"storage_problem": (28, "No space left on device")}) is False
    assert gone.stop_all()
    with pytest.raises(OSError, match="No space left"):
        gone.check()
