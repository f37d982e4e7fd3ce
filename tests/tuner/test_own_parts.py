"""A network, a loss and a metric of a person's own, each in a file, through the whole command.

The files are those of docs/extending.md.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.tables import wide
from analysis.tables.ranking import ranking_rule
from tests.paths import ROOT
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import Trial, simulated
from trainables.export import main as export
from trainables.goal import Goal
from trainables.networks.registry import find
from trainables.networks.weights import load_network, read_header
from tuner.cluster.object_store import put_in_store
from tuner.trials import finalists

# Whole files: what is a part of a class begins indented
FENCE = re.compile(r"^```python\n(?! )(.*?)^```$", re.DOTALL | re.MULTILINE)
NETWORK, LOSS, METRIC = FENCE.findall((ROOT / "docs" / "extending.md").read_text())
BUDGET = ("--max-epochs", "3", "--images", "64", "--finalists", "1")
TABLES = ("runs", "trials", "epochs")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A person's directory, in which the command is typed."""
    directory = tmp_path / "own"
    directory.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(directory)
    for name, source in {"blur": NETWORK, "losses": LOSS, "own_metrics": METRIC}.items():
        (directory / f"{name}.py").write_text(source)
    yield directory
    for name in ("blur", "losses", "own_metrics"):
        sys.modules.pop(name, None)


def rows(command: Command, table: str, name: str = "run") -> pd.DataFrame:
    return command.table(table, name)


