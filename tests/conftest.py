from collections.abc import Iterator
from pathlib import Path

import pytest

from trainables.places import CACHE_VARIABLE

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For two processes that share the tests: searches first, one after the other, and no file is divided."""
    items.sort(key=lambda item: "tests/tuner/" not in item.nodeid)
    for item in items:
        is_search = "tests/tuner/" in item.nodeid
        item.add_marker(pytest.mark.xdist_group("searches" if is_search else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """CIFAR-10 and VGG16 as files, where the repository lies beside them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the development data, and there is no {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole session, so that photographs are decoded once and nothing of yours is touched."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("cache")
        patch.setenv(CACHE_VARIABLE, str(path))
        yield path
