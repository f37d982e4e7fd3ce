"""The pages in a browser: drawn, readable for everybody, and kept in the address."""

import io
import re
from http import HTTPStatus
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
    PLOTS,
    RUNS,
    TRACEBACK,
    Dashboard,
    Visit,
    Visitor,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator

ALL = urlencode({"run": RUNS}, doseq=True)
TRIALS = urlencode({"trial": [f"fc-1/{FINALIST}", "fc-1/2", "cnn-1/3"]}, doseq=True)
PAGES = {  # what stands behind the server's address, the heading, and how many charts
    "overview": ("", "Overview", 0),
    "search": (f"search?{ALL}", "Search", 12),
    "trials": (f"trials?{ALL}", "Trials", 3),
    "quality": (f"quality?{ALL}", "Quality", 2),
    "speed": (f"speed?{ALL}", "Speed", 4),
    "atlas": ("atlas", "Atlas", 1),
    "run": ("run/fc-1", "Run fc-1", 2),
    "trial": (f"trial/fc-1/{FINALIST}", f"Trial {FINALIST} of fc-1", 1),
    "failed": (f"trial/cnn-1/{FAILED}", f"Trial {FAILED} of cnn-1", 1),
    "compare": (f"compare?{TRIALS}", "Compare", 1),
    "nothing": ("trial/fc-1/99", "Not here", 0),
}
SIZES = {"desktop": DESKTOP, "phone": PHONE}
LOOKS = [("desktop", "light"), ("phone", "dark"), ("desktop", "dark"), ("phone", "light")]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
MAGIC = {"svg": b"<svg", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-"}


@pytest.mark.parametrize(
    ("size", "theme"),
    [*LOOKS[:2], *(pytest.param(*look, marks=pytest.mark.long) for look in LOOKS[2:])],
)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_drawn_whole_for_everybody_and_asks_no_other_host(
    name: str, size: str, theme: str, server: Dashboard, visit: Visitor, artifacts: Path
) -> None:
    path, heading, charts = PAGES[name]
    seen = visit(f"{server.address}{path}", SIZES[size], charts, dark=theme == "dark")
    seen.page.get_by_role("heading", name=heading, exact=True).wait_for()
    assert seen.page.locator(PLOTS).count() == charts
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert seen.page.evaluate(wide) == 0
    found = Axe().run(seen.page, options={"runOnly": RULES}).response
    assert len(found["passes"]) > 10, "it looked"
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert seen.requests > 3
    errors = [error for error in seen.errors if not (name == "nothing" and "404" in error)]
    assert (seen.foreign, errors) == ([], [])
    seen.keep(artifacts / f"{name}-{size}-{theme}.png")
    seen.page.close()


def test_what_is_not_there_has_status_404_and_leads_back(server: Dashboard, visit: Visitor) -> None:
    for path in ("nothing", "run/nothing", "trial/fc-1/99", "save/csv/nothing/trials"):
        assert server.get(f"/{path}")[0] == HTTPStatus.NOT_FOUND
    assert server.get("/search?run=fc-1&dropout.from=x")[0] == HTTPStatus.BAD_REQUEST
    opened = visit(f"{server.address}run/nothing")
    opened.text("There is no run nothing here")
    opened.page.get_by_role("link", name="Overview", exact=True).click()
    opened.wait()
    opened.page.get_by_role("heading", name="Overview", exact=True).wait_for()


def test_the_newest_run_is_in_the_address(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}search")
    assert opened.page.url == f"{server.address}search?run=separable-1"


def test_a_filter_is_in_the_address_where_back_undoes_it_and_a_link_repeats_it(
    server: Dashboard, visit: Visitor
) -> None:
    opened = visit(f"{server.address}trials?run=fc-1", charts=2)
    before = opened.page.url, rows(opened), opened.page.locator("aside").inner_text()
    field(opened, "State", "stopped").check()
    opened.page.wait_for_url("**state=stopped**")
    opened.wait(charts=2)
    low = opened.page.get_by_role("group", name="Dropout").get_by_label("from")
    low.fill("0.2")
    low.press("Enter")
    opened.page.wait_for_url("**dropout.from=0.2**")
    opened.wait(charts=2)
    narrowed = opened.page.url, rows(opened)
    assert 0 < len(narrowed[1]) < len(before[1])
    assert parse_qs(urlsplit(opened.page.url).query) == {
        "run": ["fc-1"],
        "state": ["stopped"],
        "dropout.from": ["0.2"],
    }
    opened.page.reload()
    again = visit(opened.page.url)
    for one in (opened.wait(), again):
        assert (one.page.url, rows(one)) == narrowed
        assert field(one, "State", "stopped").is_checked()
    for _ in range(2):
        opened.page.go_back()
        opened.wait(charts=2)
    assert (opened.page.url, rows(opened)) == before[:2]
    assert opened.page.locator("aside").inner_text() == before[2]
    assert not field(opened, "State", "stopped").is_checked()


def test_chosen_runs_hold_on_other_pages(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}search?run=fc-1&state=stopped")
    field(opened, "Runs, the newest first", "cnn-1").check()
    opened.page.wait_for_url("**run=cnn-1**")
    opened.wait().page.get_by_role("link", name="Quality", exact=True).click()
    opened.wait(charts=1)
    assert set(parse_qs(urlsplit(opened.page.url).query)["run"]) == {"fc-1", "cnn-1"}


def test_a_brushed_interval_becomes_a_filter(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}search?run=fc-1", charts=5)
    plot = opened.page.locator("[data-block=slice-dropout] .background").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    mouse = opened.page.mouse
    mouse.move(box["x"] + box["width"] / 4, box["y"] + 5)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 5, steps=4)
    mouse.up()
    opened.page.wait_for_url("**dropout.from=**")
    opened.wait()
    asked = parse_qs(urlsplit(opened.page.url).query)
    low, high = (float(asked[f"dropout.{end}"][0]) for end in ("from", "to"))
    assert 0 <= low < high <= 0.5
    opened.page.go_back()
    opened.wait(charts=5)
    assert opened.page.url == f"{server.address}search?run=fc-1"


