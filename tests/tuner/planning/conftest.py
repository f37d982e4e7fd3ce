"""Images that the plans of these tests are made for."""

import pytest

from tests.tuner.few_images import write_few_images


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory of a few hundred images."""
    return str(write_few_images(tmp_path_factory.mktemp("few") / "images"))
