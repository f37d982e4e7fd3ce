import os
import signal
from pathlib import Path

import pandas as pd

from analysis.tables.files import publish
from tests.tuner.conftest import TINY, Command, trial_processes
from tuner.storage.experiment import STATE_FILE, Experiment

# One trial at a time: with two, which one ASHA stops depends on which is first
SEARCH = (
    "--model",
    "fc",
    "--samples",
    "4",
    "--max-epochs",
    "6",
    "--concurrency",
    "1",
    "--finalists",
    "1",
    *TINY,
)
TIMES = ["train_sec", "validation_sec", "images_per_sec", "reported_at", "run"]


def curves(command: Command, run: str) -> pd.DataFrame:
    epochs = command.table("epochs", run).drop(columns=TIMES)
    return epochs.sort_values(["trial", "epoch"]).reset_index(drop=True)


def outcomes(command: Command, run: str) -> pd.DataFrame:
    names = [
        "trial",
        "learning_rate",
        "dropout",
        "patience",
        "seed",
        "stop_reason",
        "epochs",
        "best_validation_loss",
    ]
    return command.table("trials", run)[names].sort_values("trial").reset_index(drop=True)


def test_killed_drivers_and_killed_trials_change_nothing_in_the_tables(command: Command) -> None:
    code, output = command.run("--name", "calm", *SEARCH)
    assert code == 0, output

    driver = command.start("--name", "troubled", *SEARCH)
    command.wait_for_epochs("troubled", 3)
    trial_processes(driver)[0].kill()
    command.wait_for_epochs("troubled", 5)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver = command.start("--resume", "troubled")
    rows = len(command.table("epochs", "troubled"))
    command.wait_for_epochs("troubled", rows + 1)
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, output
    assert "--resume troubled" in output

    code, output = command.run("--resume", "troubled")
    assert code == 0, output
    pd.testing.assert_frame_equal(curves(command, "troubled"), curves(command, "calm"))
    pd.testing.assert_frame_equal(outcomes(command, "troubled"), outcomes(command, "calm"))
    assert (command.table("trials", "troubled").restarts > 0).any()
    runs = command.table("runs", "troubled").iloc[0]
    assert (runs.status, runs.sessions) == ("finished", 3)


def test_epochs_that_a_killed_driver_had_not_written_yet_come_from_the_checkpoint(
    command: Command,
) -> None:
    epochs = ("--max-epochs", "6", "--grace-epochs", "6", "--patience", "6", "6")
    code, output = command.run(
        "--name", "run", "--model", "separable", "--samples", "2", *epochs, *TINY
    )
    assert code == 0, output
    curve, outcome = curves(command, "run"), outcomes(command, "run")
    table = command.table("epochs", "run")
    written = table[
        (table.trial == 0) | (table.epoch < 4)
    ]  # the trials table was written later, and knows of six
    publish(command.storage / "tables", "epochs", "run", written.to_dict("records"))
    code, output = command.run("--resume", "run")
    assert code == 0, output
    assert "trial   1  goes on   after epoch 3" in output
    pd.testing.assert_frame_equal(curves(command, "run"), curve)
    pd.testing.assert_frame_equal(outcomes(command, "run"), outcome)
    assert command.table("trials", "run").set_index("trial").restarts.to_dict() == {0: 0, 1: 1}


def test_a_killed_trial_goes_on_from_its_checkpoint(command: Command) -> None:
    search = (
        "--model",
        "separable",
        "--samples",
        "1",
        "--max-epochs",
        "40",
        "--patience",
        "40",
        "40",
        *TINY,
    )
    driver = command.start("--name", "run", *search)
    command.wait_for_epochs("run", 3)
    before = command.table("epochs", "run")
    trial_processes(driver)[0].kill()
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    assert "trial   0  was killed after epoch" in output
    assert "Traceback" not in output
    after = command.table("epochs", "run")
    assert sorted(after.epoch) == list(range(1, 41))
    kept = after[after.epoch < before.epoch.max()]
    pd.testing.assert_series_equal(
        kept.train_sec.reset_index(drop=True), before.train_sec[: len(kept)].reset_index(drop=True)
    )  # measured once: these epochs were not trained again
    assert command.table("trials", "run").restarts.tolist() == [1]
    assert "goes on" in output


def test_a_killed_trial_goes_on_before_others_begin(command: Command) -> None:
    every_core = (
        "--cpus-per-trial",
        str(os.cpu_count()),
    )  # so that there is one place, and trial 1 waits for it
    search = (
        "--model",
        "separable",
        "--samples",
        "2",
        "--max-epochs",
        "40",
        "--patience",
        "40",
        "40",
        *every_core,
    )
    driver = command.start("--name", "run", *search, "--grace-epochs", "40", *TINY)
    command.wait_for_epochs("run", 3)
    trial_processes(driver)[0].kill()
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    assert "trial   0  goes on" in output.partition("trial   1  starts")[0]


def test_a_run_that_is_searched_is_refused_and_sigterm_ends_that_search_even_where_sigint_is_blocked(
    command: Command,
) -> None:
    signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGINT}
    )  # as it is in Ray's jobs; processes inherit it
    try:
        driver = command.start("--name", "run", *SEARCH)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    command.wait_for_epochs("run", 1)
    code, output = command.run("--resume", "run")
    assert code == 2
    assert "is being searched by another process" in output
    driver.send_signal(signal.SIGTERM)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, output
    assert command.table("runs", "run").status.tolist() == ["interrupted"]


def flip_a_bit(checkpoint: Path) -> None:
    """In the middle of the file, where the weights are."""
    content = bytearray((checkpoint / STATE_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / STATE_FILE).write_bytes(content)


def test_a_flipped_bit_means_the_checkpoint_before_it_and_the_table_says_so(
    command: Command,
) -> None:
    search = (
        "--model",
        "fc",
        "--samples",
        "1",
        "--max-epochs",
        "16",
        "--patience",
        "16",
        "16",
        *TINY,
    )
    driver = command.start("--name", "run", *search)
    damaged = []
    for rows, also in ((3, None), (6, driver)):
        command.wait_for_epochs("run", rows)
        process = trial_processes(driver)[0]
        process.suspend()
        damaged.append(Path(Experiment.of(str(command.storage), "run").checkpoints(0)[0]))
        flip_a_bit(damaged[-1])
        if also:
            also.kill()
        process.kill()
    first, _ = driver.communicate(timeout=60)
    assert command.table("trials", "run").damaged_checkpoint.tolist() == [str(damaged[0])]
    code, second = command.run("--resume", "run")
    assert code == 0, second
    assert command.table("trials", "run").damaged_checkpoint.tolist() == [str(damaged[1])]
    assert sorted(command.table("epochs", "run").epoch) == list(range(1, 17))
    for checkpoint, output in zip(damaged, (first, second), strict=True):
        assert f"trial   0  passes over {checkpoint}: it is damaged; goes on with epoch " in output
    assert (
        f"goes on with epoch {int(damaged[0].name[-6:])}\n" in first
    )  # numbered from 0: the one before it
