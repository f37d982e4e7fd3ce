"""Pipelines that nothing can be trained for, through the whole command: one sentence, status 2.

Beside them some that only look bad, and are searched.
"""

from pathlib import Path

import pytest

from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import simulated

CODE = """
import os, random, signal, sys, threading
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

def same(image): return image
def seventh(image):
    calls.append(image)
    if len(calls) == 7: raise RuntimeError("no such\\nthing")
    return image
calls = []
random_step = v2.Compose([v2.Resize(16), v2.RandomHorizontalFlip(), v2.Grayscale()])
noisy = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise()])
cropped = v2.Compose([v2.RandomCrop(20), v2.Grayscale()])
def size_of_content(image): return image.resize((8 + np.asarray(image).max() % 2, 8))
def nan_where_bright(image):
    pixels = np.asarray(image) / 255
    return np.where(pixels > 0.9, np.nan, pixels)
def on_a_gpu(image): return torch.zeros(1, 8, 8).cuda()
def leaves(image): sys.exit(0)
def quits(image): os._exit(3)
def killed(image): os.kill(os.getpid(), signal.SIGKILL)
def crashes(image): os.abort()
def a_batch(image): return torch.zeros(5, 3, 8, 8)
def a_list(image): return [image, image]
def text(image): return "image"
def some_bytes(image): return b"image"
def nothing(image): pass
def a_number(image): return float(np.asarray(image).mean())
def words(image): return np.array([["a", "b"], ["c", "d"]])
def empty(image): return np.zeros((0, 8))
def five_axes(image): return np.zeros((1, 2, 3, 4, 5))
def two_arguments(image, label): return image
def no_end(image): raise RecursionError("too deep")
class Odd(Exception):
    def __str__(self): raise ValueError("no text")
def odd_error(image): raise Odd
def generator(image): yield image
class NotCalled:
    pass
not_called = NotCalled()
class Unpicklable:
    def __init__(self): self.lock = threading.Lock()
    def __call__(self, image): return image.convert("L")
    def __reduce__(self): raise TypeError("cannot pickle it")
unpicklable = Unpicklable()
def prints(image):
    print("NOISE", flush=True)
    os.write(2, b"NOISE")
    return image.convert("L")
def writes(image):
    made = torch.as_tensor(image).float()[:1] / 255
    image.zero_()
    return made
"""
BAD = {
    "seventh": "it raises RuntimeError: no such on training image ",
    "random_step": "its step 2, RandomHorizontalFlip, is random",
    "noisy": "its step 3, GaussianNoise, is random",
    "cropped": "its step 1, RandomCrop, is random",
    "size_of_content": "its output is 3 × 8 × ",
    "nan_where_bright": "it gives NaN or infinite numbers for training image ",
    "on_a_gpu": "it raises ",
    "leaves": "can't be used: SystemExit: 0",
    "quits": "its import and its calls ended its process with exit status 3",
    "killed": "its import and its calls ended its process by SIGKILL",
    "crashes": "its import and its calls ended its process by SIGABRT",
    "a_batch": "it gives 5 images for one",
    "a_list": "it gives a list, which is no image",
    "text": "it gives a str, which is no image",
    "some_bytes": "it gives a bytes, which is no image",
    "nothing": "it gives a NoneType, which is no image",
    "a_number": "it gives a float, which is no image",
    "words": "it gives a ndarray, which is no image",
    "empty": "it gives 0 × 8 numbers, which is no image",
    "five_axes": "it gives 1 × 2 × 3 × 4 × 5 numbers, which is no image",
    "two_arguments": "missing 1 required positional argument: 'label'",
    "no_end": "it raises RecursionError: too deep",
    "odd_error": "it raises Odd",
    "generator": "it gives a generator, which is no image",
    "NotCalled": "it is a class: name an object of it",
    "not_called": "it is a NotCalled, which can't be called",
    "nobody": "can't be imported: AttributeError",
}
GOOD = ("same", "unpicklable", "prints", "writes")
MODULES = {
    "lacks.py": (
        "import no_such_package",
        "ModuleNotFoundError: No module named 'no_such_package'",
    ),
    "leaving.py": ("import sys; sys.exit(4)", "can't be imported: SystemExit: 4"),
    "misspelt.py": ("def it(:", "can't be imported: SyntaxError: "),
}
BUDGET = ("--model", "fc", "--samples", "1", "--max-epochs", "1", "--images", "64")


def asked(command: Command, pipeline: str, few_images: tuple[str, ...]) -> tuple[int, str]:
    command.tries_out = True
    with simulated():
        return command.call("--pipeline", pipeline, *BUDGET, *few_images)


def sentence(status: int, output: str) -> str:
    assert status == 2, output
    assert "Traceback" not in output
    (said,) = [line for line in output.splitlines() if line.startswith("error: ")]
    return said


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(CODE)
    return path


@pytest.mark.long
@pytest.mark.parametrize("name", BAD)
def test_a_bad_pipeline_is_one_sentence_and_status_2(
    command: Command, few_images: tuple[str, ...], own: Path, name: str
) -> None:
    said = sentence(*asked(command, f"{own}:{name}", few_images))
    assert said.startswith(f"error: --pipeline {own}:{name}")
    assert BAD[name] in said


@pytest.mark.long
@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_can_not_be_imported_is_one_sentence_and_status_2(
    command: Command, few_images: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    code, told = MODULES[name]
    (tmp_path / name).write_text(code)
    assert told in sentence(*asked(command, f"{tmp_path / name}:it", few_images))


@pytest.mark.long
@pytest.mark.parametrize("name", GOOD)
def test_one_that_only_looks_bad_is_searched(
    command: Command, few_images: tuple[str, ...], own: Path, name: str
) -> None:
    status, output = asked(command, f"{own}:{name}", few_images)
    assert status == 0, output
    assert "NOISE" not in output
