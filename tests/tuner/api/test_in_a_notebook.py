"""One search in a kernel of Jupyter: interrupted there, gone on with, and read."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from analysis.tables.files import rows_of
from tests.paths import ROOT
from tests.tuner.few_images import write_few_images
from trainables.own_code import load
from tuner import Result, UsageError

LIMIT_SEC = 300
DEFINITIONS = """
import os, sys, time
import torch
from torch import nn
from trainables.hyperparameters import Parameter
from tuner import search

STRENGTH = 0.5

def dimmed(image):
    return image.mean(0, keepdim=True) * STRENGTH

class Gated(nn.Module):
    "Waits in trials until there is a file."
    space = {"learning_rate": Parameter(1e-3, 1e-1, log=True), "width": Parameter(choices=(2, 4))}

    def __init__(self, task, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, 1, 1))

    def forward(self, images):
        while self.training and "ray" in sys.modules and not os.path.exists(GO):
            time.sleep(0.02)
        return self.layers(images)

def brightest(outputs, targets):
    return (outputs - targets).flatten(1).amax(1)
"""
SEARCH = """
result = search(
    pipeline=dimmed, takes="float", model=Gated, metric=[brightest], data="few", name="run",
    samples=2, max_epochs=2, timing="none", wandb="disabled", finalists=1,
)
"""
RESUME = """
result = search(resume="run", samples=3)
result
"""


@dataclass
class Outputs:
    """What a cell gave."""

    streams: str = ""
    shown: list[str] = field(default_factory=list)  # of the one display, one after the other
    value: dict[str, str] = field(default_factory=dict)
    error: str = ""


class Kernel:
    """A kernel in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manager = KernelManager(kernel_name="python3")
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.manager.start_kernel(
            cwd=str(directory), env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": ""}
        )
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT_SEC)

    def run(self, code: str, look: Callable[[Outputs], None] = lambda _: None) -> Outputs:
        """Run a cell; `look` sees its outputs so far at each of them."""
        outputs = Outputs()

        def note(message: dict[str, Any]) -> None:
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                outputs.streams += content["text"]
            elif kind in ("display_data", "update_display_data"):
                outputs.shown.append(content["data"]["text/plain"])
            elif kind == "execute_result":
                outputs.value = content["data"]
            elif kind == "error":
                outputs.error = content["ename"]
            look(outputs)

        self.client.execute_interactive(code, output_hook=note, timeout=LIMIT_SEC)
        return outputs

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@dataclass(frozen=True)
class Cells:
    """The cells of the notebook, and where it was."""

    interrupted: Outputs
    resumed: Outputs
    directory: Path


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    directory = tmp_path_factory.mktemp("notebook")
    write_few_images(directory / "few")
    kernel = Kernel(directory)
    interrupts = iter([kernel.manager.interrupt_kernel])

    def interrupt_once(outputs: Outputs) -> None:
        if "trial   0  starts" in outputs.streams:
            next(interrupts, lambda: None)()

    try:
        defined = kernel.run(f"GO = {str(directory / 'go')!r}\n{DEFINITIONS}")
        assert not defined.error
        interrupted = kernel.run(SEARCH, interrupt_once)
        (directory / "go").touch()
        yield Cells(interrupted, kernel.run(RESUME), directory)
    finally:
        kernel.stop()


@pytest.fixture
def result(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(cells.directory)
    return Result("run")


def test_an_interrupt_of_the_kernel_ends_the_search_and_says_how_to_go_on(cells: Cells) -> None:
    assert cells.interrupted.error == "KeyboardInterrupt"
    *_, command, call = cells.interrupted.streams.splitlines()
    assert command.endswith("go on with: python -m tuner.run --resume run")
    assert call == "In Python: search(resume='run')"
    assert cells.interrupted.shown[-1] == ""  # the progress line is gone


def test_lines_are_printed_and_progress_is_one_display(cells: Cells) -> None:
    resumed = cells.resumed
    assert resumed.error == ""
    assert "Best: trial" in resumed.streams
    assert resumed.streams.count("\r") == 0
    assert (resumed.shown[0], resumed.shown[-1]) == ("", "")
    assert any("trials done" in text for text in resumed.shown)


def test_the_kernel_shows_the_answer_as_a_card(cells: Cells) -> None:
    card = cells.resumed.value["text/html"]
    assert "<b>Can Gated replace dimmed? " in card
    assert cells.resumed.value["text/plain"].startswith("<Result run: Gated ")


def test_what_the_notebook_defined_is_a_file_that_later_commands_find(result: Result) -> None:
    pipeline, model = result.run["pipeline"], result.run["model"]
    assert {Path(name.rpartition(":")[0]).parent for name in (pipeline, model)} == {
        Path("results/own")
    }
    assert pipeline.endswith(".py:dimmed")
    with pytest.raises(UsageError, match=r"give its class, result.network\(TheClass\)"):
        result.network()
    torch = pytest.importorskip("torch")
    network = result.network(load(model))
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1, 32, 32)


def test_the_run_says_what_was_typed_and_can_be_typed_again(result: Result) -> None:
    command, more = result.run["command"].splitlines()
    assert command.startswith("python -m tuner.run ")
    assert "--metric results/own/brightest_" in command
    assert more == "python -m tuner.run --resume run --samples 3"


def test_tables_are_data_frames_and_the_best_trial_is_theirs(result: Result) -> None:
    trials = result.trials()
    assert trials.trial.tolist() == [0, 1, 2]
    best = trials.loc[trials.best_validation_loss.idxmin()]
    assert (result.best["trial"], result.best["width"]) == (best.trial, best.width)
    assert result.hyperparameters["learning_rate"] == best.learning_rate
    assert set(result.epochs().trial) == {0, 1, 2}
    assert "brightest" in set(result.scores().metric)
    assert result.timings().empty
    assert rows_of(Path("results/tables"), "runs", "run")[0]["status"] == "finished"
