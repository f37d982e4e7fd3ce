from functools import partial

import pytest
import torch

from trainables.networks.registry import build
from trainables.training import compiling


def test_every_trial_of_a_process_is_compiled_however_many_there_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._dynamo import config

    # Traced, which is what the limit counts, but without the C++ compiler's seconds
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for dropout in (0.1, 0.2, 0.3):
            network = compiling.compiled(build("fc", dropout=dropout))
            assert network(torch.rand(32, 3, 32, 32)).shape == (32, 1, 28, 28)


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
