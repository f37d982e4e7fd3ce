"""A search whose storage is a bucket: tables, networks and checkpoints go there, and it goes on from there."""

import time
from pathlib import Path

import pandas as pd
import pytest

from analysis.tables.bucket import Bucket, local_directory
from analysis.tables.files import read
from tests.tuner.bucket_service import Service, start
from tests.waiting import until
from trainables.data.cache_dir import CACHE_VARIABLE
from trainables.networks.weights import read_header
from tuner.storage.claim import check_storage
from tuner.storage.experiment import Experiment
from tuner.storage.run_storage import RunStorage

SMALL = ("--model", "separable", "--data", "photos", "--images", "2000", "--samples", "2", "--max-epochs", "60",
         "--grace-epochs", "60", "--patience", "60", "60", "--wandb", "disabled", "--timing", "none")  # fmt: skip


def table(storage: str, name: str) -> pd.DataFrame:
    """As the bucket has it."""
    return read(local_directory(storage) / "tables", name)


def test_a_search_that_was_killed_goes_on_elsewhere_from_what_the_bucket_has(
    service: Service, tmp_path: Path
) -> None:
    storage = f"s3://searches/killed?{service.options}"
    driver = start(storage, tmp_path / "one", "--name", "run", *SMALL)
    until(lambda: len(table(storage, "epochs")) >= 3)
    driver.kill()
    driver.communicate()
    counts = table(storage, "epochs").groupby("trial").size()
    # either table may have been sent last: what both know of a trial is what it goes on from
    known = {
        row.trial: min(row.epochs, counts.get(row.trial, 0))
        for row in table(storage, "trials").itertuples()
    }
    resumed = start(storage, tmp_path / "other", "--resume", "run")
    output, _ = resumed.communicate(timeout=250)
    assert resumed.returncode == 0, output
    for trial, epoch in known.items():
        assert f"trial {trial:>3}  goes on   after epoch {epoch}\n" in output
    trials, epochs = table(storage, "trials"), table(storage, "epochs")
    assert trials.stop_reason.tolist() == ["max_epochs", "max_epochs"]
    assert epochs.groupby("trial").epoch.apply(sorted).tolist() == [list(range(1, 61))] * 2
    assert table(storage, "runs").status.tolist() == ["finished"]
    assert trials.checkpoint.str.startswith("s3://searches/killed/experiments/run/session-").all()
    best = local_directory(storage) / "networks" / "run=run" / "best.safetensors"
    assert read_header(best).facts["run"] == "run"


def test_a_search_waits_for_a_bucket_that_is_away_and_no_trial_fails(
    service: Service, tmp_path: Path
) -> None:
    storage = f"s3://searches/away?{service.options}"
    driver = start(storage, tmp_path / "one", "--name", "run", *SMALL)
    until(lambda: len(table(storage, "epochs")) >= 3)
    service.stop()
    time.sleep(15)  # longer than the client's own retries
    service.start()
    output, _ = driver.communicate(timeout=250)
    assert driver.returncode == 0, output
    trials, epochs = table(storage, "trials"), table(storage, "epochs")
    assert trials.stop_reason.tolist() == ["max_epochs", "max_epochs"]
    assert trials.restarts.tolist() == [0, 0]
    assert epochs.groupby("trial").epoch.apply(sorted).tolist() == [list(range(1, 61))] * 2


def test_a_bucket_that_refuses_from_some_moment_on_ends_the_search_with_a_sentence(
    service: Service, tmp_path: Path
) -> None:
    storage = f"s3://searches/refused?{service.options}"
    driver = start(storage, tmp_path / "one", "--name", "run", *SMALL)
    until(lambda: len(table(storage, "epochs")) >= 3)
    known = len(table(storage, "epochs"))
    service.refused_keys.add("key")
    try:
        output, _ = driver.communicate(timeout=100)
    finally:
        service.refused_keys.clear()
    assert driver.returncode == 1, output
    assert "ACCESS_DENIED" in output.splitlines()[-1]
    assert output.endswith(
        f"when that is mended, type python -m tuner.run --resume run --storage '{storage}'\n"
    )
    assert "Traceback" not in output
    resumed = start(storage, tmp_path / "one", "--resume", "run")
    output, _ = resumed.communicate(timeout=250)
    assert resumed.returncode == 0, output
    assert table(storage, "trials").stop_reason.tolist() == ["max_epochs", "max_epochs"]
    epochs = table(storage, "epochs")
    assert len(epochs) == 120 >= known


def test_a_bucket_that_refuses_is_told_before_anything_starts(
    service: Service, tmp_path: Path
) -> None:
    refused = start(f"s3://no-such-bucket/x?{service.options}", tmp_path, "--name", "run", *SMALL)
    output, _ = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert output.startswith("error: s3://no-such-bucket/x")
    assert "there is no bucket no-such-bucket: make it first" in output


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
