"""Which number format trains a network on a device, chosen from what the machine reports."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Precision:
    """A number format, and why it was chosen."""

    name: str
    reason: str

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout in which convolutions run fast: channels_last on tensor cores and in bfloat16."""
        return torch.contiguous_format if self.name == "float32" else torch.channels_last

    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """Return the context in which the network runs forward; the loss stays in float32."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.name == "bfloat16")

    def set_products(self) -> None:
        """Have this process's GPU round what it multiplies in float32 to TF32, or not.

        Without this call cuDNN does.
        """
        # The older of PyTorch's two ways, since torch.compile asks by it and refuses a mixture
        torch.backends.cuda.matmul.allow_tf32 = self.name == "tf32"
        torch.backends.cudnn.allow_tf32 = self.name == "tf32"

    @contextmanager
    def tf32_convolutions(self) -> Iterator[None]:
        """Let a GPU round what it convolves in float32 to TF32, unless all is to be float32."""
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = self.name != "float32"
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before


def choose(requested: str, *, pays: bool, device: torch.device) -> Precision:
    """Choose bfloat16 for a network that gains from it on hardware that has it, else float32.

    Args:
        requested: "auto", or one of PRECISIONS, which is then taken; but for a TF32 that the
            hardware lacks.
        pays: Whether the network gains from bfloat16.
        device: Where it trains.
    """
    if requested == "tf32" and not _has_ampere_cores(device):
        return Precision("float32", f"this {device.type} has no TF32")
    if requested != "auto":
        return Precision(requested, "as asked")
    if not pays:
        return Precision("float32", "this network gains nothing from bfloat16")
    unit = bfloat16_unit(device)
    if unit is None:
        return Precision("float32", f"this {device.type} has no bfloat16 unit")
    return Precision("bfloat16", f"this {device.type} has {unit}")


def bfloat16_unit(device: torch.device) -> str | None:
    """Name what multiplies bfloat16 in hardware there; None where nothing does."""
    if device.type == "cuda":
        return "bfloat16 tensor cores" if _has_ampere_cores(device) else None
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("amx_bf16") or capabilities.get("amx_tile"):
        return "AMX"
    return "AVX512-BF16" if capabilities.get("avx512_bf16") else None


def _has_ampere_cores(device: torch.device) -> bool:
    # Those for bfloat16 and TF32 came with NVIDIA's Ampere
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