def test_a_point_and_a_row_open_their_trial(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}search?run=fc-1", charts=5)
    point = opened.page.locator("[data-block=history] .mark-symbol path").first
    number = re.search(r"trial: (\d+)", point.get_attribute("aria-label") or "")
    point.click(force=True)
    opened.page.wait_for_url("**/trial/fc-1/**")
    opened.wait(charts=1)
    heading = opened.page.get_by_role("heading", level=1).inner_text()
    assert heading == f"Trial {urlsplit(opened.page.url).path.rpartition('/')[2]} of fc-1"
    assert number is None or heading == f"Trial {number[1]} of fc-1"
    opened.page.go_back()
    opened.wait(charts=5)
    opened.page.get_by_role("link", name="Trials", exact=True).click()
    opened.wait(charts=2)
    row = opened.page.locator("[data-block=trials] tbody tr").nth(2)
    name = row.locator("a").first.inner_text()
    row.locator("td").nth(5).click()
    opened.page.wait_for_url(f"**/trial/fc-1/{name}*")
    opened.wait().page.get_by_role("heading", name=f"Trial {name} of fc-1").wait_for()


def test_a_failed_trial_says_why(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}trial/cnn-1/{FAILED}", charts=1)
    assert opened.page.locator(".failure pre").inner_text().strip() == TRACEBACK


def test_a_finalist_shows_its_images_and_how_to_load_it(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}trial/fc-1/{FINALIST}", charts=1)
    opened.text("Its worst images")
    assert opened.page.locator(".pictures img").count() > 8
    assert opened.page.evaluate(
        "[...document.querySelectorAll('.pictures img')].every((one) => one.naturalWidth > 0)"
    )
    lines = opened.page.locator("pre").last.inner_text()
    assert f"trial-{FINALIST:04}.safetensors" in lines


def test_the_order_of_images_is_in_the_address(server: Dashboard, visit: Visitor) -> None:
    first = visit(f"{server.address}quality?run=fc-1", charts=1)
    option(first, "Images", "worst").click()
    first.wait()
    option(first, "Difference", "shown").click()
    first.wait()
    again = visit(first.page.url, charts=1)
    again.text("red where it is too bright")
    for label, chosen in (("Images", "worst"), ("Difference", "shown")):
        assert option(again, label, chosen).get_attribute("aria-current") == "true"
    assert option(again, "Difference", "not shown").get_attribute("aria-current") is None


def test_a_head_sorts_and_back_undoes_it(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}trials?run=fc-1", charts=2)
    before = rows(opened)
    head = opened.page.locator("[data-block=trials] th").filter(has_text="Dropout")
    orders = []
    for state in ("ascending", "descending"):
        head.get_by_role("link").click()
        opened.wait()
        assert head.get_attribute("aria-sort") == state
        orders.append(rows(opened))
    assert sorted(orders[0]) == sorted(before)
    assert orders[0] == orders[1][::-1]
    for _ in orders:
        opened.page.go_back()
        opened.wait()
    assert rows(opened) == before


