"""Networks that live outside the project, for tests of `--model package.module:Class`."""

from trainables.fc import FC
from trainables.separable import Separable


class Mine(Separable):
    """Works."""


class Picky(FC):
    """Raises for half of what is searched."""

    def __init__(self, dropout: float = 0.0) -> None:
        if dropout > 0.25:
            raise RuntimeError("this network does not like dropout")
        super().__init__(dropout)
