import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from trainables.data.examples import Examples
from trainables.networks.registry import build
from trainables.pixels import as_float
from trainables.training import compiling
from trainables.training.compiling import Verdict, verdict
from trainables.training.loop import TrainingConfig

CPU = torch.device("cpu")
SEPARABLE = TrainingConfig(model="separable", learning_rate=1e-2, max_epochs=3, seed=0)


@pytest.fixture
def batch(train: Examples) -> Examples:
    return Examples(train.images[:32], train.targets[:32])


def test_the_seconds_of_a_training_grow_with_its_epochs_and_images(
    batch: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_seconds", lambda step: 0.5)
    assert compiling.training_sec(SEPARABLE, batch, images=320, device=CPU) == 3 * 10 * 0.5


def test_what_compiling_could_save_at_most_decides_whether_it_is_measured() -> None:
    limit = compiling.COMPILE_SEC / compiling.LIKELY_GAIN
    assert compiling.may_pay(1.1 * limit)
    assert not compiling.may_pay(0.9 * limit)


def test_a_long_training_is_measured_with_what_torch_compile_makes_of_the_network(
    batch: Examples,
) -> None:
    found = verdict(replace(SEPARABLE, max_epochs=10**9), batch, images=32, device=CPU)
    assert "a step takes" in found.reason
    assert found.compiled == ("of compiling" in found.reason)  # over so many epochs any gain pays


def test_a_network_that_can_t_be_compiled_is_trained_without(
    batch: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(network: nn.Module) -> nn.Module:
        raise RuntimeError("no working C++ compiler found\nmore")

    monkeypatch.setattr(compiling, "compiled", failing)
    found = verdict(replace(SEPARABLE, max_epochs=10**9), batch, images=32, device=CPU)
    assert found == Verdict(False, "it fails here: no working C++ compiler found")


@pytest.mark.parametrize(
    ("eager_sec", "fast_sec", "steps", "pays", "told"),
    [
        (0.06, 0.01, 1000, True, "s in a typical trial for 2 s of compiling"),
        (0.06, 0.01, 10, False, "s in a typical trial for 2 s of compiling"),
        (0.01, 0.06, 1000, False, "longer with it"),
    ],
)
def test_compiling_pays_when_it_saves_more_than_it_takes(
    eager_sec: float, fast_sec: float, steps: int, pays: bool, told: str
) -> None:
    eager, fast = (lambda sec=sec: time.sleep(sec) for sec in (eager_sec, fast_sec))
    found = compiling._compared(eager, fast, compile_sec=2, steps=steps)
    assert found.compiled is pays
    assert found.reason.endswith(told)


def test_a_gain_that_two_rounds_of_five_contradict_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = iter([1.0, 0.9, 1.0, 0.9, 1.0, 0.9, 1.0, 1.1, 1.0, 1.1])
    monkeypatch.setattr(compiling, "_seconds", lambda run: next(seconds))
    found = compiling._compared(lambda: None, lambda: None, compile_sec=0, steps=1000)
    assert found == Verdict(False, "a step takes 10% less, but not in all rounds but one")


def test_every_trial_of_a_process_is_compiled_however_many_there_were(batch: Examples) -> None:
    from torch._dynamo import config

    with config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for dropout in (0.1, 0.2, 0.3):
            network = compiling.compiled(build("fc", dropout=dropout))
            assert network(as_float(batch.images)).shape == (32, 1, 28, 28)


def test_a_machine_with_a_compiler_has_no_problem_and_one_without_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none_found() -> str:
        raise InvalidCxxCompiler

    assert compiling.problem() == ""
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    assert compiling.problem() == "no C++ compiler here; install g++"
