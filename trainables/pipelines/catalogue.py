"""The pipelines by name: the study's, and the gallery.

A new pipeline is a few lines in a file of this room, and an entry here.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from importlib.util import find_spec
from typing import Any

from trainables import own_code
from trainables.errors import UsageError
from trainables.own_process import OwnProcess
from trainables.tasks import STUDY_NAME

WORDS = {
    "pil": "a PIL image",
    "uint8": "a tensor (3, H, W) of bytes",
    "float": "a tensor (3, H, W) in [0, 1]",
    "array": "an array (H, W, 3) of bytes",
    "dict": "image=, an array (H, W, 3) of bytes",
}
"""What a pipeline may take, in words, in the order in which it is tried."""
TAKES = tuple(WORDS)

LIST = "list"
"""What `--pipeline` takes to print the registry, in place of a name."""
OWN = "package.module:object or path/file.py:object"
ASKED = f"{STUDY_NAME} or another name that `--pipeline {LIST}` prints, {OWN}"
"""What `--pipeline` takes, for the help of commands."""


class Kind(StrEnum):
    """What a pipeline is made of, as textbooks on image processing tell them apart."""

    LINEAR_POINT = "linear point operation"
    POINT = "nonlinear point operation"
    HISTOGRAM = "histogram operation"
    LINEAR_FILTER = "linear filter"
    FILTER = "nonlinear filter"
    GEOMETRIC = "geometric transform"
    COMPRESSION = "compression"
    DIFFUSION = "error diffusion"


LINEAR = (Kind.LINEAR_POINT, Kind.LINEAR_FILTER, Kind.GEOMETRIC)
"""Kinds whose pipelines are affine maps."""


@dataclass(frozen=True)
class Registered:
    """A pipeline of this project.

    Attributes:
        place: Its object, as `own_code.load` takes it.
        kind: What it is made of.
        sentence: What it does, with all its parameters.
        takes: What it is called with, one of TAKES.
        needs_opencv: Whether it can't be imported without the extra `peers`.
    """

    place: str
    kind: Kind
    sentence: str
    takes: str = "float"
    needs_opencv: bool = False

    @property
    def words(self) -> str:
        """The sentence, with what it needs."""
        return f"{self.sentence} Needs OpenCV." if self.needs_opencv else self.sentence


PIPELINES = {
    STUDY_NAME: Registered(
        "trainables.pipelines.study:reference",
        Kind.GEOMETRIC,
        "Resize to 28 × 28 (bilinear, antialiased), greyscale, flip both ways.",
        takes="uint8",
    ),
    "greyscale": Registered(
        "trainables.pipelines.colour:greyscale",
        Kind.LINEAR_POINT,
        "Luma of ITU-R BT.601, one channel.",
    ),
    "gamma": Registered(
        "trainables.pipelines.colour:gamma",
        Kind.POINT,
        "Greyscale, then to the power of 0.45.",
    ),
    "sepia": Registered(
        "trainables.pipelines.colour:sepia",
        Kind.POINT,
        "Colours mixed by the 3 × 3 matrix of sepia toning, clipped at white.",
    ),
    "solarize": Registered(
        "trainables.pipelines.colour:solarize",
        Kind.POINT,
        "Values of at least 0.5 inverted.",
    ),
    "posterize": Registered(
        "trainables.pipelines.quantisation:posterize",
        Kind.POINT,
        "The upper 3 of 8 bits of each value.",
        takes="uint8",
    ),
    "equalize": Registered(
        "trainables.pipelines.colour:equalize",
        Kind.HISTOGRAM,
        "The histogram of each channel made flat.",
        takes="uint8",
    ),
    "autocontrast": Registered(
        "trainables.pipelines.colour:autocontrast",
        Kind.HISTOGRAM,
        "Each channel stretched to all of [0, 1].",
    ),
    "clahe": Registered(
        "trainables.pipelines.opencv:clahe",
        Kind.HISTOGRAM,
        "L of L*a*b* equalized in 4 × 4 tiles, contrast limited to 2 (CLAHE).",
        takes="array",
        needs_opencv=True,
    ),
    "blur": Registered(
        "trainables.pipelines.filters:blur",
        Kind.LINEAR_FILTER,
        "Gaussian of 5 × 5 pixels, σ = 1 pixel.",
    ),
    "sharpen": Registered(
        "trainables.pipelines.filters:sharpen",
        Kind.FILTER,
        "Sharpness times 3 by a 3 × 3 kernel, clipped to [0, 1].",
    ),
    "unsharp": Registered(
        "trainables.pipelines.filters:unsharp",
        Kind.FILTER,
        "Unsharp mask of a Gaussian with σ = 2 pixels, amount 1, clipped to [0, 1].",
        takes="array",
    ),
    "sobel": Registered(
        "trainables.pipelines.filters:sobel",
        Kind.FILTER,
        "Magnitude of the Sobel gradient of the grey image, one channel.",
        takes="array",
    ),
    "median": Registered(
        "trainables.pipelines.opencv:median",
        Kind.FILTER,
        "Median of 5 × 5 pixels of each channel.",
        takes="array",
        needs_opencv=True,
    ),
    "bilateral": Registered(
        "trainables.pipelines.opencv:bilateral",
        Kind.FILTER,
        "Bilateral filter over 5 pixels, σ = 50 of 255 in colour and 2 pixels in space.",
        takes="array",
        needs_opencv=True,
    ),
    "rotate": Registered(
        "trainables.pipelines.geometry:rotate",
        Kind.GEOMETRIC,
        "By 15° counter-clockwise, bilinear, in the same size, black outside.",
    ),
    "perspective": Registered(
        "trainables.pipelines.geometry:perspective",
        Kind.GEOMETRIC,
        "The upper corners moved inwards by 20 % of the width, bilinear, black outside.",
    ),
    "down-up": Registered(
        "trainables.pipelines.geometry:down_up",
        Kind.GEOMETRIC,
        "Resize to half the size and back, bilinear, antialiased.",
    ),
    "jpeg": Registered(
        "trainables.pipelines.quantisation:jpeg",
        Kind.COMPRESSION,
        "JPEG at quality 20, encoded and decoded.",
        takes="pil",
    ),
    "dither": Registered(
        "trainables.pipelines.quantisation:dither",
        Kind.DIFFUSION,
        "To black and white by Floyd and Steinberg's error diffusion; should fail.",
        takes="pil",
    ),
}
"""Every pipeline of this project by name.

