"""Objects in place of names: by the name that they have, or kept in a file."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from tests.tuner.own_networks import Mine
from trainables.errors import UsageError
from trainables.networks.registry import find
from trainables.own_code import load
from trainables.pipelines import study
from tuner.api import own_objects
from tuner.api.own_objects import named
from tuner.settings import SearchConfig

OF_THIS_MODULE = v2.Compose([v2.Grayscale()])
CELL = """
SHARE = 0.25

def scaled(image):
    return image * SHARE
"""
NETWORK = """
from torch import nn
from trainables.hyperparameters import Parameter

class Tiny(nn.Module):
    space = {"width": Parameter(1, 4)}

    def __init__(self, task, width):
        super().__init__()
        self.width = width
"""


def cell(code: str, name: str, kernel: int = 1) -> Any:
    """Return what a cell of a notebook defines, in the kernel of some number."""
    namespace = {"__name__": "__main__"}
    exec(compile(code, f"/tmp/ipykernel_{kernel}/{kernel}.py", "exec"), namespace)
    return namespace[name]


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("pipeline", "blur", "blur"),
        ("pipeline", study.reference, "trainables.pipelines.study:reference"),
        ("pipeline", functional.hflip, f"{functional.hflip.__module__}:horizontal_flip"),
        ("model", Mine, "tests.tuner.own_networks:Mine"),
        ("loss", ["mse", study.reference], "mse,trainables.pipelines.study:reference"),
        ("pipeline", OF_THIS_MODULE, f"{__name__}:OF_THIS_MODULE"),
    ],
)
def test_what_has_a_name_goes_by_it(tmp_path: Path, setting: str, value: Any, name: Any) -> None:
    assert named(setting, value, tmp_path / "own") == name
    assert not (tmp_path / "own").exists()


def test_a_function_of_a_notebook_is_found_from_another_process_and_directory(
    tmp_path: Path,
) -> None:
    name = named("pipeline", cell(CELL, "scaled"), tmp_path / "own")
    assert name.startswith(f"{tmp_path}/own/scaled_")
    assert name.endswith(".py:scaled")
    code = f"from trainables.own_code import load; print(load({name!r})(8))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout == "2.0\n", done.stderr


def test_the_same_function_has_the_same_file_in_every_kernel_and_another_one_another(
    tmp_path: Path,
) -> None:
    first, again = (named("pipeline", cell(CELL, "scaled", n), tmp_path) for n in (1, 22))
    other = named("pipeline", cell(CELL.replace("0.25", "0.5"), "scaled"), tmp_path)
    assert first == again != other


def test_the_search_needs_no_module_that_lies_beside_the_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_notebook.py").write_text("SIX = 6\ndef times_six(x):\n    return SIX * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    code = "import beside_notebook\ndef mine(image):\n    return beside_notebook.times_six(image)\n"
    code += "import functools\npartly = functools.partial(beside_notebook.times_six)\n"
    name = named("pipeline", cell(code, "partly"), tmp_path / "own")
    monkeypatch.delitem(sys.modules, "beside_notebook")
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part != str(tmp_path)])
    assert load(name)(7) == 42
    assert "beside_notebook" not in sys.modules


@pytest.mark.parametrize(
    ("make", "attribute"),
    [
        (lambda: v2.Compose([v2.Grayscale()]), "Compose"),
        (lambda: nn.Sequential(nn.Conv2d(3, 1, 1)), "Sequential"),
        (lambda: cell("f = lambda image: image", "f"), "pipeline"),
    ],
)
def test_an_object_is_called_as_its_class_and_a_function_without_a_name_as_its_setting(
    tmp_path: Path, make: Callable[[], Any], attribute: str
) -> None:
    pipeline = make()
    kept = load(named("pipeline", pipeline, tmp_path))
    image = torch.rand(3, 4, 4)
    assert torch.equal(kept(image), pipeline(image))
    (path,) = tmp_path.glob("*.py")
    assert path.name.startswith(f"{attribute}_")


def test_losses_and_metrics_without_a_name_may_be_called_as_they_are(tmp_path: Path) -> None:
    function = cell("f = lambda outputs, targets: outputs.mean((1, 2, 3))", "f")
    SearchConfig(loss=named("loss", function, tmp_path), metric=named("metric", function, tmp_path))


def test_a_network_of_a_notebook_is_one_of_one_s_own(tmp_path: Path) -> None:
    name = named("model", cell(NETWORK, "Tiny"), tmp_path)
    assert find(name).space["width"].high == 4


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("pipeline", {"a": 1}, "pipeline is a dict: give a name, or an object that can be called"),
        ("model", 3, "model is a int: give a name"),
        ("model", print, "model is an object of builtin_function_or_method: give its class"),
        ("pipeline", [study.reference], "pipeline is a list: give a name"),
    ],
)
def test_what_can_not_be_called_is_a_sentence(
    tmp_path: Path, setting: str, value: Any, told: str
) -> None:
    with pytest.raises(UsageError, match=f"^search: {told}"):
        named(setting, value, tmp_path)


def test_what_can_not_be_kept_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = cell(CELL, "scaled")
    function.lock = threading.Lock()
    told = r"pipeline can't be kept in a file \(TypeError: cannot pickle .*lock.*\): write it into"
    with pytest.raises(UsageError, match=told):
        named("pipeline", function, tmp_path)
    (tmp_path / "file").touch()
    told = r"search: pipeline can't be written to .*file/own/scaled_.* \(Not a directory\): give"
    with pytest.raises(UsageError, match=told):
        named("pipeline", cell(CELL, "scaled"), tmp_path / "file" / "own")
    told = r"metric would be kept in .*/a,b/.*, and a comma separates several"
    with pytest.raises(UsageError, match=told):
        named("metric", cell(CELL, "scaled"), tmp_path / "a,b")
    (tmp_path / "file").unlink()
    monkeypatch.setattr(own_objects, "LARGEST_MIB", 0)
    with pytest.raises(UsageError, match="takes 0 MiB in a file, more than 0: write it into"):
        named("pipeline", cell(CELL, "scaled"), tmp_path)
    assert list(tmp_path.iterdir()) == []
