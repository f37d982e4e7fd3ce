import pytest
import torch

from tests.trainables import made_up
from trainables.data.examples import Examples


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def photographs() -> Examples:
    return made_up.photographs(64, "test")


@pytest.fixture(scope="session")
def train() -> Examples:
    return made_up.photographs(256, "train")


@pytest.fixture(scope="session")
def validation() -> Examples:
    return made_up.photographs(64, "validation")
