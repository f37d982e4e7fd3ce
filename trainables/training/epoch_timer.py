"""A training's epochs timed from outside, whole or part by part; the training does not know."""

import time
from collections.abc import Callable
from typing import Any

from trainables.training.loop import Training
from trainables.training.matrix_rate import finish

PARTS = ("reading and converting", "forward", "loss", "backward", "optimiser", "validation")
REST = "the rest"


class EpochTimer:
    """A context in which the parts of a training's epochs are timed.

    Methods are replaced on the training's own objects and put back at the end. On a GPU each part
    is waited for, and no CUDA graph is used, since nothing within one can be timed.
    """

    def __init__(self, training: Training) -> None:
        self.part_sec = dict.fromkeys(PARTS, 0.0)
        self._device = training.device
        self._is_inside = False
        of_gradients = (
            (training.gradients, name) for name in ("read", "forward", "loss", "backward")
        )
        methods = (*of_gradients, (training.optimizer, "step"), (training, "_validate"))
        plain = [(owner, name, getattr(owner, name)) for owner, name in methods]
        timed = [
            (owner, name, self._timed(part, method))
            for part, (owner, name, method) in zip(PARTS, plain, strict=True)
        ]
        self._plain = [*plain, (training, "graph", training.graph)]
        self._replaced = [*timed, (training, "graph", None)]

    def __enter__(self) -> "EpochTimer":
        _set(self._replaced)
        return self

    def __exit__(self, *_: object) -> None:
        _set(self._plain)

    def _timed(self, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self._is_inside:  # validation reads and goes forward too
                return method(*arguments)
            self._is_inside, start = True, self._now()
            result = method(*arguments)
            self.part_sec[part] += self._now() - start
            self._is_inside = False
            return result

        return call

    def _now(self) -> float:
        finish(self._device)
        return time.perf_counter()


def _set(attributes: list[tuple[object, str, Any]]) -> None:
    for owner, name, value in attributes:
        setattr(owner, name, value)


def time_epochs(training: Training, count: int) -> tuple[list[float], list[dict[str, float]]]:
    """Time `count` pairs of epochs after one to warm up; each is training and validation.

    Returns the seconds of each pair's first epoch, which is left alone, and of the parts of its
    second: PARTS and REST, which add up to that epoch. Best weights are not kept.
    """
    _epoch_sec(training, 1)
    alone, parted = [], []
    for number in range(2, 2 * count + 2, 2):
        alone.append(_epoch_sec(training, number))
        with EpochTimer(training) as timer:
            epoch_sec = _epoch_sec(training, number + 1)
        parted.append(timer.part_sec | {REST: epoch_sec - sum(timer.part_sec.values())})
    return alone, parted


def _epoch_sec(training: Training, number: int) -> float:
    # Training and validation each end with reading a number from the device, which waits for it
    start = time.perf_counter()
    training.train_epoch(number)
    training._validate()
    return time.perf_counter() - start
