import json
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from analysis.tables.schema import TABLES, arrow_schema
from tests.tuner.conftest import ROOT, TINY, Command
from trainables.data import photos
from trainables.networks.weights import load_network, read_header
from trainables.pixels import as_float
from trainables.thresholds import THRESHOLDS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, str]:
    """A search that ASHA thins out, with confirmed finalists and W&B offline."""
    command = Command(tmp_path_factory.mktemp("finished") / "our results")
    search = ("--model", "separable", "--samples", "6", "--max-epochs", "4", "--finalists", "2")
    code, output = command.run(
        "--name", "run", *search, "--confirm-seeds", "1", *TINY[:4], "--wandb", "offline"
    )
    assert code == 0, output
    return command, output


def test_every_table_has_its_schema(finished: tuple[Command, str]) -> None:
    for table in TABLES:
        path = finished[0].storage / "tables" / table / "run=run" / f"{table}.parquet"
        assert pq.read_schema(path).equals(arrow_schema(table), check_metadata=True)


def test_asha_stops_a_trial_and_the_next_one_starts_on_its_process(
    finished: tuple[Command, str],
) -> None:
    trials = finished[0].table("trials", "run").query("repeat_of.isna()").set_index("trial")
    assert len(trials) == 6
    stopped = trials[trials.stop_reason == "asha"]
    assert len(stopped) > 0
    assert (stopped.epochs < 4).all()
    assert trials.reused_process.sum() >= 4
    assert trials.start_sec.gt(0).all()


def test_there_is_one_row_per_epoch_and_the_trials_sum_them_up(
    finished: tuple[Command, str],
) -> None:
    epochs, trials = (finished[0].table(name, "run") for name in ("epochs", "trials"))
    assert not epochs.duplicated(["trial", "epoch"]).any()
    for trial in trials.itertuples():
        own = epochs[epochs.trial == trial.trial]
        assert sorted(own.epoch) == list(range(1, trial.epochs + 1))
        assert own.validation_loss.min() == trial.best_validation_loss


def test_finalists_stand_beside_floors_and_ceiling_at_every_threshold(
    finished: tuple[Command, str],
) -> None:
    accuracy = finished[0].table("accuracy", "run")
    assert set(accuracy.kind) == {"trial", "floor", "ceiling"}
    assert set(accuracy.threshold) == set(THRESHOLDS)
    shares = accuracy[accuracy.threshold == 0.999].set_index("subject").share
    assert shares["pipeline's own matrix"] == 1.0
    assert shares["flat image"] < 0.5


def test_finalists_are_trained_again_with_other_seeds(finished: tuple[Command, str]) -> None:
    trials = finished[0].table("trials", "run").set_index("trial")
    repeats = trials[trials.repeat_of.notna()]
    assert len(repeats) == 2
    for repeat in repeats.itertuples():
        finalist = trials.loc[int(repeat.repeat_of)]
        assert repeat.learning_rate == finalist.learning_rate
        assert repeat.seed != finalist.seed
    accuracy = finished[0].table("accuracy", "run").query("kind == 'trial' and repeat_of.isna()")
    assert (accuracy.trainings == 2).all()
    assert accuracy.share_std.notna().all()


def test_the_saved_network_gives_what_the_table_says(finished: tuple[Command, str]) -> None:
    command, _ = finished
    network = load_network(command.storage / "networks" / "run=run" / "best.safetensors")
    trial = read_header(command.storage / "networks" / "run=run" / "best.safetensors").facts[
        "trial"
    ]
    _, _, test = photos.load()
    samples = command.table("samples", "run").query(f"trial == {trial}")
    with torch.inference_mode():
        outputs = network(as_float(test[samples.image.tolist()]))
    assert outputs.shape == (len(samples), 1, 28, 28)
    trials = command.table("trials", "run").query("repeat_of.isna()")
    assert trials.set_index("trial").best_validation_loss.idxmin() == trial


def test_the_runs_table_says_where_the_results_come_from(finished: tuple[Command, str]) -> None:
    row = finished[0].table("runs", "run").iloc[0]
    assert row.status == "finished"
    assert row.train_images == 2000
    assert len(row.train_fingerprint) == 64
    assert json.loads(row.versions)["torch"] == torch.__version__.split("+")[0]
    assert row.ended_at > row.started_at
    typed = shlex.split(row.command)
    assert typed[:5] == ["python", "-m", "tuner.run", "--storage", str(finished[0].storage)]


def test_the_console_tells_the_answer_and_nothing_of_ray(finished: tuple[Command, str]) -> None:
    command, output = finished
    assert "flat image (floor)" in output
    assert "pipeline's own matrix (ceiling)" in output
    assert str(command.storage / "networks" / "run=run" / "best.safetensors") in output
    assert (
        "No GPU: that is a small search. The full one: --samples 64 --max-epochs 50 --images 30000"
        in output
    )
    for chatter in ("Warning", "WARNING", "(raylet)", "INFO", "Traceback", "Trial status"):
        assert chatter not in output


