"""The command: a real search with everything in it, the same simulated, and what goes wrong."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from analysis.tables import scores_at
from analysis.tables.schema import arrow_schema
from tests.paths import ROOT
from tests.tuner.conftest import Command
from tests.tuner.few_images import write_few_images
from tests.tuner.simulated_tune import ProcessDied, Trial, simulated
from trainables.data import loading
from trainables.data.examples import as_float
from trainables.errors import LONGEST_TEXT
from trainables.losses.loss_registry import LOSSES
from trainables.networks.separable import Separable
from trainables.networks.weights import load_network, read_header
from trainables.thresholds import THRESHOLDS
from tuner.storage.run_storage import STATE_FILE, Experiment

TIMES = ["train_sec", "validation_sec", "images_per_sec", "reported_at"]
OF_THIS_MACHINE = ["train_sec", "epoch_sec", "images_per_sec", "start_sec", "reused_process",
                   "peak_mib", "started_at", "ended_at", "checkpoint"]  # fmt: skip


class Finished(NamedTuple):
    command: Command
    output: str
    flags: tuple[str, ...]

    def table(self, name: str) -> pd.DataFrame:
        return self.command.table(name, "run")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    ray_head: str,
    few_images: tuple[str, ...],
    both_losses: tuple[str, ...],
) -> Finished:
    """A search over both losses that ASHA thins out, with confirmed finalists and W&B offline."""
    directory = tmp_path_factory.mktemp("finished")
    budget = ("--images", "64", "--samples", "6", "--max-epochs", "4", "--finalists", "1")
    flags = (
        "--model",
        "separable",
        *budget,
        "--confirm-seeds",
        "1",
        *both_losses,
        *few_images[:-1],
    )
    command = Command(directory / "our results")
    traced = ("--trace", str(directory / "trace.json"))
    status, output = command.call(
        "--name", "run", "--address", ray_head, *traced, *flags, "offline"
    )
    assert status == 0, output
    return Finished(command, output, flags)


NETWORK = """
from beside import Beside

class Net(Beside):
    pass
"""
FUNCTIONS = """
import sys
from pathlib import Path
import torch
from beside import Beside

def error(outputs, targets):
    return (outputs - targets).abs().flatten(1).mean(1)

def sent(outputs, targets):  # whether both are what was sent
    files = [sys.modules[name].__file__ for name in ("functions", "net")]
    copies = all(Path(file).parent.name.startswith("own_") for file in files)
    return torch.full((len(outputs),), float(copies))
