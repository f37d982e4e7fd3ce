"""The documentation as a site: no link is broken, and it is searched without a network."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from docs.site_pages import moved
from tests.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", out],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stdout
    return out


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_every_page_of_the_documentation_is_in_the_site(site: Path) -> None:
    pages = {path.stem for path in ROOT.glob("docs/*.md")} | {"index", "changelog", "contributing"}
    assert {path.stem for path in site.glob("*.html")} - {"404"} == pages
    assert not list(site.rglob("*.py"))


def test_the_reference_is_made_of_the_docstrings(site: Path) -> None:
    assert "Load a trained network, in eval mode." in (site / "reference.html").read_text()


def test_a_link_to_a_page_that_is_not_there_ends_the_build(tmp_path: Path) -> None:
    for name in ("docs", "mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    for name in ("analysis", "trainables", "tuner", "benchmarks", "CITATION.cff", "examples"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    page = tmp_path / "docs" / "losses.md"
    page.write_text(page.read_text() + "\n[there](nowhere.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "nowhere.md" in done.stdout


@pytest.mark.parametrize(
    ("source", "link", "becomes"),
    [
        ("README.md", "[a](docs/atlas.md#how-it-runs)", "[a](atlas.md#how-it-runs)"),
        ("README.md", "![a](docs/result.png)", "![a](result.png)"),
        ("docs/atlas.md", "[a](../README.md)", "[a](index.md)"),
        ("docs/atlas.md", "[a](../tuner/run.py)", "a"),
        ("docs/atlas.md", "[a](../tuner/nowhere.py)", "[a](../tuner/nowhere.py)"),
        ("docs/atlas.md", "[a](https://a.org/b)", "[a](https://a.org/b)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    source: str, link: str, becomes: str
) -> None:
    assert moved(f"so {link}, so", source) == f"so {becomes}, so"


def test_words_are_found_in_a_browser_that_reaches_nothing_else(
    address: str, browser: "BrowserContext"
) -> None:
    asked: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/index.html")
    words = page.get_by_placeholder("Search")
    words.click()
    # What is typed before the page's script listens is searched by nobody
    page.get_by_text("Type to start searching").wait_for()
    words.press_sequentially("Kronecker products")
    page.locator(".md-search-result__item").first.wait_for()
    found = page.locator(".md-search-result__item").all_inner_texts()
    page.close()
    assert any("Kronecker" in text for text in found)
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()
