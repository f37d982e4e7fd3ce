"""The page of a report in a browser: on paper, in the dark, and for everybody."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from analysis.charts.style import GROUNDS
from tests.analysis.report.made_reports import make_wide_run, write_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
MARGIN_MM, PX_PER_MM = 15, 96 / 25.4
PAPERS = {"A4": 210, "Letter": 215.9}  # mm wide
BEYOND = """() => [...document.querySelectorAll("main *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.outerHTML.slice(0, 80))"""
CUT = """() => [...document.querySelectorAll("main *")]
    .filter(one => getComputedStyle(one).overflowX != "visible")
    .filter(one => one.scrollWidth > one.clientWidth + 1)
    .map(one => one.outerHTML.slice(0, 80))"""
STYLE = (
    "([css, name]) => [...document.querySelectorAll(css)].map(one => getComputedStyle(one)[name])"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("storage")
    make_wide_run(storage)
    return write_report(storage, "wide")


@pytest.fixture
def page(browser: "BrowserContext", written: Path) -> "Iterator[Page]":
    page = browser.new_page()
    page.goto(written.as_uri())
    yield page
    page.close()


def style_of(page: "Page", css: str, name: str) -> set[Any]:
    """Values that a property has in the elements of a selector."""
    return set(page.evaluate(STYLE, [css, name]))


@pytest.mark.parametrize("paper", PAPERS)
def test_no_column_is_cut_on_paper(page: "Page", paper: str) -> None:
    page.emulate_media(media="print")
    width = int((PAPERS[paper] - 2 * MARGIN_MM) * PX_PER_MM)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.locator("table").count() >= 6
    heads = page.locator("th", has_text="verdict")
    assert heads.count() == 2
    assert heads.first.is_visible()
    assert page.evaluate(BEYOND) == []
    assert page.evaluate(CUT) == []


def test_on_paper_heads_are_repeated_and_no_title_stands_alone(page: "Page") -> None:
    page.emulate_media(media="print")
    assert style_of(page, "thead", "display") == {"table-header-group"}
    assert style_of(page, "h1, h2, h3, caption", "breakAfter") == {"avoid"}
    assert style_of(page, "figure, .wide, tr, pre, dl", "breakInside") == {"avoid"}


def test_on_paper_it_is_black_on_white_whatever_the_system_has(page: "Page") -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert style_of(page, "html", "backgroundColor") == {"rgb(255, 255, 255)"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it_by_day_and_by_night(page: "Page", scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    red, green, blue = bytes.fromhex(GROUNDS[scheme][1:])
    assert style_of(page, "html", "backgroundColor") == {f"rgb({red}, {green}, {blue})"}
    found = Axe().run(page, options={"runOnly": RULES}).response
    assert len(found["passes"]) > 10, "it looked"
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_have_the_ground_of_the_page(page: "Page", scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    image = page.locator("img").first
    image.scroll_into_view_if_needed()
    pixel = image.evaluate(
        """async one => {
            await one.decode();
            const canvas = new OffscreenCanvas(1, 1).getContext("2d");
            canvas.drawImage(one, -30, -300);
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }"""
    )
    assert bytes(pixel) == bytes.fromhex(GROUNDS[scheme][1:])


def test_on_a_phone_only_tables_scroll_sideways(page: "Page") -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert page.evaluate("[...document.querySelectorAll('.wide')].every(one => one.tabIndex == 0)")
