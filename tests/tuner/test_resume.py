"""Searches that are killed, interrupted or damaged at any moment go on to the same tables."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from analysis.tables.files import GrowingTable, publish
from analysis.tables.ranking import STOPPED
from tests.analysis.version_4_runs import write_version_4
from tests.tuner.conftest import Command, trial_processes
from tests.tuner.few_images import write_few_images
from tests.tuner.simulated_tune import Trial, simulated
from tests.waiting import until
from trainables.errors import UsageError
from tuner.command_line import from_command_line
from tuner.storage.run_storage import STATE_FILE, Experiment

TIMES = ["train_sec", "validation_sec", "images_per_sec", "reported_at", "run"]
OUTCOME = ["trial", "repeat_of", "loss", "learning_rate", "dropout", "patience", "seed",
           "stop_reason", "epochs", "best_epoch", "best_validation_loss"]  # fmt: skip
# At random, so that trials are the same whatever ended first
SEARCH = ("--model", "separable", "--samples", "5", "--max-epochs", "4", "--finalists", "1",
          "--search", "random", "--grace-epochs", "1")  # fmt: skip
FEWER = ("--images", "32", "--samples", "4", "--max-epochs", "2")
UNSTOPPED = ("--max-epochs", "6", "--grace-epochs", "6", "--patience", "6", "6")


def curves(command: Command, run: str = "run") -> pd.DataFrame:
    epochs = command.table("epochs", run).drop(columns=TIMES)
    return epochs.sort_values(["trial", "epoch"]).reset_index(drop=True)


def outcomes(command: Command, run: str = "run") -> pd.DataFrame:
    return command.table("trials", run)[OUTCOME].sort_values("trial").reset_index(drop=True)


def assert_same(command: Command, calm: Command) -> None:
    pd.testing.assert_frame_equal(curves(command), curves(calm))
    pd.testing.assert_frame_equal(outcomes(command), outcomes(calm))
    assert command.table("runs", "run").status.tolist() == ["finished"]


@pytest.fixture(params=["one loss"])
def search(
    request: pytest.FixtureRequest, few_images: tuple[str, ...], both_losses: tuple[str, ...]
) -> tuple[str, ...]:
    more = {
        "one loss": (),
        "both losses": (*both_losses, *FEWER),
        "median": ("--scheduler", "median", "--samples", "8"),
        "tpe": ("--search", "tpe", "--startup-trials", "2"),
    }
    return ("--name", "run", *SEARCH, *more[request.param], *few_images)


@pytest.fixture
def calm(tmp_path: Path, search: tuple[str, ...]) -> Command:
    """The search that nothing has disturbed."""
    command = Command(tmp_path / "calm")
    with simulated():
        status, output = command.call(*search)
    assert status == 0, output
    assert STOPPED & set(command.table("trials", "run").stop_reason)
    return command


@pytest.fixture
def lagging_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each table is written now and then, whatever the other one says by then."""
    luck = random.Random(0)
    monkeypatch.setattr(
        GrowingTable, "publish_if_due", lambda table: luck.random() < 0.4 and table.publish()
    )


def copies_at_every(count: int, storage: Path, to: Path) -> Callable[[str, Trial], None]:
    """Copies what a `kill -9` of the driver would leave at one in `count` moments."""
    moments = iter(range(10**6))

    def copy(what: str, trial: Trial) -> None:
        if (number := next(moments)) % count == 0:
            shutil.copytree(storage, to / f"{number:03d}-{what}")

    return copy


@pytest.mark.parametrize("search", ["one loss", "both losses", "median"], indirect=True)
@pytest.mark.usefixtures("lagging_tables")
def test_a_search_whose_driver_was_killed_at_any_moment_comes_to_the_same_end(
    command: Command, calm: Command, search: tuple[str, ...], tmp_path: Path
) -> None:
    with simulated() as ray:
        ray.moment = copies_at_every(3, command.storage, tmp_path / "killed")
        command.call(*search)
    killed = sorted((tmp_path / "killed").iterdir())
    assert len(killed) > 3
    for storage in killed:
        resumed = Command(storage)
        with simulated():
            status, output = resumed.call("--resume", "run")
        assert status == 0, output
        assert_same(resumed, calm)
        assert resumed.table("runs", "run").sessions.tolist() == [2]