"""


def test_what_lies_in_files_is_sent_to_the_processes_that_train_and_measure(
    tmp_path: Path, ray_head: str, few_images: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {
        "net": NETWORK,
        "functions": FUNCTIONS,
        "beside": "from trainables.networks.separable import Separable as Beside\n",
    }
    (tmp_path / "own").mkdir()
    for name, source in sources.items():
        (tmp_path / "own" / f"{name}.py").write_text(source)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path / "own")
    command = Command(tmp_path / "results")
    asked = ("--model", "net.py:Net", "--loss", "functions.py:error", "--rank-by", "sent")
    budget = ("--images", "32", "--samples", "1", "--max-epochs", "1", "--finalists", "1")
    metric = ("--metric", "functions.py:sent", "--address", ray_head)
    status, output = command.call("--name", "run", *asked, *metric, *budget, *few_images)
    for name in sources:
        sys.modules.pop(name, None)
    assert status == 0, output
    assert command.table("epochs", "run").validation_score.tolist() == [1.0]
    assert command.table("trials", "run").loss.tolist() == ["error"]
    scores = command.table("scores", "run").query("metric == 'sent'")
    assert set(scores.kind) == {"trial", "floor", "ceiling"}
    assert set(scores.value) == {1.0}


def test_a_trace_shows_the_command_and_each_trial(finished: Finished) -> None:
    trace = Path(finished.command.storage).parent / "trace.json"
    names = [event["name"] for event in json.loads(trace.read_text())["traceEvents"]]
    phases = [
        "names and images",
        "Ray's start",
        "the search",
        "waiting for the first trial's process",
        "evaluating the finalists",
    ]
    assert [name for name in dict.fromkeys(names) if name in phases] == phases
    epochs = finished.table("epochs")
    assert {f"trial {row.trial}, epoch {row.epoch}" for row in epochs.itertuples()} <= set(names)


def test_every_table_has_its_schema(finished: Finished) -> None:
    for table in ("runs", "trials", "epochs", "usage", "scores", "samples"):
        path = finished.command.storage / "tables" / table / "run=run" / f"{table}.parquet"
        assert pq.read_schema(path).equals(arrow_schema(table), check_metadata=True)


def test_asha_stops_a_trial_and_the_next_one_starts_on_its_process(finished: Finished) -> None:
    trials = finished.table("trials").query("repeat_of.isna()").set_index("trial")
    assert len(trials) == 6
    stopped = trials[trials.stop_reason == "asha"]
    assert len(stopped) > 0
    assert (stopped.epochs < 4).all()
    assert trials.reused_process.sum() == 5
    assert trials.start_sec.gt(0).all()


def test_there_is_one_row_per_epoch_and_the_trials_sum_them_up(finished: Finished) -> None:
    epochs, trials = finished.table("epochs"), finished.table("trials")
    assert not epochs.duplicated(["trial", "epoch"]).any()
    for trial in trials.itertuples():
        own = epochs[epochs.trial == trial.trial].set_index("epoch")
        assert sorted(own.index) == list(range(1, trial.epochs + 1))
        assert own.validation_loss[trial.best_epoch] == trial.best_validation_loss


def test_the_same_search_simulated_has_the_same_tables(finished: Finished, tmp_path: Path) -> None:
    command = Command(tmp_path / "simulated")
    with simulated():
        status, output = command.call("--name", "run", *finished.flags, "disabled")
    assert status == 0, output
    for table, sort, differs in (
        ("epochs", ["trial", "epoch"], TIMES),
        ("trials", ["trial"], OF_THIS_MACHINE),
        ("scores", ["subject", "metric", "threshold", "repeat_of"], []),
    ):
        simulated_rows, real_rows = (
            one.table(table, "run").drop(columns=differs).sort_values(sort).reset_index(drop=True)
            for one in (command, finished.command)
        )
        pd.testing.assert_frame_equal(simulated_rows, real_rows)


def test_both_losses_are_searched_and_the_best_trial_has_the_highest_cosine_accuracy(
    finished: Finished,
) -> None:
    output = finished.output
    weights = finished.flags[finished.flags.index("--vgg-weights") + 1]
    assert f"layers 0, 2 of VGG16 ({weights}, 32 × 32 pixels) weighted 1, 0.5" in output
    assert "the best trial is the one with the highest validation cosine accuracy at 0.95" in output
    assert "trial   3  starts    perceptual loss, lr" in output
    searched = finished.table("trials").query("repeat_of.isna()")
    assert searched.sort_values("trial").loss.tolist() == ["mse", "perceptual"] * 3
    by = ["best_validation_accuracy", "best_validation_cosine"]
    best = searched.sort_values(by).iloc[-1]
    assert f"Best: trial {best.trial} ({best.loss} loss, " in output
    assert f"trial {best.trial} ({best.loss}) " in output
    network = finished.command.storage / "networks" / "run=run" / "best.safetensors"
    facts = read_header(network).facts
    assert (facts["trial"], facts["loss"]) == (best.trial, best.loss)


def test_the_best_of_each_loss_is_measured_pictured_and_trained_again_where_one_is_asked_for(
    finished: Finished,
) -> None:
    trials = finished.table("trials").set_index("trial")
    repeats = trials[trials.repeat_of.notna()]
    assert len(repeats) == 2
    assert set(repeats.loss) == set(LOSSES)
    assert set(trials.loss[finished.table("samples").trial]) == set(LOSSES)
    for repeat in repeats.itertuples():
        finalist = trials.loc[int(repeat.repeat_of)]
        assert (repeat.loss, repeat.learning_rate) == (finalist.loss, finalist.learning_rate)
        assert repeat.seed != finalist.seed
    scores = finished.table("scores").query("kind == 'trial' and repeat_of.isna()")
    assert (scores.trainings == 2).all()
    assert scores.sd.notna().all()


def test_activations_weigh_tens_of_times_what_pixels_do_and_are_in_no_checkpoint(
    finished: Finished,
) -> None:
    trials, epochs = finished.table("trials").set_index("trial"), finished.table("epochs")
    lowest = epochs.train_loss.groupby(trials.loss[epochs.trial].values).min()
    assert lowest["perceptual"] > 2 * lowest["mse"]
    checkpoint = Experiment.of(str(finished.command.storage), "run").checkpoints(3)[0]
    second_layer_bytes = 64 * 64 * 9 * 4
    assert (Path(checkpoint) / STATE_FILE).stat().st_size < second_layer_bytes


def test_finalists_stand_beside_floors_and_ceiling_at_every_threshold(finished: Finished) -> None:
    scores = finished.table("scores")
    assert set(scores.kind) == {"trial", "floor", "ceiling"}
    assert set(scores.metric) == {"cosine", "mse", "psnr", "ssim"}
    assert set(scores.threshold.dropna()) == set(THRESHOLDS)
    shares = scores_at(scores, "cosine", 0.999).set_index("subject").value
    assert shares["pipeline's own matrix"] == 1.0
    assert shares["flat image"] < 0.5


def test_the_saved_network_gives_what_the_table_says(finished: Finished) -> None:
    path = finished.command.storage / "networks" / "run=run" / "best.safetensors"
    trial = read_header(path).facts["trial"]
    test = loading.load(finished.flags[finished.flags.index("--data") + 1]).test.images
    samples = finished.table("samples").query(f"trial == {trial}")
    with torch.inference_mode():
        outputs = load_network(path)(as_float(test[samples.image.tolist()]))
    assert outputs.shape == (len(samples), 1, 28, 28)


def test_a_run_that_has_ended_is_in_no_phase(finished: Finished) -> None:
    (run,) = finished.table("runs").itertuples()
    assert run.status == "finished"
    assert pd.isna([run.phase, run.left_sec]).all()


def test_the_runs_table_says_where_the_results_come_from(finished: Finished) -> None:
    row = finished.table("runs").iloc[0]
    assert row.status == "finished"
    assert row.train_images == 64
    assert len(row.train_fingerprint) == 64
    assert json.loads(row.versions)["torch"] == torch.__version__.split("+")[0]
    assert row.ended_at > row.started_at
    typed = shlex.split(row.command)
    assert typed[:5] == ["python", "-m", "tuner.run", "--storage", str(finished.command.storage)]


def test_the_console_tells_the_answer_and_nothing_of_ray(finished: Finished) -> None:
    output = finished.output
    assert "flat image (floor)" in output
    assert "pipeline's own matrix (ceiling)" in output
    assert str(finished.command.storage / "networks" / "run=run" / "best.safetensors") in output
    full = "--samples 64 --max-epochs 50 --images 216"
    assert f"No GPU: that is a small search. The full one: {full}" in output
    for chatter in ("Warning", "WARNING", "(raylet)", "INFO", "Traceback", "Trial status"):
        assert chatter not in output


def test_wandb_has_one_offline_run_per_trial(finished: Finished) -> None:
    wandb = finished.command.storage / "wandb"
    runs = [path.name for path in wandb.rglob("offline-run-*") if path.is_dir()]
    assert len(runs) == len(finished.table("trials"))


def test_with_one_loss_the_best_trial_has_the_lowest_validation_loss(
    command: Command, few_images: tuple[str, ...]
) -> None:
    search = ("--model", "separable", "--samples", "6", "--max-epochs", "3", *few_images)
    with simulated():
        status, output = command.call("--name", "run", *search)
    assert status == 0, output
    trials = command.table("trials", "run").set_index("trial")
    best = trials.best_validation_loss.idxmin()
    assert f"Best: trial {best} (lr " in output
    facts = read_header(command.storage / "networks" / "run=run" / "best.safetensors").facts
    assert facts["trial"] == best


def test_a_search_begins_where_it_is_told_to_and_says_that_the_best_lies_at_an_edge(
    command: Command, few_images: tuple[str, ...]
) -> None:
    search = ("--model", "separable", "--samples", "3", "--max-epochs", "3", *few_images)
    rate = ("--learning-rate", "1e-7", "1e-3", "--start", "lr=1e-3,patience=9")
    with simulated():
        status, output = command.call(
            "--name", "run", *search, *rate, "--scheduler", "none", "--search", "tpe"
        )
    assert status == 0, output
    assert "--start lr=1e-3,patience=9: trial 0\n" in output
    assert "random search: TPE begins when 5 trials have ended; no trial is stopped" in output
    assert (
        "lr 1.00e-03 is at the upper edge of 1e-07 to 0.001 (log); widen it: --learning-rate LOW "
        "HIGH\n"
    ) in output
    trials = command.table("trials", "run").set_index("trial")
    assert (trials.learning_rate[0], trials.patience[0]) == (1e-3, 9)
    assert set(trials.stop_reason) <= {"max_epochs", "early_stopping"}


def test_a_learning_rate_that_diverges_is_recorded_and_never_best(
    command: Command, few_images: tuple[str, ...]
) -> None:
    rates = ("--learning-rate", "1e-3", "1e30", "--samples", "4", "--max-epochs", "2")
    with simulated():
        status, output = command.call("--name", "run", "--model", "separable", *rates, *few_images)
    assert status == 0, output
    trials = command.table("trials", "run").set_index("trial")
    diverged = trials[trials.stop_reason == "diverged"]
    assert 0 < len(diverged) < 4
    facts = read_header(command.storage / "networks" / "run=run" / "best.safetensors").facts
    assert facts["trial"] not in diverged.index


def test_an_error_that_is_no_text_and_very_long_fails_its_own_trial_alone(
    command: Command, few_images: tuple[str, ...]
) -> None:
    model = ("--model", "own_networks:Loud", "--seed", "1")
    with simulated():
        search = (*model, "--samples", "4", "--max-epochs", "1", *few_images)
        status, output = command.call("--name", "run", *search)
    assert status == 0, output[:2000]
    assert len(output) < 10_000
    trials = command.table("trials", "run")
    failed = trials[trials.dropout > 0.25]
    assert 0 < len(failed) < 4
    assert (failed.stop_reason == "error").all()
    assert failed.error.str.startswith("Traceback").all()
    assert failed.error.str.contains(r"RuntimeError: \x1b[2J \ud800 begins xxx", regex=False).all()
    assert failed.error.str.endswith("xxx ends\n").all()
    assert failed.error.str.len().max() < 1.01 * LONGEST_TEXT


def test_black_images_are_counted_before_the_search_and_an_exact_output_of_one_is_right(
    command: Command, tmp_path: Path, few_images: tuple[str, ...]
) -> None:
    directory = write_few_images(tmp_path / "black", black=20)
    budget = ("--samples", "1", "--max-epochs", "1")
    with simulated():
        status, output = command.call(
            "--name", "run", "--model", "separable", *budget, *few_images, "--data", str(directory)
        )
    assert status == 0, output
    (line,) = (line for line in output.splitlines() if line.startswith("constant targets: "))
    train, validation, test = (int(number) for number in re.findall(r"(\d+) of the ", line))
    assert (train + validation, test) == (20, 20)
    scores = command.table("scores", "run")
    accuracies = scores[(scores.kind == "ceiling") & scores.threshold.notna()]
    assert (accuracies.value == 1).all()


def test_a_trial_that_raises_leaves_the_others_alone_and_autograd_need_not_see_the_pixels(
    command: Command, few_images: tuple[str, ...]
) -> None:
    command.tries_out = True
    model = ("--model", "own_networks:Picky", "--dropout", "0", "0.4", "--search", "tpe")
    with simulated():
        search = (*model, "--samples", "4", "--max-epochs", "1", *few_images)
        status, output = command.call("--name", "run", *search)
    assert status == 0, output
    trials = command.table("trials", "run")
    failed = trials[trials.dropout > 0.25]
    assert 0 < len(failed) < 4
    assert (failed.stop_reason == "error").all()
    assert failed.error.str.contains("this network does not like dropout").all()
    assert (trials[trials.dropout <= 0.25].stop_reason != "error").all()
    assert "trials failed" in output
    assert "How far" not in output  # it sees everything, though autograd can't follow it
    assert "out of reach" not in output


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt()])
def test_a_trial_whose_network_leaves_fails_alone_with_its_reason(
    command: Command,
    few_images: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    trials: set[int] = set()
    forward = Separable.forward

    def leave(network: Separable, images: torch.Tensor) -> torch.Tensor:
        trials.add(id(network))
        if len(trials) == 1:
            raise error
        return forward(network, images)

    monkeypatch.setattr(Separable, "forward", leave)
    with simulated():
        search = ("--model", "separable", "--samples", "2", "--max-epochs", "1", *few_images)
        status, output = command.call("--name", "run", *search)
    assert status == 0, output
    trials_table = command.table("trials", "run").set_index("trial")
    assert trials_table.stop_reason.tolist() == ["error", "max_epochs"]
    assert type(error).__name__ in trials_table.error[0].splitlines()[-1]


def test_a_trial_whose_process_dies_again_and_again_is_given_up(
    command: Command, few_images: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise ProcessDied("killed")

    monkeypatch.setattr(Separable, "forward", die)
    with simulated():
        search = ("--model", "separable", "--samples", "1", "--max-epochs", "1", *few_images)
        status, output = command.call("--name", "run", *search)
    assert status == 1
    assert "failed    its process died 6 times in a row, without getting through an epoch" in output
    trials = command.table("trials", "run")
    assert trials.stop_reason.tolist() == ["error"]
    assert trials.restarts.tolist() == [5]


def test_a_trial_whose_process_dies_once_an_epoch_is_not_given_up(
    command: Command, few_images: tuple[str, ...]
) -> None:
    epochs = ("--max-epochs", "9", "--patience", "9", "9", "--samples", "1")

    told: set[int] = set()

    def die(what: str, trial: Trial) -> None:
        if what == "reported" and trial.last_result["epoch"] not in told:
            told.add(trial.last_result["epoch"])
            ray.doomed.add(trial)

    with simulated() as ray:
        ray.moment = die
        search = ("--model", "separable", *epochs, *few_images)
        status, output = command.call("--name", "run", *search)
    assert status == 0, output
    trials = command.table("trials", "run")
    assert (trials.stop_reason.tolist(), trials.restarts.tolist()) == (["max_epochs"], [8])


def test_a_timeout_ends_the_search_with_what_it_has(
    command: Command, few_images: tuple[str, ...]
) -> None:
    def wait(what: str, trial: Trial) -> None:
        ray.skipped_sec += 1000

    epochs = ("--max-epochs", "20", "--grace-epochs", "20", "--patience", "20", "20")
    search = ("--model", "separable", "--samples", "500", *epochs, *few_images)
    with simulated() as ray:
        ray.moment = wait
        status, output = command.call("--name", "run", *search, "--timeout", "50000")
    assert status == 0, output
    assert "--timeout 50000 ended the search with 1 of 500 trials finished" in output
    assert "go on with: python -m tuner.run --resume run --storage " in output
    assert (command.storage / "networks" / "run=run" / "best.safetensors").exists()


def test_trials_are_compiled_where_that_is_asked_for_and_the_tables_say_so(
    command: Command, few_images: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []

    def compile_nothing(function: object, **_: object) -> object:
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", compile_nothing)
    asked = ("--model", "separable", "--samples", "2", "--max-epochs", "2", "--finalists", "1")
    with simulated():
        status, output = command.call("--name", "run", *asked, "--compile", "on", *few_images)
    assert status == 0, output
    assert compiled
    line = next(line for line in output.splitlines() if line.startswith("training in "))
    assert line.endswith("thread a worker, through torch.compile")
    assert command.table("trials", "run").compiled.all()
    assert json.loads(command.table("runs", "run").config[0])["compile"] == "on"


MISTAKES = [
    (
        ("--model", "resnet"),
        "there is no network 'resnet': choose one of fc, cnn, separable, kron, can, auto, or name",
    ),
    (("--data", "/no/such/place"), "--data /no/such/place: there is no such directory"),
    (("--resume", "nothing"), "--resume nothing: there is no such run"),
    (("--model", "nowhere:Net"), "--model nowhere:Net: there is no module 'nowhere'"),
    (("--name", "../escape"), "a run's name is made of letters"),
    (("--model", "separable", "--dropout", "0", "0.1"), "--dropout: separable has no dropout"),
    (("--cpus-per-trial", "512"), "--cpus-per-trial 512: no node has more than"),
    (
        ("--loss", "perceptual", "--vgg-weights", "/no/such/file"),
        "--vgg-weights /no/such/file: there is no such file",
    ),
    (
        ("--loss", "perceptual", "--vgg-weights", "IMAGENET1K_V9"),
        "--vgg-weights IMAGENET1K_V9: there is no such file",
    ),
    (("--images", "999999"), "999,999 images were asked for"),
    (
        ("--gpus-per-trial", "1"),
        "--gpus-per-trial 1: there are no GPUs in the cluster; leave --gpus-per-trial out",
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_a_mistake_ends_with_one_sentence_and_status_2(
    command: Command, few_images: tuple[str, ...], arguments: tuple[str, ...], sentence: str
) -> None:
    with simulated():
        status, output = command.call(*few_images, *arguments)
    assert status == 2
    assert output.startswith("error: ")
    assert sentence in output
    assert output.count("\n") == 1


def test_a_mistake_that_ray_finds_has_that_form_in_a_process_too(
    command: Command, few_images: tuple[str, ...]
) -> None:
    status, output = command.run(*few_images, "--cpus-per-trial", "512")
    assert status == 2
    *slow, mistake = output.splitlines()  # the first where this machine is busy
    assert mistake.startswith("error: --cpus-per-trial 512: no node has more than ")
    assert not slow or slow[0].startswith("Ray is slow to start on this machine")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--data", "/no/such/place"), "--data /no/such/place: there is no such directory"),
        (("--data", "."), "--data .: 2 of 2 images can't be read: a.png (empty), b.png (empty)"),
        (
            ("--loss", "perceptual", "--vgg-weights", "/no/such/file"),
            "--vgg-weights /no/such/file: there is no such file",
        ),
    ],
)
def test_what_files_tell_is_told_before_anything_is_started_or_written(
    arguments: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "b.png"):
        (images / name).touch()
    code = (
        "import sys; from tuner.run import main\n"
        "print(main(sys.argv[1:]), {'torch', 'ray.tune'} & set(sys.modules))"
    )
    storage = tmp_path / "results"
    command = [sys.executable, "-c", code, "--storage", str(storage), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=images, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2 set()\n"
    assert told in done.stderr
    assert not storage.exists()


def test_storage_that_is_a_file_is_refused(
    command: Command, few_images: tuple[str, ...], tmp_path: Path
) -> None:
    command.storage = tmp_path / "file"
    command.storage.write_text("")
    status, output = command.call(*few_images)
    assert status == 2
    assert "can't be written" in output
