from collections.abc import Iterator

import pytest
import torch

from trainables.data import photos
from trainables.data.image_set import Splits
from trainables.pipelines.study import reference
from trainables.pipelines.targets import make_targets
from trainables.training.loop import Examples


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine, threads that wait for each other take several times as long as one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photographs() -> Splits:
    return photos.load()


@pytest.fixture(scope="session")
def train(photographs: Splits) -> Examples:
    images = photographs.train.first(256).images
    return Examples(images, make_targets(reference, images))


@pytest.fixture(scope="session")
def validation(photographs: Splits) -> Examples:
    images = photographs.validation.first(64).images
    return Examples(images, make_targets(reference, images))