@pytest.mark.parametrize("search", ["one loss", "tpe"], indirect=True)
@pytest.mark.usefixtures("lagging_tables")
def test_with_three_trials_at_a_time_each_comes_to_its_end_once_wherever_the_driver_was_killed(
    command: Command, search: tuple[str, ...], tmp_path: Path
) -> None:
    with simulated(cpus=3) as ray:
        ray.moment = copies_at_every(5, command.storage, tmp_path / "killed")
        command.call(*search)
    for storage in (tmp_path / "killed").iterdir():
        resumed = Command(storage)
        with simulated(cpus=3, luck=1):
            status, output = resumed.call("--resume", "run")
        assert status == 0, output
        trials, epochs = resumed.table("trials", "run"), resumed.table("epochs", "run")
        assert sorted(trials.trial) == list(range(5))
        assert set(trials.stop_reason) <= {"max_epochs", "asha"}
        for row in trials.itertuples():
            own = epochs[epochs.trial == row.trial]
            assert sorted(own.epoch) == list(range(1, row.epochs + 1))
            assert own.validation_loss.min() == row.best_validation_loss


def test_trials_whose_processes_are_killed_at_any_moment_train_no_epoch_twice(
    command: Command, calm: Command, search: tuple[str, ...]
) -> None:
    luck = random.Random(1)
    heard: dict[tuple[int, int], float] = {}

    def kill(what: str, trial: Trial) -> None:
        if what == "reported":
            key = (trial.config["number"], trial.last_result["epoch"])
            heard.setdefault(key, trial.last_result["train_sec"])
        if luck.random() < 0.3:
            ray.doomed.add(trial)

    with simulated() as ray:
        ray.moment = kill
        status, output = command.call(*search)
    assert status == 0, output
    assert_same(command, calm)
    assert command.table("trials", "run").restarts.max() > 1
    assert "was killed after epoch" in output
    assert "goes on   after epoch" in output
    assert "Traceback" not in output
    measured = command.table("epochs", "run").set_index(["trial", "epoch"]).train_sec.to_dict()
    assert {key: measured[key] for key in heard} == heard


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on_and_does(
    number: signal.Signals, command: Command, calm: Command, search: tuple[str, ...]
) -> None:
    for session in (1, 2):
        reports = iter(range(10**6))

        def interrupt(what: str, trial: Trial, reports: Any = reports) -> None:
            if what == "reported" and next(reports) == 3:
                os.kill(os.getpid(), number)

        with simulated() as ray:
            ray.moment = interrupt
            status, output = command.call(*(search if session == 1 else ("--resume", "run")))
        assert status == 130, output
        assert f"go on with: python -m tuner.run --resume run --storage {command.storage}" in output
        assert command.table("runs", "run").status.tolist() == ["interrupted"]
    with simulated():
        status, output = command.call("--resume", "run")
    assert status == 0, output
    assert_same(command, calm)
    assert command.table("runs", "run").sessions.tolist() == [3]


def test_epochs_that_a_killed_driver_had_not_written_yet_come_from_the_checkpoint(
    command: Command, few_images: tuple[str, ...]
) -> None:
    search = ("--name", "run", "--model", "separable", "--samples", "2", *UNSTOPPED, *few_images)
    with simulated():
        status, output = command.call(*search)
    assert status == 0, output
    curve, outcome = curves(command), outcomes(command)
    table = command.table("epochs", "run")
    # The trials table was written later, and knows of six
    written = table[(table.trial == 0) | (table.epoch < 4)]
    publish(command.storage / "tables", "epochs", "run", written.to_dict("records"))
    with simulated():
        status, output = command.call("--resume", "run")
    assert status == 0, output
    assert "trial   1  goes on   after epoch 3" in output
    pd.testing.assert_frame_equal(curves(command), curve)
    pd.testing.assert_frame_equal(outcomes(command), outcome)
    assert command.table("trials", "run").set_index("trial").restarts.to_dict() == {0: 0, 1: 1}


