"""Targets of a person's pipeline in the cache: each split's made once, and read by later commands.

They lie in the smallest form that loses nothing. A pipeline's code may have changed since: its
outputs on the probe images are kept beside them, and `process` makes some of them again.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from trainables import own_code
from trainables.atomic_write import atomic_write
from trainables.data.cache import cache_directory
from trainables.data.examples import as_float
from trainables.tasks import Task

VERSION = 1  # a change of anything here that changes what a file says asks for a new number
PART = 1000  # targets at a time: they may lie in a file
AS_IT_IS = "as it is"


def _bytes(targets: Tensor) -> Tensor:
    return targets.mul(255).round_().clamp_(0, 255).to(torch.uint8)


FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "bytes": (_bytes, as_float),
    "bytes divided": (_bytes, lambda small: small / 255),  # as torchvision's ToTensor makes them
    "half": (Tensor.half, Tensor.float),
}
"""Smaller forms of float32: what makes one, and what makes float32 of it again."""


@dataclass(frozen=True)
class Kept:
    """What was kept of a pipeline that made targets.

    Attributes:
        probes: As `identity.kept` has it.
        span: Of the range that its targets had then.
    """

    probes: bytes
    span: float


def place(task: Task, without: str, images: Tensor) -> Path:
    """Return the file for the targets of images: (N, 3, H, W) uint8.

    Args:
        task: Says by what name and how the pipeline is called.
        without: The step that is left out; empty where none is.
        images: The whole split.
    """
    name = task.pipeline
    if own_code.is_file(name):  # two of one name may lie in two directories
        name = str(Path(name).resolve())
    key = f"targets {VERSION} {name!r} {task.takes} {without!r} {tuple(images.shape)}"
    digest = hashlib.sha256(key.encode())
    digest.update(images.contiguous().numpy().data)
    return cache_directory() / "targets" / f"{digest.hexdigest()[:32]}.npz"


def keep(file: Path, targets: Tensor, kept: Kept) -> None:
    """Write targets (N, c, h, w) float32. A cache that can't be written is no reason to stop."""
    form, small = _narrowed(targets)
    about = json.dumps({"form": form, "span": kept.span})
    with suppress(OSError), atomic_write(file, many_writers=True) as aside:
        np.savez(
            aside,
            targets=small.numpy(),
            probes=np.frombuffer(kept.probes, np.uint8),
            about=np.array(about),
        )


def recall(file: Path, targets: Tensor) -> Kept | None:
    """Fill targets with those of a file, and return what was kept beside them.

    Returns None where there is no file, or none that is whole; what is in `targets` counts for
    nothing then, nor where these turn out to be another pipeline's.

    Args:
        file: As `place` returned it.
        targets: (N, c, h, w) float32, to be filled. They stay as they are where those of the file
            have another shape.
    """
    try:
        with file.open("rb") as opened, np.load(opened) as arrays:
            about = json.loads(str(arrays["about"]))
            kept = Kept(arrays["probes"].tobytes(), float(about["span"]))
            small = torch.from_numpy(arrays["targets"])
            wide = FORMS[about["form"]][1] if about["form"] != AS_IT_IS else torch.clone
    except (OSError, ValueError, EOFError, LookupError, TypeError, BadZipFile):
        return None
    if small.shape != targets.shape:
        return Kept(b"", kept.span)
    for part, filled in zip(small.split(PART), targets.split(PART), strict=True):
        filled.copy_(wide(part))
    return kept


def _narrowed(targets: Tensor) -> tuple[str, Tensor]:
    """Return targets in the smallest form that has every bit of them, and what that is called."""
    for form, (narrow, wide) in FORMS.items():
        parts = []
        for part in targets.split(PART):
            small = narrow(part)
            # As bits: -0.0 is no 0.0
            if not torch.equal(wide(small).view(torch.int32), part.view(torch.int32)):
                break
            parts.append(small)
        else:
            return form, torch.cat(parts)
    return AS_IT_IS, targets
