"""Which losses there are by name; the contract test over them is in test_perceptual."""

import pytest

from trainables.errors import UsageError
from trainables.losses import loss_registry


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("mae", "--loss mae: choose one of mse, perceptual, name a function of your own as"),
        ("mse,", "--loss mse,: choose one of mse, perceptual"),
        ("mse,mse", "--loss mse,mse: name each loss once"),
        ("a.py:f,b:f", "--loss a.py:f,b:f: two of them would be called f; give one another name"),
        ("a.py:mse", "--loss a.py:mse: mse is this project's own name; give yours another"),
    ],
)
def test_a_list_of_losses_that_is_none_is_told(asked: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        loss_registry.check(asked)


def test_a_list_names_losses_of_the_project_and_of_ones_own() -> None:
    for asked in ("mse", "mse,perceptual", "a.py:f", "mse,a.py:f,package.module:g"):
        loss_registry.check(asked)
