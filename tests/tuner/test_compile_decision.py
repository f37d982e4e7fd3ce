"""Whether trials are compiled is settled before the first of them."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from analysis.console import Console
from tests.tuner.conftest import ROOT, TINY, Command
from trainables.training.compiling import Verdict
from trainables.training.loop import Examples
from tuner import compile_decision
from tuner.cluster.ray_cluster import Share
from tuner.settings import SearchConfig

SEPARABLE = SearchConfig(model="separable", max_epochs=2, batch_size=64)
ONE_CPU = Share(1, 0, 0)
MEASURED = """
import torch
from analysis.console import Console
from trainables.training.loop import Examples
from tuner import compile_decision as compiling
from tuner.cluster import ray_cluster as cluster
from tuner.settings import SearchConfig

cluster.prepare_environment(False)
cluster.start(None, model="separable", dashboard=False, verbose=False)
compile_decision.compiling.may_pay = lambda training_sec: True
train = Examples(torch.zeros(64, 3, 32, 32, dtype=torch.uint8), torch.zeros(64, 1, 28, 28))
config = SearchConfig(model="separable", max_epochs=10**9, grace_epochs=10**9, batch_size=64)
print("settled:", compile_decision.settled(config, cluster.Share(1, 0, 0), train, Console()).compile)
cluster.stop()
"""


@pytest.fixture
def train() -> Examples:
    return Examples(torch.zeros(100, 3, 32, 32, dtype=torch.uint8), torch.zeros(100, 1, 28, 28))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of each batch that was measured; it is found to pay."""
    batches: list[int] = []

    def measure(config: object, batch: Examples, images: int, share: Share) -> Verdict:
        batches.append(len(batch))
        return Verdict(True, "a step takes 9 % less")

    monkeypatch.setattr(compile_decision, "_measured", measure)
    monkeypatch.setattr(compile_decision, "_training_sec", lambda *arguments: 1e6)
    return batches


@pytest.mark.parametrize("asked", ["on", "off"])
def test_what_is_asked_for_is_taken(asked: str, train: Examples, measured: list[int]) -> None:
    assert (
        compile_decision.settled(
            replace(SEPARABLE, compile=asked), ONE_CPU, train, Console()
        ).compile
        == asked
    )
    assert measured == []


def test_gpus_the_perceptual_loss_alone_and_other_peoples_networks_are_not_measured(
    train: Examples, measured: list[int]
) -> None:
    assert compile_decision.settled(SEPARABLE, Share(1, 0.25, 0), train, Console()).compile == "off"
    assert (
        compile_decision.settled(
            replace(SEPARABLE, loss="perceptual"), ONE_CPU, train, Console()
        ).compile
        == "off"
    )
    deadly = replace(SEPARABLE, model="own_networks:Deadly")
    assert compile_decision.settled(deadly, ONE_CPU, train, Console()).compile == "off"
    assert measured == []


@pytest.mark.parametrize(("model", "images"), [("separable", 64), ("cnn", 32)])
def test_a_long_training_is_measured_with_what_goes_through_the_network_at_once(
    model: str,
    images: int,
    train: Examples,
    measured: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        compile_decision.settled(replace(SEPARABLE, model=model), ONE_CPU, train, Console()).compile
        == "on"
    )
    assert measured == [images]
    assert "torch.compile is used: a step takes 9 % less" in capsys.readouterr().out


def test_a_short_training_is_not_measured_and_leaves_this_process_its_threads(
    train: Examples, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compile_decision, "_measured", None)  # to call it would be an error
    threads = torch.get_num_threads()
    assert compile_decision.settled(SEPARABLE, ONE_CPU, train, Console()).compile == "off"
    assert torch.get_num_threads() == threads
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"max_epochs": 30, "grace_epochs": 30}, 30),  # nothing is stopped
        ({"max_epochs": 1}, 1),
        ({"max_epochs": 9}, 3),  # 1 + 2 / 3 + 6 / 9
        ({"max_epochs": 9, "grace_epochs": 3}, 5),
        ({"max_epochs": 4, "reduction_factor": 2}, 2),  # 1 + 1 / 2 + 2 / 4
        (
            {"max_epochs": 3, "reduction_factor": 1.1},
            3,
        ),  # rungs at 1, 2 and 3: 1 + 1 / 1.1 + 1 / 1.21
    ],
)
def test_a_typical_trial_is_as_long_as_its_rungs_let_it_be(
    settings: dict[str, float], epochs: int
) -> None:
    assert compile_decision.typical_epochs(SearchConfig(**settings)) == epochs


def test_a_process_with_a_trials_share_measures_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    told = re.search(r"torch\.compile is (not )?used: a step takes \d+% (less|longer)", done.stdout)
    assert told, done.stdout + done.stderr
    assert f"settled: {'off' if told[1] else 'on'}" in done.stdout


def test_trials_are_compiled_where_that_is_asked_for_and_the_tables_say_so(
    command: Command,
) -> None:
    asked = (
        "--model",
        "separable",
        "--samples",
        "2",
        "--max-epochs",
        "2",
        "--finalists",
        "1",
        "--compile",
        "on",
    )
    code, output = command.run("--name", "run", *asked, *TINY)
    assert code == 0, output
    assert re.search(r"thread a worker, through torch\.compile$", output, re.MULTILINE)
    assert command.table("trials", "run").compiled.all()
    assert json.loads(command.table("runs", "run").config[0])["compile"] == "on"
