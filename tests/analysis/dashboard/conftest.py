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
from tests.analysis.conftest import WAIT_SEC
from tests.analysis.made_runs import make_run, timing_rows
from tests.paths import ROOT
from trainables.networks.registry import build
from trainables.networks.weights import SavedNetwork, save_network

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

ARTIFACTS_VARIABLE = "TRANSFORM_TUNER_ARTIFACTS"
READY = (
    "[data-testid='stApp'][data-test-connection-state='CONNECTED']"
    "[data-test-script-state='notRunning']"
)
PLOTS = "[data-testid='stVegaLiteChart'] :is(canvas, svg.marks)"
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
        body = (
            ""
            if answer.status == http.HTTPStatus.SWITCHING_PROTOCOLS
            else answer.read().decode(errors="replace")
        )
        connection.close()
        return answer.status, answer.headers, body


@contextmanager
def dashboard(storage: Path, *arguments: str, **environment: str) -> Iterator[Dashboard]:
    """`python -m analysis.dashboard storage` on a free port, ended by Ctrl-C with status 0."""
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "analysis.dashboard", str(storage), "--port", "0", *arguments],
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
            running = Dashboard(process, found[1], printed)
            running.get("/_stcore/health")  # waits until it serves
            yield running
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
    """A page without cookies of others, and what went wrong on it."""

    page: "Page"
    origin: str
    foreign: list[str] = field(default_factory=list)
    """Addresses asked of any other server."""
    errors: list[str] = field(default_factory=list)
    requests: int = 0

    def listen(self) -> None:
        """Note requests and errors from now on."""
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.on(
            "websocket", lambda socket: self._requested(socket.url.replace("ws://", "http://"))
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: self._said(message.type, message.text, message.location.get("url", "")),
        )

    def wait(self, charts: int = 0) -> "Visit":
        """Until the page is connected, its script has run, and so many charts are drawn."""
        self.page.wait_for_selector(READY)
        self.page.locator("[data-testid='stSkeleton'], [data-stale='true']").first.wait_for(
            state="detached"
        )
        if charts:
            self.page.locator(PLOTS).nth(charts - 1).wait_for()
        return self

    def text(self, found: str) -> "Locator":
        """Where the text stands; waits until it is to be seen."""
        place = self.page.get_by_text(found).first
        place.wait_for()
        return place

    def whole(self) -> None:
        """Make the window as high as the page, which scrolls in a part of it."""
        height = self.page.evaluate(
            "document.querySelector('[data-testid=stMain]')?.scrollHeight ?? innerHeight"
        )
        self.page.set_viewport_size(
            {"width": self.page.viewport_size["width"], "height": int(height)}
        )  # type: ignore[index]

    def _requested(self, url: str) -> None:
        self.requests += 1
        if not url.startswith((self.origin, "data:", "blob:")):
            self.foreign.append(url)

    def _said(self, kind: str, text: str, url: str) -> None:
        harmless = (
            "/_stcore/" in url and "404" in text
        )  # Streamlit looks for its base path below each page's address
        if kind == "error" and not harmless:
            self.errors.append(f"{text} {url}")


class Visitor:
    """Opens pages, and keeps a picture of each when it leaves.

    They share one context, so that Streamlit's scripts are fetched and compiled once. A page begins
    without cookies.
    """

    def __init__(self, browser: "BrowserContext", pictures: Path) -> None:
        self._browser = browser
        self._pictures = pictures

    def __call__(
        self, address: str, size: dict[str, int] = DESKTOP, charts: int = 0, ready: bool = True
    ) -> Visit:
        """A page at this address with no cookies; `ready` unless it is no page of Streamlit's."""
        self._browser.clear_cookies()
        page = self._browser.new_page()
        page.set_viewport_size(size)  # type: ignore[arg-type]
        visit = Visit(page, "{0.scheme}://{0.netloc}".format(urlsplit(address)))
        visit.listen()
        visit.page.goto(address)
        return visit.wait(charts) if ready else visit

    def leave(self) -> None:
        """Close all pages."""
        for number, page in enumerate(self._browser.pages):
            page.screenshot(path=self._pictures.with_name(f"{self._pictures.name}-{number}.png"))
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
