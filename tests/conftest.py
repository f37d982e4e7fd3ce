"""What every test has: one thread, a cache of its own, and its place in the order."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import SHARED_DATA
from trainables.data.cache import CACHE_VARIABLE

# Read by this process and all that tests start when they import PyTorch or Ray: nothing above may.
# Threads that wait for each other on a busy machine take several times as long as one
os.environ["OMP_NUM_THREADS"] = "1"
# Clusters of a test process have a token of their own, so that none of another one is met
os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
}

# Its files share a cluster, and so a process
ONE_GROUP = "tests/tuner/on_nodes/"


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put a file's tests into one process (`--dist loadgroup`), and what takes longest first."""
    items.sort(key=_rank)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            file = item.nodeid.partition("::")[0]
            group = ONE_GROUP if file.startswith(ONE_GROUP) else file
            item.add_marker(pytest.mark.xdist_group(group))


def _rank(item: pytest.Item) -> int:
    return 0 if item.nodeid.startswith(ONE_GROUP) else 2 - item.nodeid.startswith("tests/tuner/")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """CIFAR-10 and VGG16 as files, where the repository lies beside them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the development data, and there is no {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole session, so that nothing of yours is touched."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            path = path.parent  # of all of them, so that photographs are decoded once
        path = path / "cache"
        patch.setenv(CACHE_VARIABLE, str(path))
        yield path
