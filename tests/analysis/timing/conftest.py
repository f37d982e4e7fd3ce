"""A cache for the timings of each test process: its lock lets one timing run at a time."""

from collections.abc import Iterator

import pytest

from trainables.data.cache import CACHE_VARIABLE


@pytest.fixture(scope="package", autouse=True)
def cache_of_this_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield
