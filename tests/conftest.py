"""What tests share: one thread, a cache, a browser, and their place in the order."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest import runner
from xdist.scheduler import LoadScopeScheduling

from tests.paths import SHARED_DATA
from trainables.data.cache import CACHE_VARIABLE

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

# Read by this process and all that tests start when they import PyTorch or Ray: nothing above may.
# Threads that wait for each other on a busy machine take several times as long as one
os.environ["OMP_NUM_THREADS"] = "1"
# Clusters of a test process have a token of their own, so that none of another one is met
os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
}

# pytest writes each test's name into the environment and takes it away, and no option turns that
# off. Threads of Ray, of moto and of Arrow read the environment meanwhile, and glibc before 2.41
# ends the process for that now and then
runner._update_current_test_var = lambda item, when: None

# What shares a cluster shares a process; all other files are one by one. The longest first
TOGETHER = (
    ("tests/tuner/on_nodes/",),
    ("tests/tuner/test_run.py", "tests/tuner/test_simulated_tune.py"),
    ("tests/cluster/test_up.py", "tests/cluster/test_faults.py"),
)

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
WAIT_SEC = 180  # only a busy machine needs more than a few


class InGroups(LoadScopeScheduling):
    """Each of TOGETHER, and each other file, to one of the processes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((group[0] for group in TOGETHER if file.startswith(group)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> InGroups:
    """For `--numprocesses 2`; xdist's own groups come to nothing under pytest 9.2."""
    return InGroups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, and what is broken comes last of its group."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> tuple[bool, int]:
    places = enumerate(place for group in TOGETHER for place in group)
    found = [number for number, place in places if item.nodeid.startswith(place)]
    return not item.nodeid.startswith(("tests/tuner/", "tests/cluster/")), min(found, default=99)


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


@pytest.fixture(scope="session")
def browser() -> "Iterator[BrowserContext]":
    """One browser for all pages of this test process."""
    path = shutil.which(CHROMIUM) or shutil.which("chromium")
    if path is None:
        pytest.skip("needs a browser: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        context = browser.new_context()
        context.set_default_timeout(WAIT_SEC * 1000)
        yield context
        browser.close()