def test_wandb_has_one_offline_run_per_trial(finished: tuple[Command, str]) -> None:
    command, _ = finished
    runs = [
        path.name for path in (command.storage / "wandb").rglob("offline-run-*") if path.is_dir()
    ]
    assert len(runs) == len(command.table("trials", "run"))


def test_a_gpu_that_is_not_there_is_said_in_seconds(command: Command) -> None:
    code, output = command.run("--gpus-per-trial", "1", *TINY, timeout=60)
    assert code == 2
    assert (
        output
        == "error: --gpus-per-trial 1: there are no GPUs in the cluster; leave --gpus-per-trial out\n"
    )


def test_a_learning_rate_that_diverges_is_recorded_and_never_best(command: Command) -> None:
    space = (
        "--model",
        "separable",
        "--learning-rate",
        "1e-3",
        "1e30",
        "--samples",
        "4",
        "--max-epochs",
        "2",
    )
    code, output = command.run("--name", "run", *space, *TINY)
    assert code == 0, output
    trials = command.table("trials", "run").set_index("trial")
    diverged = trials[trials.stop_reason == "diverged"]
    assert 0 < len(diverged) < 4
    best = read_header(command.storage / "networks" / "run=run" / "best.safetensors").facts["trial"]
    assert best not in diverged.index


def test_a_trial_that_raises_leaves_the_others_alone(command: Command) -> None:
    model = (
        "--model",
        "own_networks:Picky",
        "--samples",
        "4",
        "--dropout",
        "0",
        "0.4",
        "--max-epochs",
        "1",
        "--search",
        "tpe",
    )
    code, output = command.run("--name", "run", *model, *TINY)
    assert code == 0, output
    trials = command.table("trials", "run")
    failed = trials[trials.dropout > 0.25]
    assert 0 < len(failed) < 4
    assert (failed.stop_reason == "error").all()
    assert failed.error.str.contains("this network does not like dropout").all()
    assert (trials[trials.dropout <= 0.25].stop_reason != "error").all()
    assert "trials failed" in output


def test_a_trial_whose_process_dies_again_and_again_is_given_up(command: Command) -> None:
    deadly = ("--model", "own_networks:Deadly", "--samples", "1", "--max-epochs", "1")
    code, output = command.run("--name", "run", *deadly, *TINY)
    assert code == 1
    assert "error     its process died 6 times in a row, without getting through an epoch" in output
    trials = command.table("trials", "run")
    assert trials.stop_reason.tolist() == ["error"]
    assert trials.restarts.tolist() == [5]


def test_two_workers_train_as_one_does_with_the_same_batches(command: Command) -> None:
    fixed = (
        "--model",
        "own_networks:Mine",
        "--samples",
        "1",
        "--max-epochs",
        "2",
        "--finalists",
        "1",
        *TINY,
    )
    for workers in ("1", "2"):
        code, output = command.run("--name", f"w{workers}", *fixed, "--workers-per-trial", workers)
        assert code == 0, output
    one, two = (command.table("epochs", f"w{workers}") for workers in ("1", "2"))
    pd.testing.assert_series_equal(one.validation_loss, two.validation_loss, rtol=1e-3)


def test_a_timeout_ends_the_search_with_what_it_has(command: Command) -> None:
    search = ("--model", "separable", "--samples", "500", "--max-epochs", "20", "--timeout", "50")
    code, output = command.run("--name", "run", *search, *TINY)
    assert code == 0, output
    assert "--timeout 50 ended the search" in output
    assert (command.storage / "networks" / "run=run" / "best.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "resnet"), "there is no network 'resnet': choose one of fc, cnn, separable"),
        (("--data", "/no/such/place"), "--data /no/such/place: there is no such directory"),
        (("--resume", "nothing"), "--resume nothing: there is no such run"),
        (("--name", "../escape"), "a run's name is made of letters"),
        (("--model", "separable", "--dropout", "0", "0.1"), "--dropout: separable has no dropout"),
        (("--cpus-per-trial", "512"), "--cpus-per-trial 512: no node has more than"),
        (("--images", "999999"), "999,999 images were asked for"),
    ],
)
def test_a_mistake_ends_with_one_sentence_and_status_2(
    command: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    defaults = () if "--data" in arguments else ("--data", "photos")
    code, output = command.run(*defaults, *arguments)
    assert code == 2
    assert output.startswith("error: ")
    assert sentence in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [("--data", "/no/such/place"), ("--loss", "perceptual", "--vgg-weights", "/no/such/file")],
)
def test_a_source_that_is_not_there_is_told_before_anything_is_started_or_written(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    code = "import sys; from tuner.run import main; print(main(sys.argv[1:]), {'torch', 'ray.tune'} & set(sys.modules))"
    storage = tmp_path / "results"
    command = [sys.executable, "-c", code, "--storage", str(storage), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "2 set()\n"
    assert " ".join(arguments[-2:]) in done.stderr
    assert not storage.exists()


def test_storage_that_is_a_file_is_refused(command: Command, tmp_path: Path) -> None:
    command.storage = tmp_path / "file"
    command.storage.write_text("")
    code, output = command.run(*TINY)
    assert code == 2
    assert "can't be written" in output
