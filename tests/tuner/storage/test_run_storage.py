"""Everything of a run lies below its storage."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis.tables.bucket import copy_of
from trainables.errors import UsageError
from tuner.storage.run_storage import RunStorage


def test_everything_of_a_run_lies_below_its_storage() -> None:
    run = RunStorage("/s", "x")
    assert run.tables == Path("/s/tables")
    assert run.experiment.root == "/s/experiments/x"
    assert run.networks == Path("/s/networks/run=x")
    assert run.weights(7) == Path("/s/networks/run=x/trial-0007.safetensors")


def test_tables_of_a_bucket_lie_in_its_copy_and_checkpoints_in_the_bucket_itself() -> None:
    address = "s3://searches/mine?region=eu-west-1"
    run = RunStorage(address, "x")
    assert run.tables == copy_of(address) / "tables"
    assert run.experiment.root == "searches/mine/experiments/x"


def test_an_address_that_is_none_is_a_persons_mistake() -> None:
    with pytest.raises(UsageError, match=r"--storage s3://b\?no=option can't be opened"):
        _ = RunStorage("s3://b?no=option", "x").experiment


def test_published_rows_of_a_run_are_read_back_and_another_run_has_none(tmp_path: Path) -> None:
    run = RunStorage(str(tmp_path), "x")
    assert run.rows("runs") == []
    trial = dict.fromkeys(("trial", "seed", "epochs", "restarts", "patience"), 0)
    trial |= {"run": "x", "model": "fc", "loss": "mse", "learning_rate": 0.1, "train_sec": 0.0}
    run.publish("trials", [{**trial, "trial": 3, "started_at": datetime.now(UTC)}])
    assert [row["trial"] for row in run.rows("trials")] == [3]
    assert RunStorage(str(tmp_path), "y").rows("trials") == []


def test_sessions_are_numbered(tmp_path: Path) -> None:
    experiment = RunStorage(str(tmp_path), "r").experiment
    for number in range(1, 4):
        session = experiment.next_session()
        assert session == f"session-{number:03d}"
        Path(experiment.root, session).mkdir(parents=True)
