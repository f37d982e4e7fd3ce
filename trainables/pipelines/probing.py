"""What a person's pipeline takes and gives, found by calling it with images of the set.

Nothing is declared: `probe` tries what people's pipelines take, calls it twice with each image, and
refuses with one sentence what no network can be trained for.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.data.examples import shape_of
from trainables.errors import UsageError, cut, in_one_line
from trainables.pipelines.calling import BATCHES, Calls
from trainables.pipelines.catalogue import TAKES
from trainables.tasks import Task, shape_text

PROBES = 64  # images
FEWEST = 8  # however long they take
PROBING_SEC = 10.0  # after which no further image is tried
SLOWEST_SEC = 3.0  # of a call: such a pipeline is asked about once more, and then told so
SAID = 200  # characters of an error in a sentence
SAME_WITHIN = 1e-6  # of the range; the order of additions may differ from call to call
BATCH = 4


@dataclass(frozen=True)
class Probed:
    """What probing found.

    Attributes:
        task: With the range [0, 1], which the training targets may show to be another.
        call_sec: Median time of a call.
        tried: Images that it was tried with.
    """

    task: Task
    call_sec: float
    tried: int


def probe(name: str, pipeline: Any, images: Tensor, takes: str | None = None) -> Probed:
    """Find what a pipeline takes and gives.

    Args:
        name: As `--pipeline` has it.
        pipeline: The person's own.
        images: Of the set, (N, 3, H, W) uint8.
        takes: A key of TAKES that it is to be called with; None to try them in turn.

    Raises:
        UsageError: It can't be called so, raises, gives what is no image, outputs of several sizes,
            numbers that are not finite, or another output the second time.
    """
    if not callable(pipeline):
        raise UsageError(f"it is a {type(pipeline).__name__}, which can't be called")
    if isinstance(pipeline, type):
        raise UsageError(f"it is a class: name an object of it, as in {pipeline.__name__}()")
    takes, in_batches = _taken(pipeline, images[0], takes)
    call = Calls(pipeline, takes, batched=in_batches)
    seconds: list[float] = []
    first: Tensor | None = None
    for position, image in enumerate(images[:PROBES]):
        start = time.perf_counter()
        output = called(call.one, image, position)
        seconds.append(time.perf_counter() - start)
        again = called(call.one, image, position)
        check_output(output, output.shape if first is None else first.shape, position)
        if not _same(output, again):
            raise UsageError(_random(pipeline, takes, in_batches, images[: position + 1]))
        first = output if first is None else first
        if sum(seconds) * 2 > PROBING_SEC and position + 1 >= FEWEST:
            break
        if seconds[-1] > SLOWEST_SEC and position:
            break
    if first is None:
        raise UsageError("there are no images to try it with")
    batched = takes in BATCHES and _takes_batches(pipeline, call, takes, images)
    if in_batches and not batched:
        raise UsageError(
            "what it makes of an image depends on those beside it in a batch; "
            "let it take a single image (3, H, W)"
        )
    task = Task(
        pipeline=name,
        input_shape=shape_of(images[0]),
        output_shape=shape_of(first),
        takes=takes,
        batched=batched,
        steps=tuple(type(step).__name__ for step in steps(pipeline)),
    )
    return Probed(task, sorted(seconds[1:] or seconds)[len(seconds[1:]) // 2], len(seconds))


def _taken(pipeline: Callable[..., Any], image: Tensor, asked: str | None) -> tuple[str, bool]:
    """Return the first of TAKES that it makes an image of, and whether it has to be in a batch.

    Only what takes no single image at all is tried with batches of one.

    Args:
        pipeline: The person's own.
        image: (3, H, W) uint8.
        asked: The only one to try; None for all.

    Raises:
        UsageError: There is none, with what most of them made it raise.
    """
    words = (asked,) if asked else TAKES
    ways = [(takes, False) for takes in words]
    ways += [(takes, True) for takes in BATCHES if takes in words]
    mistakes = []
    for takes, in_batches in ways:
        try:
            called(Calls(pipeline, takes, batched=in_batches).one, image, 0)
        except UsageError as mistake:
            mistakes.append(str(mistake))
        else:
            return takes, in_batches
    (said, _), *_ = Counter(mistakes).most_common(1)
    if asked:
        raise UsageError(said)
    raise UsageError(
        f"{said}, and makes an image of nothing else that it is given "
        f"({', '.join(TAKES)}); mend that, or say by --takes what it takes"
    )


def called(call: Callable[[Tensor], Tensor], image: Tensor, position: int) -> Tensor:
    """Return what a pipeline makes of one image. Raises UsageError where it raises."""
    try:
        return call(image)
    except UsageError as mistake:
        raise UsageError(f"{mistake} (training image {position})") from mistake
    except Exception as error:
        said = cut(in_one_line(error), SAID)
        raise UsageError(f"it raises {said} on training image {position}") from error


def check_output(output: Tensor, wanted: Sequence[int], position: int) -> None:
    """Raise UsageError where an output has another shape than the first, or is not finite."""
    if tuple(output.shape) != tuple(wanted):
        raise UsageError(
            f"its output is {shape_text(output.shape)} for training image {position} and "
            f"{shape_text(wanted)} for the first one: it has to give one size; "
            f"add a resize or a crop to a fixed size"
        )
    if not output.isfinite().all():
        raise UsageError(
            f"it gives NaN or infinite numbers for training image {position}; "
            f"mend that, or leave that image out"
        )


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    span = max(1.0, float(one.max() - one.min()))
    return not float((one - other).abs().max()) > SAME_WITHIN * span


def _takes_batches(
    pipeline: Callable[..., Any], one_by_one: Calls, takes: str, images: Tensor
) -> bool:
    images = images[:BATCH].repeat(2, 1, 1, 1)  # several, even of a set of one
    try:
        together = Calls(pipeline, takes, batched=True)(images)
    except Exception:
        return False
    return _same(together, torch.stack([one_by_one.one(image) for image in images]))


def steps(pipeline: Any) -> list[Callable[[Any], Any]]:
    """Return the steps of a sequence such as `Compose`; none where it is no sequence."""
    found = getattr(pipeline, "transforms", None)
    if found is None and isinstance(pipeline, nn.Sequential):
        found = list(pipeline.children())
    is_sequence = isinstance(found, list | tuple | nn.ModuleList)
    return [step for step in found if callable(step)] if is_sequence and found else []


def without(pipeline: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield each step's name with the pipeline without it; steps of one name get numbers."""
    all_steps = steps(pipeline)
    names = [type(step).__name__ for step in all_steps]
    if len(all_steps) < 2:
        return
    for place, name in enumerate(names):
        number = f" {names[: place + 1].count(name)}" if names.count(name) > 1 else ""
        yield f"{name}{number}", _InTurn(all_steps[:place] + all_steps[place + 1 :])


class _InTurn:
    """Some steps in turn, as a pipeline that is called like each of them."""

    def __init__(self, functions: Sequence[Callable[..., Any]]) -> None:
        self._functions = functions

    def __call__(self, *image: Any, **named: Any) -> Any:
        for function in self._functions:
            made = function(*image, **named)
            image, named = ((), made) if named else ((made,), {})
        return named or image[0]


def _random(pipeline: Any, takes: str, in_batches: bool, images: Tensor) -> str:
    """Say that a pipeline gives another result when it is called again, and by which step."""
    all_steps = steps(pipeline)
    for count, step in enumerate(all_steps, start=1):
        begun = Calls(_InTurn(all_steps[:count]), takes, batched=in_batches)
        for image in images.repeat(FEWEST, 1, 1, 1)[: PROBES * 2]:
            try:
                if _same(begun.one(image), begun.one(image)):
                    continue
            except Exception:  # half a pipeline may give what is no image
                break
            name = type(step).__name__
            return (
                f"its step {count}, {name}, is random: it gives another result when it is called "
                f"again; take it out, or fix what it draws (as p=1 does for a flip)"
            )
    return (
        "it gives another result when it is called again with the same image; "
        "take out what is random in it, or seed it on every call"
    )