def flip_a_bit(checkpoint: Path) -> None:
    """In the middle of the file, where the weights are."""
    content = bytearray((checkpoint / STATE_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / STATE_FILE).write_bytes(content)


def newest_checkpoint(storage: Path) -> Path:
    return Path(Experiment.of(str(storage), "run").checkpoints(0)[0])


def test_a_flipped_bit_means_the_checkpoint_before_it_and_the_table_says_so(
    command: Command,
    few_images: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GrowingTable, "publish_if_due", GrowingTable.publish)
    search = ("--name", "run", "--model", "separable", "--samples", "1", *UNSTOPPED, *few_images)
    with simulated():
        calm = Command(tmp_path / "calm")
        calm.call(*search)
    killed = Command(tmp_path / "killed")
    damaged: list[Path] = []

    def damage(what: str, trial: Trial) -> None:
        """The process dies after three epochs, the driver after five."""
        epoch = trial.last_result.get("epoch")
        if what == "reported" and epoch == 3 and not damaged:
            damaged.append(newest_checkpoint(command.storage))
            flip_a_bit(damaged[0])
            ray.doomed.add(trial)
        if what == "reported" and epoch == 5:
            shutil.copytree(command.storage, killed.storage)

    with simulated() as ray:
        ray.moment = damage
        _, first = command.call(*search)
    assert f"trial   0  passes over {damaged[0]}: it is damaged; goes on with epoch 2" in first
    assert command.table("trials", "run").damaged_checkpoint.tolist() == [str(damaged[0])]
    damaged.append(newest_checkpoint(killed.storage))
    flip_a_bit(damaged[1])
    with simulated():
        status, second = killed.call("--resume", "run")
    assert status == 0, second
    assert f"trial   0  passes over {damaged[1]}: it is damaged; goes on with epoch 4" in second
    assert killed.table("trials", "run").damaged_checkpoint.tolist() == [str(damaged[1])]
    for one in (command, killed):
        assert_same(one, calm)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_run_without_any_checkpoint_that_can_be_read_begins_its_trials_anew(
    spoil: Callable[[Path], object],
    command: Command,
    calm: Command,
    search: tuple[str, ...],
    tmp_path: Path,
) -> None:
    killed = Command(tmp_path / "killed")

    def copy(what: str, trial: Trial) -> None:
        if what == "reported" and trial.config["number"] == 2 and not killed.storage.exists():
            shutil.copytree(command.storage, killed.storage)

    with simulated() as ray:
        ray.moment = copy
        command.call(*search)
    for path in Experiment.of(str(killed.storage), "run").checkpoints(2):
        spoil(Path(path) / STATE_FILE)
    with simulated():
        status, output = killed.call("--resume", "run")
    assert status == 0, output
    assert_same(killed, calm)


def allow(gate: Path, steps: int) -> None:
    """Let networks that wait at the gate take so many steps, over all processes and sessions."""
    (gate / "next").write_text(str(steps))
    (gate / "next").replace(gate / "allowed")


def wait_for_step(gate: Path, number: int) -> None:
    """Until a network waits to take that step: whatever came before it has been reported."""
    until(lambda: (gate / "steps").exists() and (gate / "steps").stat().st_size == number)


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more, though nobody may have asked for its exit status yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.timeout(1800)  # a search starts three times, on a machine that may be busy
def test_real_kills_of_a_trial_and_of_the_driver_and_a_real_sigterm_change_nothing(
    command: Command,
    few_images: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One search in three sessions; two have a Ray of their own, with room for one trial."""
    gate = tmp_path / "gate"
    gate.mkdir()
    monkeypatch.setenv("GATE", str(gate))
    cores = os.cpu_count() or 1
    whole_machine = ("--cpus-per-trial", str(cores))
    search = ("--name", "run", "--model", "own_networks:Gated", "--samples", "2", *UNSTOPPED)
    search = (*search, *whole_machine, *few_images)

    allow(gate, 3)
    driver = command.start(*search)
    wait_for_step(gate, 4)
    status, output = command.call("--resume", "run")
    assert status == 2
    assert "is being searched by another process" in output
    damaged = [newest_checkpoint(command.storage)]
    flip_a_bit(damaged[0])
    trial_processes(driver)[0].kill()
    allow(gate, 6)  # the fourth was lost, and epochs 3 and 4 follow
    wait_for_step(gate, 7)
    of_the_trial = trial_processes(driver)[0]
    driver.kill()
    first, _ = driver.communicate()
    until(lambda: has_ended(of_the_trial))  # with the Ray of its driver
    assert "trial   0  was killed after epoch 3" in first
    assert f"trial   0  passes over {damaged[0]}: it is damaged; goes on with epoch 2" in first
    assert "trial   1" not in first, "whoever was killed goes on before others begin"

    damaged.append(newest_checkpoint(command.storage))
    flip_a_bit(damaged[1])
    allow(gate, 12)  # the seventh was lost; epochs 4, 5 and 6, and two of the next trial
    # SIGINT is blocked in Ray's jobs, and processes inherit that
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        driver = command.start("--resume", "run")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    wait_for_step(gate, 13)
    driver.send_signal(signal.SIGTERM)
    allow(gate, 13)  # a trial that hangs is waited for
    second, _ = driver.communicate()
    assert driver.returncode == 130, second
    assert f"trial   0  passes over {damaged[1]}: it is damaged; goes on with epoch " in second
    assert command.table("trials", "run").damaged_checkpoint.dropna().tolist() == [str(damaged[1])]
    assert command.table("runs", "run").status.tolist() == ["interrupted"]
    assert "Traceback" not in first + second

    allow(gate, 10**6)
    calm = Command(tmp_path / "calm")
    for one, arguments in ((command, ("--resume", "run")), (calm, search)):
        with simulated(cpus=cores):
            status, output = one.call(*arguments)
        assert status == 0, output
    assert_same(command, calm)
    assert (command.table("trials", "run").restarts > 0).all()
    assert command.table("runs", "run").sessions.tolist() == [3]


def test_a_run_goes_on_with_its_images_where_they_are_now(command: Command, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_few_images(first)
    search = (*SEARCH, *FEWER, "--timing", "none", "--wandb", "disabled")
    with simulated():
        status, output = command.call("--name", "run", "--data", str(first), *search)
        assert status == 0, output
        first.rename(second)
        status, output = command.call("--resume", "run")
        assert (status, output.count("\n")) == (2, 1)
        assert f"--data {first}: there is no such directory" in output
        for moved in (("--data", str(second)), ()):
            status, output = command.call("--resume", "run", *moved)
            assert status == 0, output
    assert command.table("runs", "run")[["data", "sessions"]].values.tolist() == [[str(second), 3]]


def test_a_run_of_version_4_is_refused_before_ray_starts(tmp_path: Path) -> None:
    write_version_4(tmp_path, "old")
    with pytest.raises(UsageError) as refused:
        from_command_line(["--resume", "old", "--storage", str(tmp_path)])
    assert str(refused.value) == (
        "--resume old: transform-tuner 0.1.0 began it: go on with that version, or start a new run "
        "without --resume"
    )


def test_a_finished_run_goes_on_with_more_trials_as_if_it_had_had_them_all_along(
    command: Command, few_images: tuple[str, ...], tmp_path: Path
) -> None:
    search = ("--name", "run", *SEARCH, *few_images)
    whole = Command(tmp_path / "whole")
    compared = ["subject", "metric", "threshold", "value"]
    with simulated():
        for one, samples in ((command, "4"), (whole, "9")):
            status, output = one.call(*search, "--samples", samples)
            assert status == 0, output
        for more in (("--samples", "9"), ()):  # the run keeps how many it has
            status, output = command.call("--resume", "run", *more)
            assert status == 0, output
            assert "9 trials of up to 4 epochs" in output
            assert_same(command, whole)
            pd.testing.assert_frame_equal(
                command.table("scores", "run")[compared], whole.table("scores", "run")[compared]
            )
        status, output = command.call("--resume", "run", "--samples", "8")
    assert status == 2
    assert "--resume run --samples 8: the run has 9 trials; give more, or leave" in output
    (run,) = command.table("runs", "run").itertuples()
    assert run.sessions == 3
    began, more = run.command.splitlines()
    assert began.endswith("--samples 4")
    assert more.endswith("--resume run --samples 9")
    first = {flag.lstrip("-").replace("-", "_") for flag in search if flag.startswith("--")}
    assert json.loads(run.given) == dict.fromkeys((*first, "samples", "storage"), "flag")


def test_repeats_keep_their_numbers_when_more_trials_come(
    command: Command, few_images: tuple[str, ...]
) -> None:
    search = ("--name", "run", *SEARCH, "--confirm-seeds", "1", *few_images)
    with simulated():
        status, output = command.call(*search, "--samples", "3")
        assert status == 0, output
        before = outcomes(command)
        status, output = command.call("--resume", "run", "--samples", "7")
        assert status == 0, output
    trials = outcomes(command)
    pd.testing.assert_frame_equal(trials[:4], before)
    assert trials.trial.is_unique
    searched = trials[trials.repeat_of.isna()]
    assert searched.trial.tolist() == [0, 1, 2, 4, 5, 6, 7]
    best = searched.trial[searched.best_validation_loss.idxmin()]
    assert best in trials.repeat_of.tolist()
    scores = command.table("scores", "run").query("kind == 'trial' and repeat_of.isna()")
    assert (set(scores.trial), set(scores.trainings)) == ({best}, {2})