def test_ticked_trials_are_compared(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}trials?run=fc-1&run=cnn-1", charts=2)
    for name in (f"fc-1/{FINALIST}", "cnn-1/3"):
        opened.page.get_by_role("checkbox", name=name, exact=True).check()
    opened.page.get_by_role("button", name="Compare the ticked trials").click()
    opened.page.wait_for_url("**/compare?**")
    opened.wait(charts=1)
    asked = parse_qs(urlsplit(opened.page.url).query)
    assert set(asked["trial"]) == {f"fc-1/{FINALIST}", "cnn-1/3"}
    heads = opened.page.locator("[data-block=compared] th").all_inner_texts()
    assert {f"fc, trial {FINALIST} of fc-1", "cnn, trial 3 of cnn-1"} <= set(heads)


def test_runs_are_searched_for_and_their_searches_shown_together(
    server: Dashboard, visit: Visitor
) -> None:
    opened = visit(server.address)
    opened.page.get_by_role("searchbox").fill("photos")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_url("**q=photos**")
    opened.wait()
    names = opened.page.locator("[data-block=all-runs] tbody tr").all_inner_texts()
    assert len(names) == 1
    assert "fc-photos" in names[0]
    opened.page.go_back()
    opened.wait()
    for name in ("fc-1", "cnn-1"):
        opened.page.get_by_role("checkbox", name=name, exact=True).check()
    opened.page.get_by_role("button", name="Search of the ticked").click()
    opened.page.wait_for_url("**/search?**")
    opened.wait(charts=6)
    assert set(parse_qs(urlsplit(opened.page.url).query)["run"]) == {"fc-1", "cnn-1"}


def test_saved_figures_are_named_by_run_and_figure(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}trials?run=fc-1", charts=2)
    for kind, magic in MAGIC.items():
        assert saved(opened, "curves", kind, f"fc-1-curves.{kind}").startswith(magic)
    assert saved(
        visit(f"{server.address}trial/fc-1/{FINALIST}"), "trial-images", "svg",
        "fc-1-trial-images.svg",
    ).startswith(MAGIC["svg"])  # fmt: skip


def test_saved_tables_are_whole(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}trials?{ALL}&trials-by=-dropout", charts=2)
    csv, parquet = (
        io.BytesIO(saved(opened, "trials", kind, f"4-runs-trials.{kind}"))
        for kind in ("csv", "parquet")
    )
    for frame in (pd.read_csv(csv), pd.read_parquet(parquet)):
        assert len(frame) == 24 * len(RUNS)
        assert set(zip(frame.run, frame.trial, strict=True)) == {
            (run, trial) for run in RUNS for trial in range(24)
        }
        assert frame.dropout.is_monotonic_decreasing


def test_pages_are_opened_with_the_keyboard(server: Dashboard, visit: Visitor) -> None:
    opened = visit(f"{server.address}trials?run=fc-1")
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.innerText") == "To the content"
    for _ in range(20):
        opened.page.keyboard.press("Tab")
        if opened.page.evaluate("document.activeElement.innerText").strip() == "Quality":
            break
    opened.page.keyboard.press("Enter")
    opened.page.get_by_role("heading", name="Quality", exact=True).wait_for()
    assert urlsplit(opened.page.url).path == "/quality"


def rows(visit: Visit) -> list[str]:
    """The trials of the table, in its order."""
    found = visit.page.locator("[data-block=trials] tbody td:nth-child(2)")
    return found.all_inner_texts()


def field(visit: Visit, group: str, name: str) -> "Locator":
    """A box of the sidebar."""
    of = visit.page.get_by_role("group", name=group, exact=True)
    return of.get_by_role("checkbox", name=name, exact=True)


def option(visit: Visit, label: str, name: str) -> "Locator":
    """One of several ways to draw what follows."""
    return (
        visit.page.get_by_role("navigation", name=label, exact=True)
        .first.get_by_role("link", name=name, exact=True)
        .first
    )


def saved(visit: Visit, block: str, kind: str, file: str) -> bytes:
    """What the link of the menu Save gives, under this name."""
    menu = visit.page.locator(f"[data-block='{block}'] details.save")
    if menu.get_attribute("open") is None:
        menu.locator("summary").click()
    with visit.page.expect_download() as download:
        menu.locator(f"a[href*='save/{kind}/']").click()
    assert download.value.suggested_filename == file
    return Path(download.value.path()).read_bytes()


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("/run/fc-1/", "../fc-1"),
        ("/search/?run=fc-1", "../search?run=fc-1"),
        ("/search?run=", "./search?run=separable-1"),
    ],
)
def test_an_address_that_is_nearly_one_leads_to_it(
    asked: str, leads_to: str, server: Dashboard
) -> None:
    status, headers, _ = server.get(asked)
    assert status in (303, 308)
    assert headers["Location"] == leads_to


def test_a_figure_of_a_run_that_is_gone_is_not_that_of_another(server: Dashboard) -> None:
    status, _, told = server.get("/save/svg/history/search?run=gone")
    assert (status, told) == (404, "There is no run gone here any more.")
