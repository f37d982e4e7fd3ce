"""The card of a pipeline, as its command prints it."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tests.trainables.pipelines import peoples
from tests.tuner.few_images import write_few_images
from trainables.data import sources
from trainables.data.images import Images
from trainables.own_process import OwnProcess
from trainables.task import main

HERE = Path(peoples.__file__)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_few_images(tmp_path_factory.mktemp("few") / "images"))


def test_the_study_is_of_rank_1_and_every_network_fits_that_may_change_the_size(
    few: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", few]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "makes     1 × 28 × 28 of 3 × 32 × 32, from 0 to 1"
    assert lines[4].startswith("affine    yes, within 0 of its range, of Kronecker rank 1 within")
    assert lines[6].startswith("60 test images, share at cosine similarity")
    assert lines[-7].split()[-3:] == ["100", "%", "1.0000"]
    assert [line.split()[0] for line in lines[-5:]] == ["fc", "cnn", "separable", "kron", "can"]
    assert ["fits: --model" in line for line in lines[-5:]] == [True] * 4 + [False]
    assert lines[-1].endswith("these are 28 × 28 for 32 × 32; give --model fc")


def test_of_an_own_pipeline_it_says_what_it_takes_and_which_network_does_not_fit(
    few: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--pipeline", f"{HERE}:normalised", "--data", few, "--image-size", "24"]) == 0
    printed = capsys.readouterr().out
    assert "takes     a PIL image\nmakes     3 × 12 × 12 of 3 × 24 × 24, from -" in printed
    assert "steps     Half → Normalised" in printed
    assert "cnn       cnn makes outputs of the input's size, or 4 pixels smaller" in printed


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--image-size", "0"), "--image-size ≥ 1 must hold, but got 0"),
        (("--image-size", "1", "2", "3"), "--image-size 1 2 3: give height and width"),
        (("--takes", "pil"), "--takes pil: --pipeline study is called as it has to be"),
        (("--takes", "jpeg"), "--takes jpeg: choose one of pil, uint8, float, array, dict"),
        (
            ("--pipeline", "blurr"),
            "--pipeline blurr: there is none of that name; did you mean blur?",
        ),
        (("--data", "nowhere"), "--data nowhere: there is no such directory"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    asked: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {told}")


def test_the_process_of_a_pipeline_imports_while_images_are_read_and_is_asked_then(
    few: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = []
    ask, read = OwnProcess.ask, sources.read

    def starts(self: OwnProcess, module: str) -> None:
        happened.append("started")
        start(self, module)

    def asks(self: OwnProcess, arguments: Mapping[str, Any]) -> None:
        happened.append("asked")
        ask(self, arguments)

    def reads(*arguments: Any) -> Images:
        happened.append("read")
        return read(*arguments)

    start = OwnProcess.__init__
    monkeypatch.setattr(OwnProcess, "__init__", starts)
    monkeypatch.setattr(OwnProcess, "ask", asks)
    monkeypatch.setattr(sources, "read", reads)
    assert main(["--pipeline", f"{HERE}:mean_colour", "--data", few, "--image-size", "8"]) == 0
    assert happened == ["started", "read", "asked"]
    assert "makes     3 × 1 × 1 of 3 × 8 × 8" in capsys.readouterr().out


def test_a_card_tells_what_was_guessed_of_the_images(
    few: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = sources.read
    monkeypatch.setattr(sources, "read", lambda *asked: replace(read(*asked), note="guessed"))
    assert main(["--data", few]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{few}: guessed"


def test_the_command_imports_no_pytorch_before_its_images_are_read() -> None:
    code = "import sys, trainables.task; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n"
