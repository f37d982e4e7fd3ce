from functools import partial

import pytest
import torch
from torch import nn

from trainables.data.examples import Examples
from trainables.losses.perceptual import squared_error
from trainables.networks.registry import build
from trainables.training.gradients import Gradients, compile_problem, compiled
from trainables.training.precision import Precision

CPU = torch.device("cpu")


def test_every_trial_of_a_process_is_compiled_however_many_there_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._dynamo import config

    # Traced, which is what the limit counts, but without the C++ compiler's seconds
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for dropout in (0.1, 0.2, 0.3):
            network = compiled(build("fc", dropout=dropout))
            assert network(torch.rand(32, 3, 32, 32)).shape == (32, 1, 28, 28)


def test_a_machine_with_a_compiler_has_no_problem_and_one_without_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none_found() -> str:
        raise InvalidCxxCompiler

    assert compile_problem() == ""
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    assert compile_problem() == "no C++ compiler here; install g++"


def test_gradients_through_the_real_compiler_are_those_without_it(train: Examples) -> None:
    from torch._dynamo.utils import counters

    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 784), nn.Unflatten(1, (1, 28, 28)))
    settings = (network, squared_error, Precision("float32", ""), CPU, torch.contiguous_format)
    plain, through = Gradients(*settings), Gradients(*settings, compiled=True, full_size=8)
    before = counters["inductor"].copy()
    found = through.of(train, torch.arange(8), 8)
    assert counters["inductor"] != before
    for mine, exact in zip(found, plain.of(train, torch.arange(8), 8), strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-5, atol=1e-7)
