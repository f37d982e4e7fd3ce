"""A run's place in a bucket; searches whose storage is one are tested on nodes."""

from pathlib import Path

import pytest

from analysis.tables.bucket import Bucket
from tests.tuner.bucket_service import Service
from trainables.data.cache import CACHE_VARIABLE
from tuner.storage.claim import check_storage
from tuner.storage.run_storage import Experiment, RunStorage


def test_a_name_that_another_machine_took_is_taken(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunStorage(f"s3://searches/taken?{service.options}", "run")
    check_storage(run)
    run.experiment.files.create_dir(f"{run.experiment.root}/session-001")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match=r"--name run: .* already has a run of that name"):
        check_storage(run)


def test_trying_a_bucket_leaves_nothing_there(service: Service) -> None:
    run = RunStorage(f"s3://searches/tried?{service.options}", "run")
    check_storage(run)
    assert not Bucket(run.storage).fetch()
    assert Experiment.of(run.storage, "run").sessions() == []
