"""Losses and metrics of a person's own: what they may be, and what is refused in one sentence."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainables.errors import UsageError
from trainables.losses import loss_registry
from trainables.metrics import metric_registry
from trainables.own_functions import check_loss, check_metric
from trainables.tasks import STUDY

FUNCTIONS = """
import sys
import torch
from torch import nn

def charbonnier(outputs, targets):
    return ((outputs - targets).square() + 1e-6).sqrt().flatten(1).mean(1)

class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor(2.0))

    def forward(self, outputs, targets):
        assert not self.training
        return self.weight * charbonnier(outputs, targets)

weighted = Weighted()

def likeness(outputs, targets):
    return -charbonnier(outputs, targets)

def worst(outputs, targets):
    return (outputs - targets).abs().flatten(1).amax(1)

worst.higher_is_better = False

def relative(outputs, targets):  # says nothing of a black image
    return charbonnier(outputs, targets) * targets.flatten(1).amax(1) / targets.flatten(1).amax(1)

number = 3

def one_number(outputs, targets):
    return charbonnier(outputs, targets).mean()

def pixels(outputs, targets):
    return (outputs - targets).square()

def python_number(outputs, targets):
    return charbonnier(outputs, targets).mean().item()

def whole_numbers(outputs, targets):
    return (outputs > targets).flatten(1).sum(1)

class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("not written yet")

def no_way_back(outputs, targets):
    return NoWayBack.apply(charbonnier(outputs, targets))

def differentiates(outputs, targets):  # where there is nothing to differentiate
    outputs = outputs.detach().requires_grad_()
    return torch.autograd.grad(charbonnier(outputs, targets).sum(), outputs)[0].flatten(1).mean(1)

def doubles(outputs, targets):
    return charbonnier(outputs.mul_(2), targets)

def one_argument(outputs):
    return outputs

def raises(outputs, targets):
    return outputs.flatten(1).no_such_thing()

def leaves(outputs, targets):
    sys.exit(3)

def root(outputs, targets):
    return (outputs - targets).square().flatten(1).mean(1).sqrt()

def share(outputs, targets):
    return charbonnier(outputs, targets) / targets.flatten(1).sum(1)

def nan_where_equal(outputs, targets):
    return charbonnier(outputs, targets) / (outputs - targets).abs().flatten(1).sum(1)

def detached(outputs, targets):
    return charbonnier(outputs.detach(), targets)

def rounded(outputs, targets):
    return charbonnier((outputs * 255).round(), targets)

def shared(outputs, targets):
    return charbonnier(outputs, targets) / charbonnier(outputs, targets).sum()

def writes(outputs, targets):
    targets -= targets.mean()
    return charbonnier(outputs, targets)
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    yield path
    sys.modules.pop("functions", None)


@pytest.mark.parametrize("name", ["charbonnier", "weighted", "likeness", "worst"])
def test_a_loss_of_each_image_is_summed(name: str) -> None:
    check_loss(f"functions.py:{name}", STUDY)
    loss = loss_registry.find(f"functions.py:{name}")(STUDY, torch.device("cpu"), "float32")
    outputs = torch.rand(3, *STUDY.output_shape, requires_grad=True)
    targets = torch.rand(3, *STUDY.output_shape)
    parts = [loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(outputs, targets), torch.stack(parts).sum())
    assert torch.autograd.grad(loss(outputs, targets), outputs)[0].any()


@pytest.mark.parametrize(
    ("name", "higher"), [("worst", False), ("likeness", True), ("root", True), ("relative", True)]
)
def test_a_metric_says_which_direction_is_good(name: str, higher: bool) -> None:
    assert check_metric(f"functions.py:{name}", STUDY) == higher
    metric = metric_registry.find(f"functions.py:{name}")
    assert (metric.name, metric.higher_is_better, metric.thresholds) == (name, higher, ())
    outputs, targets = torch.rand(2, 4, *STUDY.output_shape)
    assert metric.measure(outputs, targets, STUDY).shape == (4,)


NOT_EACH = "it has to return a tensor with one floating-point number of each image"
OF_BOTH = [
    ("nowhere", "'functions.py:nowhere' can't be imported: AttributeError: module"),
    ("Weighted", "is a class: name a function of .outputs, targets., or an object that can be"),
    ("number", "is a int: name a function"),
    ("one_number", rf"makes \(\) torch.float32 on cpu of 5 images: {NOT_EACH}, \(5,\), on cpu"),
    ("pixels", r"makes \(5, 1, 28, 28\) torch.float32 on cpu of 5 images"),
    ("python_number", "makes a float of 5 images"),
    (
        "whole_numbers",
        rf"makes \(5,\) torch.int64 on cpu of 5 images: {NOT_EACH}, so call .float\(\) on what it",
    ),
    ("one_argument", "raises TypeError: one_argument.. takes 1 positional argument but 2 were"),
    ("raises", r"raises AttributeError: 'Tensor' .*'no_such_thing' \(functions.py, line 68\)"),
    ("leaves", "raises SystemExit: 3"),
    ("shared", f"gives an image another number when others are beside it: {NOT_EACH} alone"),
    ("writes", "changes its targets: let it work on a copy"),
]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *OF_BOTH,
        ("root", "has a gradient of NaN or infinity of outputs that equal their targets: add a"),
        ("share", "gives NaN or infinity, black images among them: add a small number"),
        ("nan_where_equal", "gives NaN or infinity of outputs that equal their targets"),
        ("detached", "has no gradient towards the outputs, so nothing can be trained with it"),
        ("rounded", "has no gradient towards the outputs"),
        ("no_way_back", r"raises RuntimeError: not written yet \(functions.py, line 52\)"),
    ],
)
def test_a_loss_with_which_nothing_can_be_trained_is_one_sentence(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as error:
        check_loss(f"functions.py:{name}", STUDY)
    assert str(error.value).startswith("--loss ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *OF_BOTH,
        ("nan_where_equal", "equal their targets, 1 × 28 × 28 each: return a finite number"),
        ("differentiates", "raises RuntimeError: "),
        ("doubles", "changes its outputs: let it work on a copy"),
    ],
)
def test_a_metric_that_measures_nothing_is_one_sentence(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as error:
        check_metric(f"functions.py:{name}", STUDY)
    assert str(error.value).startswith("--metric ")
    assert "\n" not in str(error.value)


def test_a_metric_that_raises_later_names_itself_but_for_want_of_memory(own: Path) -> None:
    own.write_text(
        "def f(outputs, targets):\n    raise ValueError('boom')\n"
        "def large(outputs, targets):\n    raise MemoryError\n"
    )
    both = torch.rand(2, 4, *STUDY.output_shape)
    with pytest.raises(UsageError, match=r"^--metric functions.py:f raises ValueError: boom .*2\)"):
        metric_registry.find("functions.py:f").measure(*both, STUDY)
    with pytest.raises(MemoryError):
        metric_registry.find("functions.py:large").measure(*both, STUDY)


def test_they_are_tried_with_outputs_of_the_task(own: Path) -> None:
    own.write_text("def f(outputs, targets):\n    return outputs[:, 2, 5, 5] - targets[:, 2, 5, 5]")
    check_metric("functions.py:f", replace(STUDY, output_shape=(3, 6, 6)))
    with pytest.raises(UsageError, match="raises IndexError: index 2 is out of bounds"):
        check_metric("functions.py:f", STUDY)
