"""Replay recorded curves under a scheduler: which trial would have trained for how many epochs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from analysis.audit.curve import Curve
from analysis.audit.rules import Rule


@dataclass(slots=True)
class Report:
    """A trial has ended an epoch.

    Attributes:
        trial: Its place among the curves.
        epoch: From 1.
        goes_on: Whether its next epoch begins at once.
    """

    trial: int
    epoch: int
    goes_on: bool


def replay(
    curves: Sequence[Curve], order: Iterator[int], rule: Rule, at_once: int
) -> Iterator[Report]:
    """Run trials beside each other, each epoch as long as it took; yield their reports in turn.

    Args:
        curves: The trials.
        order: Which trial begins next, asked whenever a slot is free and nothing was paused for it.
        rule: Decides which go on.
        at_once: Slots.
    """
    # When the epoch ends, then in the order of starting: (seconds, number, trial, epoch)
    running: list[tuple[float, int, int, int]] = []
    started = 0
    epochs: dict[int, int] = {}
    free, now = at_once, 0.0
    while True:
        while free:
            trial = _next_trial(curves, epochs, order, rule)
            if trial is None:
                break
            epoch = epochs.get(trial, 0) + 1
            heappush(running, (now + curves[trial].epoch_sec[epoch - 1], started, trial, epoch))
            started += 1
            free -= 1
        if not running:
            return
        now, number, trial, epoch = heappop(running)
        epochs[trial] = epoch
        curve = curves[trial]
        goes_on = rule.goes_on(trial, epoch, curve.best[epoch - 1]) and epoch < len(curve.reached)
        if goes_on:
            heappush(running, (now + curve.epoch_sec[epoch], number, trial, epoch + 1))
        else:
            free += 1
        yield Report(trial, epoch, goes_on)


def _next_trial(
    curves: Sequence[Curve], epochs: dict[int, int], order: Iterator[int], rule: Rule
) -> int | None:
    """Return the trial that a free slot is for; None where there is none now."""
    while (trial := rule.resumed()) is not None:
        if epochs[trial] < len(curves[trial].reached):  # else it has ended by itself
            return trial
    return next(order, None)
