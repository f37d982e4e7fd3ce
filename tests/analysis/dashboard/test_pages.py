"""The four pages in a browser: drawn, readable for everybody, and kept in the address."""

import io
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.analysis.dashboard.conftest import (
    DESKTOP,
    FAILED,
    FINALIST,
    PHONE,
    RUNS,
    TRACEBACK,
    Dashboard,
    Visit,
    Visitor,
    dashboard,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator

CHARTS = {"search": 7, "trials": 2, "quality": 2, "speed": 4}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
ALL = urlencode({"runs": RUNS}, doseq=True)
KINDS = {"svg": b"<svg", "png": b"\x89PNG\r\n\x1a\n"}


def path_of(name: str) -> str:
    """Below the server's address; the first page has none of its own."""
    return "" if name == "search" else name


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("size", [DESKTOP, pytest.param(PHONE, marks=pytest.mark.long)])
def test_a_page_is_drawn_whole_for_everybody_and_asks_no_other_host(
    name: str, size: dict[str, int], server: Dashboard, visit: Visitor
) -> None:
    seen = visit(f"{server.address}{path_of(name)}?{ALL}", size, CHARTS[name])
    seen.page.get_by_role("heading", name=name.title(), exact=True).wait_for()
    assert seen.page.get_by_test_id("stVegaLiteChart").count() == CHARTS[name]
    assert seen.page.get_by_test_id("stException").count() == 0
    wide = "[document.documentElement, document.querySelector('[data-testid=stMain]')]"
    assert seen.page.evaluate(f"{wide}.map(one => one.scrollWidth - one.clientWidth)") == [0, 0]
    found = Axe().run(seen.page, options={"runOnly": RULES}).response
    assert len(found["passes"]) > 10, "it looked"
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert seen.requests > 5
    assert (seen.foreign, seen.errors) == ([], [])
    seen.whole()
    seen.wait(CHARTS[name])


def test_chosen_networks_and_runs_are_in_the_address(server: Dashboard, visit: Visitor) -> None:
    first = visit(f"{server.address}?runs=fc-1")
    pill(first, "fc").click()
    first.page.wait_for_url("**networks=fc**")
    first.wait()
    field = first.page.get_by_test_id("stMultiSelect").get_by_role("combobox")
    field.fill("fc-photos")
    field.press("Enter")
    first.page.wait_for_url("**runs=fc-photos**")
    again = visit(first.page.url)
    for page in (first, again):
        page.text("There are 2 series")
        for run in ("fc-1", "fc-photos"):
            assert (
                page.page.get_by_test_id("stMultiSelect").get_by_text(run, exact=True).count() == 1
            )
    assert pressed(pill(again, "fc"))
    assert not pressed(pill(again, "cnn"))


def test_the_newest_run_is_in_the_address_too(server: Dashboard, visit: Visitor) -> None:
    opened = visit(server.address)
    opened.text("2 running")
    assert "runs=separable-1" in opened.page.url


def test_an_opened_trial_is_in_the_address(server: Dashboard, visit: Visitor) -> None:
    first = visit(f"{server.address}trials?runs=cnn-1")
    field = first.page.get_by_test_id("stSelectbox").get_by_role("combobox")
    field.fill(f"cnn-1 / {FAILED}")
    field.press("Enter")
    first.page.get_by_role("heading", name=f"Trial {FAILED} of cnn-1").wait_for()
    assert parse_qs(urlsplit(first.page.url).query)["trial"] == [f"cnn-1 / {FAILED}"]
    again = visit(first.page.url)
    again.page.get_by_role("heading", name=f"Trial {FAILED} of cnn-1").wait_for()
    again.text("It failed:")
    assert again.page.get_by_test_id("stCode").first.inner_text().strip() == TRACEBACK


def test_an_opened_finalist_shows_its_images_and_how_to_load_it(
    server: Dashboard, visit: Visitor
) -> None:
    trial = urlencode({"runs": "fc-1", "trial": f"fc-1 / {FINALIST}"})
    opened = visit(f"{server.address}trials?{trial}", charts=3)
    opened.page.get_by_test_id("stImage").locator("img").wait_for()
    opened.text("Its worst images")
    lines = opened.page.get_by_test_id("stCode").inner_text()
    assert "load_network('" in lines
    assert f"trial-{FINALIST:04}.safetensors" in lines
    opened.whole()


def test_the_order_of_images_is_in_the_address(server: Dashboard, visit: Visitor) -> None:
    first = visit(f"{server.address}quality?runs=fc-1", charts=1)
    pill(first, "worst").click()
    first.page.wait_for_url("**images=worst**")
    first.page.get_by_test_id("stCheckbox").locator("label").click()
    first.page.wait_for_url("**difference=true**")
    again = visit(first.page.url, charts=1)
    again.page.get_by_test_id("stImage").locator("img").wait_for()
    again.text("red where it is too bright")
    assert pressed(pill(again, "worst"))
    assert not pressed(pill(again, "spread"))
    again.whole()


def test_saved_figures_and_tables_are_whole(storage: Path, visit: Visitor) -> None:
    # While it remembers other pages Streamlit may drop a file before it is fetched
    with dashboard(storage) as alone:
        opened = visit(f"{alone.address}trials?{ALL}", charts=2)
        for kind, magic in KINDS.items():
            assert saved(opened, "curves", kind).startswith(magic)
        csv = pd.read_csv(io.BytesIO(saved(opened, "trials", "csv")))
        parquet = pd.read_parquet(io.BytesIO(saved(opened, "trials", "parquet")))
    for frame in (csv, parquet):
        assert len(frame) == 24 * len(RUNS)
        assert set(zip(frame.run, frame.trial, strict=True)) == {
            (run, trial) for run in RUNS for trial in range(24)
        }
    assert list(csv.columns) == list(parquet.columns)


def test_pages_are_opened_with_the_keyboard(server: Dashboard, visit: Visitor) -> None:
    opened = visit(server.address)
    for _ in range(20):
        opened.page.keyboard.press("Tab")
        if opened.page.evaluate("document.activeElement.innerText").strip().endswith("Quality"):
            break
    opened.page.keyboard.press("Enter")
    opened.page.get_by_role("heading", name="Quality", exact=True).wait_for()
    assert urlsplit(opened.page.url).path == "/quality"


def pill(visit: Visit, name: str) -> "Locator":
    """A button of a group of which some are chosen."""
    return visit.page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True)


def pressed(place: "Locator") -> bool:
    """Whether the button around it is chosen."""
    place.wait_for()
    state = place.evaluate("one => (one = one.closest('button')).ariaPressed ?? one.ariaChecked")
    assert state in ("true", "false")
    return bool(state == "true")


def saved(visit: Visit, name: str, kind: str) -> bytes:
    """The file behind a button of Save."""
    button = visit.page.locator(f".st-key-{name}-{kind} button")
    if not button.is_visible():
        visit.page.keyboard.press("Escape")
        visit.page.locator(f".st-key-save-{name} button").click()
    with visit.page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == f"{name}.{kind}"
    return Path(download.value.path()).read_bytes()
