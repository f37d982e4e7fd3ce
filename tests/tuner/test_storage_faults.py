"""A storage that fills up or turns read-only: one sentence, nothing lost, and it goes on later."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from pyarrow.fs import LocalFileSystem
from ray import tune

from tests.tuner.gated_network import GATE, Gate
from tests.tuner.small_disk import SmallDisk, small_disk
from trainables.errors import UsageError
from tuner import run
from tuner.cluster.nodes import WorkerResources
from tuner.storage import run_storage
from tuner.storage.claim import check_storage
from tuner.storage.run_storage import UNWRITABLE, Experiment, RunStorage
from tuner.trials import trial
from tuner.trials.reporter import (
    StorageGoneError,
    TrialReporter,
    TrialSetup,
    failure_result,
    group_cause,
)
from tuner.trials.tune_run import SearchEnd
from tuner.trials.usage_samples import UsageSamples

EPOCHS = 4
# More trials than run at once: none of them may be used up
SEARCH = (
    *("--name", "run", "--model", "gated_network:Gated", "--samples", "3", "--concurrency", "2"),
    *("--max-epochs", str(EPOCHS), "--grace-epochs", str(EPOCHS), "--finalists", "1"),
)
CURES = {errno.EROFS: "make it writable again"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk") as disk:
        yield disk
        for process in disk.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setenv(GATE, str(tmp_path))
    return Gate(tmp_path)


def empty(disk: SmallDisk) -> None:
    disk.filler.unlink()


FULL = "(No space left on device): make room there"


@pytest.mark.parametrize(
    ("break_it", "mend_it", "told"),
    [
        pytest.param(SmallDisk.fill, empty, FULL, id="full"),
        pytest.param(
            SmallDisk.protect,
            SmallDisk.unprotect,
            "(Read-only file system): make it writable again",
            id="read-only",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_search_ends_with_a_sentence_and_goes_on_when_the_storage_is_mended(
    break_it: Callable[[SmallDisk], None],
    mend_it: Callable[[SmallDisk], None],
    told: str,
    disk: SmallDisk,
    gate: Gate,
    few_images: tuple[str, ...],
) -> None:
    gate.hold_after(2)
    driver = disk.start(*SEARCH, *few_images)
    disk.wait_for_epochs("run", 4)
    break_it(disk)
    gate.open()
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 1, output
    go_on = f"type python -m tuner.run --resume run --storage {disk.inside}"
    sentence = (
        f"error: the search can't go on, since --storage {disk.inside} can't be written {told}, "
        f"then {go_on}"
    )
    assert output.splitlines()[-1] == sentence
    assert "Traceback" not in output
    assert not re.search(r"trial +\d+ +error", output), output
    known = disk.table("epochs", "run")
    assert len(known) >= 4
    assert disk.table("trials", "run").error.isna().all()

    mend_it(disk)
    code, output = disk.run("--resume", "run")
    assert code == 0, output
    trials, epochs = disk.table("trials", "run"), disk.table("epochs", "run")
    assert sorted(trials.trial) == [0, 1, 2]
    assert set(trials.stop_reason) == {"max_epochs"}
    assert epochs.groupby("trial").epoch.apply(sorted).tolist() == [list(range(1, EPOCHS + 1))] * 3
    kept = epochs.merge(known, on=["trial", "epoch"])
    assert (kept.validation_loss_x == kept.validation_loss_y).all()
    assert disk.table("runs", "run").status.tolist() == ["finished"]


@pytest.mark.long
def test_a_trial_of_two_workers_ends_with_the_same_sentence_when_the_disk_is_full(
    disk: SmallDisk, gate: Gate, few_images: tuple[str, ...]
) -> None:
    gate.hold_after(2)
    group = ("--name", "run", "--model", "gated_network:Gated", "--workers-per-trial", "2")
    driver = disk.start(*group, "--samples", "1", "--finalists", "1", *few_images)
    disk.wait_for_epochs("run", 2)
    disk.fill()
    gate.open()
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 1, output
    assert f"can't be written {FULL}, then type" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert disk.table("trials", "run").error.isna().all()
    assert len(disk.table("epochs", "run")) >= 2


def setup(workers: int, experiment: Any = None) -> TrialSetup:
    return TrialSetup(
        images=None,
        training={},
        parameters={},
        workers=workers,
        resources=WorkerResources(1, 0, 0),
        experiment=experiment or Experiment(LocalFileSystem(), "/nowhere"),
        session="session-001",
        losses={"mse": "mse"},
        vgg=None,
        start=None,
    )


def in_a_group(monkeypatch: pytest.MonkeyPatch, report: Callable[..., None]) -> TrialReporter:
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 2)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    monkeypatch.setattr(ray.train, "report", report)
    return TrialReporter(setup(workers=2), UsageSamples())


def alone(monkeypatch: pytest.MonkeyPatch, report: Callable[..., None]) -> TrialReporter:
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    monkeypatch.setattr(tune, "report", report)
    return TrialReporter(setup(workers=1), UsageSamples())


def refusing(error: OSError) -> Callable[..., None]:
    def report(*_: object, **__: object) -> None:
        raise error

    return report


@pytest.mark.parametrize("number", sorted(UNWRITABLE), ids=errno.errorcode.get)
@pytest.mark.parametrize("session", [alone, in_a_group])
def test_a_checkpoint_that_a_storage_does_not_take_ends_the_search_with_a_sentence_not_the_trial(
    session: Callable[..., TrialReporter], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = refusing(OSError(number, os.strerror(number)))
    with pytest.raises(StorageGoneError) as gone:
        session(monkeypatch, report)._send({}, None)
    assert sentence_of(gone.value) == (
        f"the search can't go on, since --storage results can't be written "
        f"({os.strerror(number)}): {CURES.get(number, 'make room there')}, then type RESUME"
    )


@pytest.mark.parametrize("session", [alone, in_a_group])
def test_a_bucket_that_refuses_a_checkpoint_ends_the_search_and_other_faults_end_the_trial(
    session: Callable[..., TrialReporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageGoneError) as gone:
        session(monkeypatch, refusing(OSError("AWS Error ACCESS_DENIED")))._send({}, None)
    assert sentence_of(gone.value) == (
        "the search can't go on (AWS Error ACCESS_DENIED); when that is mended, type RESUME"
    )
    with pytest.raises(OSError, match="Input/output"):
        session(monkeypatch, refusing(OSError(errno.EIO, "Input/output")))._send({}, None)


@pytest.mark.parametrize("number", sorted(UNWRITABLE), ids=errno.errorcode.get)
def test_what_a_groups_controller_can_not_write_ends_the_search_with_the_same_sentence(
    number: int,
) -> None:
    error = ray.train.ControllerError(OSError(number, os.strerror(number)))
    cause = group_cause(error)
    assert cause is not None
    assert f"can't be written ({os.strerror(number)}): " in sentence_of(cause)


def sentence_of(error: BaseException) -> str:
    """What the command says when a trial reports that it ended so."""
    result = failure_result(error, 3, "a traceback")
    assert (result["stop_reason"], result["error"]) == ("interrupted", None)
    ends = SearchEnd(None, 0)
    ends("a trial", {"stop_reason": "", "epoch": 2})
    assert not ends.stop_all()
    ends("another", result)
    assert ends.stop_all()
    return run._broken_off(OSError(*ends.storage_problem), "results", "RESUME")


def test_a_trial_that_starts_on_a_storage_that_has_turned_read_only_blames_the_storage(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment(LocalFileSystem(), str(disk.storage / "experiments" / "run"))
    run_storage.leave_mark(experiment.files, f"{experiment.root}/session-001")
    disk.protect()
    monkeypatch.setattr(run_storage, "this_node", lambda: "a-node")
    with pytest.raises(StorageGoneError) as raised:
        trial._check_storage(setup(1, experiment))
    assert raised.value.args[0] == errno.EROFS


def test_a_storage_that_is_read_only_from_the_start_is_told(disk: SmallDisk) -> None:
    disk.storage.mkdir()
    disk.protect()
    with pytest.raises(UsageError) as raised:
        check_storage(RunStorage(str(disk.storage), "run"))
    assert str(raised.value) == (
        f"--storage {disk.storage} can't be written (Read-only file system): give another directory"
    )
