"""Training through torch.compile, where it is asked for and the machine can."""

from typing import Any, cast

import torch
from torch import nn


def problem() -> str:
    """Say why this machine can't compile; empty where it can.

    A GPU's kernels are started by code for the CPU, so that a GPU needs the compiler too.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler here; install g++"
    return ""


def compiled(network: nn.Module) -> nn.Module:
    """Return what torch.compile makes of a network: compiled at its first call, by this process."""
    import torch._inductor.config as settings

    # By default every process starts a pool; a trial has its share of the cores
    settings.compile_threads = 1
    compile_: Any = torch.compile  # its overloads lack isolate_recompiles
    # Isolated, or the ninth trial of a process would find its class compiled too often, and train
    # without it and without a word
    return cast(nn.Module, compile_(network, dynamic=False, isolate_recompiles=True))