def test_a_network_of_a_file_is_searched_evaluated_timed_and_loaded_again(
    command: Command, few_images: tuple[str, ...], own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--model", "blur.py:Blur", "--samples", "2")
    with simulated():
        status, output = command.call("--name", "run", *asked, *BUDGET, *few_images)
    assert status == 0, output
    trials = rows(command, "trials")
    assert set(trials.model) == {"blur.py:Blur"}
    assert set(wide(trials).activation) <= {"ReLU", "GELU"}
    weights = Path(command.storage) / "networks" / "run=run" / "best.safetensors"
    assert read_header(weights).model == "blur.py:Blur"
    network = load_network(weights, find("blur.py:Blur"))
    assert network.layers[0].out_channels == read_header(weights).chosen["width"]
    out = ("--to", "torch", "--out", str(own / "net.pt2"))
    assert export(["run", "--storage", str(command.storage), "--model", "blur.py:Blur", *out]) == 0
    assert "differs from" in capsys.readouterr().out


def test_a_run_of_a_file_goes_on_where_it_was_typed_and_elsewhere_says_what_is_missing(
    command: Command,
    few_images: tuple[str, ...],
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = tmp_path / "killed"

    def copy(what: str, trial: Trial) -> None:
        if what == "reported" and trial.config["number"] == 2 and not killed.exists():
            shutil.copytree(command.storage, killed)

    asked = ("--model", "blur.py:Blur", "--loss", "mse,losses.py:charbonnier", "--samples", "4")
    ranked = ("--metric", "own_metrics.py:worst_pixel", "--rank-by", "worst_pixel")
    with simulated() as ray:
        ray.moment = copy
        status, output = command.call("--name", "run", *asked, *ranked, *BUDGET, *few_images)
    assert status == 0, output
    resumed = Command(killed)
    monkeypatch.chdir(tmp_path)
    with simulated():
        status, output = resumed.call("--resume", "run")
    assert status == 2
    for flag, file in (("model", "blur"), ("loss", "losses"), ("metric", "own_metrics")):
        assert f"--{flag} {file}.py:" in output
        assert (
            f"there is no file '{file}.py'; correct the path, or type the command in the "
            f"directory from which it leads there"
        ) in output
    monkeypatch.chdir(own)
    with simulated():
        status, output = resumed.call("--resume", "run")
    assert status == 0, output
    same = ["trial", "loss", "width", "seed", "best_epoch", "best_validation_score"]
    whole, again = (
        wide(rows(one, "trials"))[same].sort_values("trial", ignore_index=True)
        for one in (command, resumed)
    )
    pd.testing.assert_frame_equal(whole, again)
    (own / "own_metrics.py").write_text(METRIC.replace("= False", "= True"))
    with simulated():
        status, output = resumed.call("--resume", "run")
    assert status == 2
    assert (
        "--resume run: a low worst_pixel was good when the run began, and a high one is now: bring "
        "the metric back as it was, or start a new run without --resume"
    ) in output


def test_a_loss_of_a_file_is_searched_beside_another_and_called_by_its_name(
    command: Command, few_images: tuple[str, ...], own: Path
) -> None:
    asked = ("--model", "separable", "--loss", "mse,losses.py:charbonnier", "--samples", "4")
    with simulated():
        status, output = command.call("--name", "run", *asked, *BUDGET, *few_images)
    assert status == 0, output
    trials = rows(command, "trials")
    assert trials.loss.tolist() == ["mse", "charbonnier"] * 2
    assert json.loads(rows(command, "runs").config[0])["loss"] == "mse,losses.py:charbonnier"
    assert "trial   1  starts    charbonnier loss, lr " in output
    assert "The loss is searched too: the best trial is the one with the highest" in output
    # The root of squares of this size is far above them
    means = trials.groupby("loss").best_validation_loss.min()
    assert means["charbonnier"] > 2 * means["mse"]


def test_one_trial_of_several_losses_is_best_by_the_rule_that_was_announced(
    command: Command, few_images: tuple[str, ...], own: Path
) -> None:
    asked = ("--model", "separable", "--loss", "mse,losses.py:charbonnier", "--samples", "1")
    with simulated():
        status, output = command.call(
            "--name", "run", "--threshold", "0.99", *asked, *BUDGET, *few_images
        )
    assert status == 0, output
    rule = ranking_rule(True, Goal(threshold=0.99))
    assert f"The loss is searched too: the best trial is the one with {rule}" in output
    assert re.search(rf"Best: trial 0 \(mse loss, .* at cosine ≥ 0.99, .* \({rule}\)", output)
    (heads,) = re.findall(r"^ *≥ 0\.99 .*$", output, re.MULTILINE)
    assert heads.split()[:4] == ["≥", "0.99", "mean", "cosine"]  # the strict one is the run's own


@pytest.mark.parametrize(
    ("rank_by", "asked", "higher", "words"),
    [
        ("psnr", (), True, "the highest mean psnr over the validation images at any epoch"),
        (
            "worst_pixel",
            ("--metric", "own_metrics.py:worst_pixel"),
            False,
            "the lowest mean worst_pixel over the validation images at any epoch",
        ),
    ],
)
def test_a_search_is_ranked_by_a_metric(
    command: Command,
    few_images: tuple[str, ...],
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    rank_by: str,
    asked: tuple[str, ...],
    higher: bool,
    words: str,
) -> None:
    budget = ("--model", "fc", "--samples", "6", "--search", "tpe", *BUDGET)
    stored: list[Any] = []
    monkeypatch.setattr(
        finalists, "put_in_store", lambda them: [stored.append(them), put_in_store(them)][1]
    )
    with simulated():
        status, output = command.call(
            "--name", "run", "--rank-by", rank_by, *asked, *budget, *few_images
        )
    assert status == 0, output
    # For finalists, floors and ceiling together, where a worker has to measure them
    assert len(stored) == bool(asked)
    run = rows(command, "runs").iloc[0]
    assert (run.rank_by, bool(run.higher_is_better)) == (rank_by, higher)
    trials, epochs = rows(command, "trials"), rows(command, "epochs")
    best_of = "max" if higher else "min"
    scores = epochs.groupby("trial").validation_score
    assert trials.set_index("trial").best_validation_score.equals(
        scores.agg(best_of).rename("best_validation_score").rename_axis("trial")
    )
    at = epochs.loc[getattr(scores, f"idx{best_of}")()]
    assert trials.best_epoch.tolist() == at.epoch.tolist()
    # Some epoch of the lowest loss is another one, or this would show nothing
    best = trials.loc[getattr(trials.best_validation_score, f"idx{best_of}")()]
    assert f"Best: trial {best.trial} " in output
    assert f"{rank_by} {best.best_validation_score:.4g}, loss " in output
    assert f"The best trial is the one with {words}" in output
    scores = rows(command, "scores")
    measured = scores[scores.metric == rank_by]
    assert set(measured.kind) == {"trial", "floor", "ceiling"}
    assert measured.threshold.isna().all()
    ceiling = measured[measured.kind == "ceiling"].value.iloc[0]
    assert ceiling == (measured.value.max() if higher else measured.value.min())


def test_by_the_cosine_at_a_threshold_of_ones_own(
    command: Command, few_images: tuple[str, ...]
) -> None:
    asked = ("--model", "fc", "--rank-by", "cosine", "--threshold", "0.93", "--samples", "4")
    with simulated():
        status, output = command.call("--name", "run", *asked, *BUDGET, *few_images)
    assert status == 0, output
    run = rows(command, "runs").iloc[0]
    assert (run.rank_by, run.threshold) == ("cosine", 0.93)
    trials, epochs = rows(command, "trials"), rows(command, "epochs")
    assert trials.best_validation_score.isna().all()
    assert epochs.validation_score.isna().all()
    order = epochs.sort_values(
        ["validation_accuracy", "validation_cosine"], ascending=False, kind="stable"
    )
    best = order.groupby("trial").first()
    assert trials.best_epoch.tolist() == best.epoch.tolist()
    winner = order.trial.iloc[0]
    assert f"Best: trial {winner} " in output
    assert "at cosine ≥ 0.93, mean cosine" in output
    scores = rows(command, "scores")
    assert 0.93 in set(scores.threshold[scores.metric == "cosine"])
    assert re.search(r"\n +≥ 0.93 +≥ 0.99 +mean cosine", output), output


def test_the_usual_search_says_how_it_is_ranked_and_has_no_scores(
    command: Command, few_images: tuple[str, ...]
) -> None:
    with simulated():
        status, output = command.call(
            "--name", "run", "--model", "separable", "--samples", "2", *BUDGET, *few_images
        )
    assert status == 0, output
    run = rows(command, "runs").iloc[0]
    assert (run.rank_by, run.higher_is_better, run.threshold) == ("loss", None, 0.95)
    assert rows(command, "epochs").validation_score.isna().all()
    assert "best trial is the one" not in output


SMALL = "from PIL import Image\ndef small(image):\n    return image.resize((8, 8))\n"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--model", "nowhere.py:Net"), "there is no file 'nowhere.py'; correct the path, or type"),
        (("--loss", "nowhere.py:f"), "--loss nowhere.py:f: there is no file 'nowhere.py'"),
        (("--metric", "nowhere:f"), "--metric nowhere:f: there is no module 'nowhere'"),
        (("--rank-by", "worst_pixel"), "choose one of loss, cosine, mse, psnr, ssim, or name a"),
        (("--threshold", "1"), "--threshold < 1 must hold, but got 1.0"),
        (("--threshold", "0"), "--threshold > 0 must hold, but got 0.0"),
        (("--metric", "psnr"), "--metric psnr: it is measured anyway"),
        (("--loss", "losses.py:charbonnier,mae"), "choose one of mse, perceptual, name a function"),
        (
            ("--rank-by", "ssim", "--pipeline", "small.py:small", "--model", "fc"),
            "--rank-by ssim: it is not defined for outputs of 3 × 8 × 8; choose another",
        ),
        (("--perceptual-size", "64", "--loss", "losses.py:charbonnier"), "does not use that"),
    ],
)
def test_what_can_not_be_asked_for_is_one_sentence_and_status_2(
    command: Command, few_images: tuple[str, ...], own: Path, asked: tuple[str, ...], told: str
) -> None:
    (own / "small.py").write_text(SMALL)
    with simulated():
        status, output = command.call("--model", "separable", *asked, *BUDGET, *few_images)
    assert status == 2, output
    (sentence,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert told in sentence
    assert "Traceback" not in output


def test_a_loss_and_a_metric_are_tried_out_before_they_are_used(
    command: Command, few_images: tuple[str, ...], own: Path
) -> None:
    (own / "losses.py").write_text(f"{LOSS}    return squares.mean()\n".replace("return (", "("))
    command.tries_out = True
    asked = ("--model", "blur.py:Blur", "--loss", "losses.py:charbonnier", "--samples", "1")
    metric = ("--metric", "own_metrics.py:worst_pixel")
    with simulated():
        status, output = command.call(*asked, *metric, *BUDGET, *few_images)
    assert status == 2, output
    assert "error: --loss losses.py:charbonnier makes () torch.float32 on cpu of 5 images" in output
