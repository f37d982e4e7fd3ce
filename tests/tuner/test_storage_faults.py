"""A disk that fills up or turns read-only under a search: one sentence, nothing lost, and it goes on when mended."""

import errno
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyarrow.fs import LocalFileSystem

from tests.tuner.conftest import TINY
from tests.tuner.small_disk import SmallDisk, small_disk
from tuner.storage.experiment import Experiment

# Long enough to be caught in the middle, and more trials than run at once: none of them may be used up
SEARCH = ("--model", "separable", "--samples", "3", "--max-epochs", "60", "--grace-epochs", "60", "--patience", "60",
          "60", "--concurrency", "2", "--finalists", "1", *TINY)  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path) as disk:
        yield disk
        for process in disk.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def empty(disk: SmallDisk) -> None:
    disk.filler.unlink()


@pytest.mark.parametrize(
    ("break_it", "mend_it", "told"),
    [
        (SmallDisk.fill, empty, "(No space left on device): make room there"),
        (SmallDisk.protect, SmallDisk.unprotect, "(Read-only file system): make it writable again"),
    ],
    ids=["full", "read-only"],
)
def test_a_search_ends_with_a_sentence_and_goes_on_when_the_storage_is_mended(
    break_it: Callable[[SmallDisk], None],
    mend_it: Callable[[SmallDisk], None],
    told: str,
    disk: SmallDisk,
) -> None:
    driver = disk.start("--name", "run", *SEARCH)
    disk.wait_for_epochs("run", 6)
    break_it(disk)
    output, _ = driver.communicate(timeout=90)
    assert driver.returncode == 1, output
    go_on = f"type python -m tuner.run --resume run --storage {disk.inside}"
    sentence = f"error: the search can't go on, since --storage {disk.inside} can't be written {told}, then {go_on}"
    assert output.splitlines()[-1] == sentence
    assert "Traceback" not in output
    assert not re.search(r"trial +\d+ +error", output), output
    known = disk.table("epochs", "run")
    assert len(known) >= 6
    assert disk.table("trials", "run").error.isna().all()

    mend_it(disk)
    code, output = disk.run("--resume", "run")
    assert code == 0, output
    trials, epochs = disk.table("trials", "run"), disk.table("epochs", "run")
    assert sorted(trials.trial) == [0, 1, 2]
    assert set(trials.stop_reason) == {"max_epochs"}
    assert epochs.groupby("trial").epoch.apply(sorted).tolist() == [list(range(1, 61))] * 3
    kept = epochs.merge(known, on=["trial", "epoch"])
    assert (kept.validation_loss_x == kept.validation_loss_y).all()
    assert disk.table("runs", "run").status.tolist() == ["finished"]


def test_a_trial_that_starts_on_a_storage_that_has_turned_read_only_blames_the_storage(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.storage import shared_storage
    from tuner.trials import trial

    experiment = Experiment(LocalFileSystem(), str(disk.storage / "experiments" / "run"))
    shared_storage.leave_mark(experiment.files, f"{experiment.root}/session-001")
    disk.protect()
    monkeypatch.setattr(shared_storage, "this_node", lambda: "a-node")
    setup: Any = SimpleNamespace(experiment=experiment, session="session-001")
    with pytest.raises(trial.StorageGoneError) as raised:
        trial._check_storage(setup)
    assert raised.value.args[0] == errno.EROFS


def test_a_trial_of_two_workers_ends_with_the_same_sentence_when_the_disk_is_full(
    disk: SmallDisk,
) -> None:
    epochs = ("--max-epochs", "400", "--patience", "400", "400")
    group = (
        "--model",
        "separable",
        "--workers-per-trial",
        "2",
        "--samples",
        "1",
        "--finalists",
        "1",
        *epochs,
        *TINY,
    )
    driver = disk.start("--name", "run", *group)
    disk.wait_for_epochs("run", 3)
    disk.fill()
    output, _ = driver.communicate(timeout=90)
    assert driver.returncode == 1, output
    assert (
        "can't be written (No space left on device): make room there, then type"
        in output.splitlines()[-1]
    )
    assert "Traceback" not in output
    assert disk.table("trials", "run").error.isna().all()
    assert len(disk.table("epochs", "run")) >= 3


def test_a_storage_that_is_read_only_from_the_start_is_told_in_seconds(disk: SmallDisk) -> None:
    disk.storage.mkdir()
    disk.protect()
    code, output = disk.run("--name", "run", *SEARCH, timeout=60)
    assert code == 2
    told = f"error: --storage {disk.inside} can't be written (Read-only file system): give another directory\n"
    assert output == told