The study's is a function over a batch, (N, 3, 32, 32) uint8 → (N, 1, 28, 28) float32, without
torchvision, and runs in the driver. All others are what a person's own could be, and go its way.
"""

OLDER_NAMES = {"reference": STUDY_NAME}
"""What older tables call them."""


def load(name: str) -> Any:
    """Import a pipeline, and return it as it is called: the study's with whole batches.

    Raises UsageError where it can't be imported.
    """
    registered = PIPELINES.get(name)
    if registered is not None:
        _check_installed(name, registered)
    pipeline = own_code.load(name if registered is None else registered.place)
    if hasattr(pipeline, "eval") and hasattr(pipeline, "modules"):
        pipeline.eval()  # a module of PyTorch: dropout and batch statistics change between calls
    return pipeline


def started(name: str) -> AbstractContextManager[OwnProcess | None]:
    """Start the process that a pipeline will run in; None for the study's, which needs none.

    The process imports PyTorch meanwhile, and none of a person's code until it is asked.
    """
    return nullcontext() if name == STUDY_NAME else OwnProcess("trainables.pipelines.process")


def check(name: str, takes: str | None = None) -> None:
    """Raise UsageError where a pipeline is neither registered nor an object whose module is there.

    Nothing of the module runs.

    Args:
        name: What was given as `--pipeline`.
        takes: What it is to be called with, which a registered one says itself.
    """
    registered = PIPELINES.get(name)
    if registered is not None:
        if takes is not None:
            raise UsageError(
                f"--takes {takes}: --pipeline {name} is called as it has to be; leave --takes out"
            )
        _check_installed(name, registered)
        return
    if not own_code.is_own(name):
        near = get_close_matches(name, PIPELINES, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"--pipeline {name}: there is none of that name; {guess}--pipeline {LIST} prints all, "
            f"and one of your own is {OWN}"
        )
    own_code.check_there("--pipeline", name)


def _check_installed(name: str, registered: Registered) -> None:
    if registered.needs_opencv and find_spec("cv2") is None:
        raise UsageError(
            f"--pipeline {name} needs OpenCV, which is not installed: "
            f'pip install "transform-tuner[peers]"'
        )


def listed() -> str:
    """Return what `--pipeline list` prints: name, kind and sentence of each, a line each."""
    names, kinds = (max(map(len, words)) for words in (PIPELINES, Kind))
    lines = [
        f"{name:<{names}}  {one.kind:<{kinds}}  {one.words}" for name, one in PIPELINES.items()
    ]
    return "\n".join([*lines, 'OpenCV comes with: pip install "transform-tuner[peers]"'])
