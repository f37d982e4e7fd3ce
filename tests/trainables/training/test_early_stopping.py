import math

import pytest

from trainables.training.early_stopping import CRITERIA, MIN_IMPROVEMENT, best, window

FALLING = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
FLAT = [1.0] * 6
UP_AND_DOWN = [1.0, 0.5, 0.9, 0.8, 0.7, 0.6]  # falls for four epochs, but never below its second
CREEPING = [
    1.0 - 0.4 * MIN_IMPROVEMENT * epoch for epoch in range(6)
]  # no step counts, but three together do


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_falling_losses_never_stop_and_flat_ones_stop_after_the_patience(
    criterion, patience: int
) -> None:
    lengths = range(1, 7)
    assert not any(criterion(FALLING[:length], patience) for length in lengths)
    assert [criterion(FLAT[:length], patience) for length in lengths] == [
        length > patience for length in lengths
    ]


@pytest.mark.parametrize(
    ("criterion", "losses", "patience", "stops"),
    [
        (best, UP_AND_DOWN[:5], 4, False),
        (best, UP_AND_DOWN, 4, True),
        (window, UP_AND_DOWN, 4, True),
        (window, UP_AND_DOWN, 3, False),
        (best, UP_AND_DOWN, 3, True),
        (best, CREEPING, 5, False),
        (best, CREEPING[:3], 2, True),
        (best, CREEPING[:4], 3, False),
        (window, CREEPING, 3, False),
        (window, CREEPING, 2, True),
        (best, [1.0, 1.0 - 1.5 * MIN_IMPROVEMENT], 1, False),
        (window, [1.0, 1.0 - 1.5 * MIN_IMPROVEMENT], 1, False),
        (best, [1.0, 1.0 - 0.5 * MIN_IMPROVEMENT], 1, True),
        (window, [1.0, 1.0 - 0.5 * MIN_IMPROVEMENT], 1, True),
        (best, [], 1, False),
        (window, [], 1, False),
        (best, [1.0, math.inf, math.inf], 2, True),
        (window, [1.0, math.inf, math.inf], 2, True),
    ],
)
def test_a_criterion_stops_on_these_losses(
    criterion, losses: list[float], patience: int, stops: bool
) -> None:
    assert criterion(losses, patience) == stops


def test_the_window_forgets_a_best_epoch_that_left_it_while_best_does_not() -> None:
    losses = [1.0, 0.1, 0.9, 0.8, 0.7, 0.6]
    assert best(losses, 3)
    assert not window(losses, 3)
