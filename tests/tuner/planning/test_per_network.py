"""A network's search space is what it has, narrowed by what is asked of it."""

from typing import Any

import pytest

from tests.tuner.planning.plans import facts_of
from trainables.errors import UsageError
from trainables.networks.separable import Separable
from tuner.planning.per_network import spaces_of
from tuner.settings import SearchConfig


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"ranges": {"dropout": (0, 0.1)}},
            "--dropout: separable has no dropout; leave the flag out",
        ),
        (
            {"set": ("hidden=32:64",)},
            "--set hidden=32:64: separable has no hyperparameter 'hidden'; it has learning_rate, "
            "patience, weight_decay, schedule",
        ),
        ({"set": ("patience=a,b",)}, "--set patience=a,b: patience is a whole number"),
    ],
)
def test_a_hyperparameter_that_the_network_does_not_have_is_refused(
    asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as error:
        spaces_of(SearchConfig(model="separable", **asked), facts_of(Separable))
    assert str(error.value) == told
