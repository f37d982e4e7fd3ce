"""Which number format trains a network on a device, chosen from what the machine reports."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """A number format, and why it was chosen."""

    name: str
    reason: str

    @property
    def memory_format(self) -> torch.memory_format:
        """Convolutions in bfloat16 run on channels_last; elsewhere the plain layout is as fast or faster."""
        return torch.channels_last if self.name == "bfloat16" else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """The context in which the network runs forward; the loss stays in float32."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.name == "bfloat16")


def choose(requested: str, *, pays: bool, device: torch.device) -> Precision:
    """bfloat16 for a network that gains from it on hardware that has it, else float32.

    `requested` is "auto" or one of the two. Raises ValueError for another name.
    """
    if requested not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision must be auto, float32 or bfloat16, but got {requested!r}")
    if requested != "auto":
        return Precision(requested, "as asked")
    if not pays:
        return Precision("float32", "this network gains nothing from bfloat16")
    unit = bfloat16_unit(device)
    if unit is None:
        return Precision("float32", f"this {device.type} has no bfloat16 unit")
    return Precision("bfloat16", f"this {device.type} has {unit}")


def bfloat16_unit(device: torch.device) -> str | None:
    """What multiplies bfloat16 in hardware there, or None."""
    if device.type == "cuda":
        return "bfloat16 tensor cores" if torch.cuda.get_device_capability(device) >= (8, 0) else None
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("amx_bf16") or capabilities.get("amx_tile"):
        return "AMX"
    return "AVX512-BF16" if capabilities.get("avx512_bf16") else None
