"""How these tests look at the dashboard: the real command in its process, and a real browser."""

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from analysis.tables.files import publish, rows_of
from tests.analysis.made_runs import make_run, timing_rows
from tests.conftest import WAIT_SEC
from tests.paths import ROOT
from trainables.networks.registry import build
from trainables.networks.weights import SavedNetwork, save_network

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page

ARTIFACTS_VARIABLE = "TRANSFORM_TUNER_ARTIFACTS"
MODULE = ("-m", "analysis.dashboard")
DRAWN = """(timeout) => new Promise((drawn, failed) => {
  const end = performance.now() + timeout;
  const look = () => {
    const { drawn: address } = document.documentElement.dataset;
    if (address === location.pathname + location.search) drawn();
    else if (performance.now() > end) failed(new Error(`drawn is ${address}`));
    else setTimeout(look, 20);
  };
  look();
})"""  # no wait_for_function: that is evaluated by what the content security policy forbids
PLOTS = ".chart svg.marks"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

RUNS = ("fc-1", "cnn-1", "separable-1", "fc-photos")
FINALIST = 8  # trial of fc-1, its best
FAILED = 5  # trial of cnn-1
TRACEBACK = "Traceback (most recent call last):\n  ...\nRuntimeError: <b>the pipe</b> *burst*"


def revise(storage: Path, run: str, trials: Container[int], **facts: Any) -> None:
    """Publish a run's trials with other columns for some of them."""
    rows = rows_of(storage / "tables", "trials", run)
    publish(
        storage / "tables",
        "trials",
        run,
        [row | facts if row["trial"] in trials else row for row in rows],
    )


@dataclass
class Dashboard:
    """The command, running."""

    process: subprocess.Popen[str]
    address: str
    printed: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.address).port or 0

    def get(self, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
        """Status, headers and body of a GET that follows nothing; `Host` is a header too."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SEC)
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, answer.headers, body


@contextmanager
def dashboard(
    storage: Path, *arguments: str, descriptors: int | None = None, **environment: str
) -> Iterator[Dashboard]:
    """`python -m analysis.dashboard storage` on a free port, ended by Ctrl-C with status 0.

    It may open so many `descriptors`.
    """
    limit = ["prlimit", f"--nofile={descriptors}"] if descriptors else []
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [
                *limit,
                sys.executable,
                "-m",
                "analysis.dashboard",
                str(storage),
                "--port",
                "0",
                *arguments,
            ],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        try:
            assert process.stdout is not None
            printed = ""
            while not (found := re.search(r"^Address  (http://\S+)\n", printed, re.MULTILINE)):
                line = process.stdout.readline()
                assert line, f"it ended: {printed}"
                printed += line
            yield Dashboard(process, found[1], printed)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=WAIT_SEC)
        finally:
            process.kill()
            process.communicate()
        complaints.seek(0)
        told = complaints.read()
        assert process.returncode == 0, told
        assert "Traceback" not in told, told


@dataclass
class Visit:
    """An open page, and what went wrong on it."""

    page: "Page"
    host: str
    foreign: list[str] = field(default_factory=list)
    """Addresses asked of any other server."""
    errors: list[str] = field(default_factory=list)
    requests: int = 0

    def listen(self) -> None:
        """Note requests and errors from now on."""
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._said)

    def wait(self, charts: int = 0) -> "Visit":
        """Until what the address asks for is drawn, with so many charts."""
        self.page.evaluate(DRAWN, 1000 * WAIT_SEC)
        if charts:
            self.page.locator(PLOTS).nth(charts - 1).wait_for()
        return self

    def text(self, found: str) -> "Locator":
        """Where the text stands; waits until it is to be seen."""
        place = self.page.get_by_text(found).first
        place.wait_for()
        return place

    def keep(self, path: Path) -> None:
        """Keep a picture of the whole page."""
        self.page.screenshot(path=path, full_page=True)

    def _requested(self, url: str) -> None:
        self.requests += 1
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and f"{parts.hostname}:{parts.port}" != self.host:
            self.foreign.append(url)

    def _said(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")


class Visitor:
    """Opens pages, and keeps a picture of each when it leaves.

    They share one context, so that scripts are fetched and compiled once.
    """

    def __init__(self, browser: "BrowserContext", pictures: Path) -> None:
        self._browser = browser
        self._pictures = pictures

    def __call__(
        self,
        address: str,
        size: dict[str, int] = DESKTOP,
        charts: int = 0,
        *,
        dark: bool = False,
        ready: bool = True,
    ) -> Visit:
        """Open an address; wait until it is drawn unless it is no page of the dashboard's."""
        page = self._browser.new_page()
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme="dark" if dark else "light")
        parts = urlsplit(address)
        visit = Visit(page, f"{parts.hostname}:{parts.port}")
        visit.listen()
        visit.page.goto(address)
        if parts.password:
            visit.page.wait_for_url(address.replace(f"{parts.username}:{parts.password}@", ""))
        return visit.wait(charts) if ready else visit

    def leave(self) -> None:
        """Close all pages."""
        for number, page in enumerate(self._browser.pages):
            picture = self._pictures.with_name(f"{self._pictures.name}-{number}.png")
            page.screenshot(path=picture, full_page=True)
            page.close()


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages are kept."""
    kept = os.environ.get(ARTIFACTS_VARIABLE)
    path = Path(kept) / "dashboard" if kept else tmp_path_factory.mktemp("dashboard")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def visit(
    browser: "BrowserContext", artifacts: Path, request: pytest.FixtureRequest
) -> Iterator[Visitor]:
    visitor = Visitor(browser, artifacts / re.sub(r"\W+", "-", request.node.name).strip("-"))
    yield visitor
    visitor.leave()


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fc, cnn, separable on the same images, fc on others; a failure, a search that goes on."""
    storage = tmp_path_factory.mktemp("storage")
    make_run(storage, "fc-1")
    make_run(storage, "cnn-1", model="cnn", seed=1, day=1)
    make_run(
        storage,
        "fc-photos",
        data="photos",
        validation_fingerprint="v",
        test_fingerprint="t",
        seed=2,
        day=2,
    )
    make_run(
        storage,
        "separable-1",
        model="separable",
        seed=3,
        day=3,
        status="running",
        ended_at=None,
        tested=False,
    )
    tables = storage / "tables"
    publish(tables, "timings", "cnn-1", timing_rows("cnn-1", cpu_model="Intel Xeon"))
    revise(storage, "cnn-1", [FAILED], stop_reason="error", error=TRACEBACK)
    revise(storage, "separable-1", [22, 23], stop_reason=None, ended_at=None)
    weights = storage / "networks" / "run=fc-1" / f"trial-{FINALIST:04}.safetensors"
    save_network(weights, build("fc").state_dict(), SavedNetwork("fc", {}, {}))
    return storage


@pytest.fixture(scope="session")
def server(storage: Path) -> Iterator[Dashboard]:
    with dashboard(storage) as running:
        yield running
