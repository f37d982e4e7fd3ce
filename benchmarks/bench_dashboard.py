"""How soon the dashboard shows its pages, and a change: 10, 20 and 1,000 runs.

Every run has 100 trials of 50 epochs.

    python -m benchmarks.bench_dashboard [RUNS …]

Measured in headless Chromium, from the navigation or the click until every figure of the page is
drawn. *Cold*: the first visitor of a server that has just been started and has read nothing, in a
browser that has fetched nothing. *Warm*: later visits with the same browser, which keeps scripts as
anybody's does. *Changed*: as warm, after a table has changed, so that the server draws anew what it
would otherwise remember. *Switch*: a click on the name of another page, the first since a table has
changed. *Change*: from the publication of a trial until the page counts it. Needs chromium.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlencode, urlsplit

import pandas as pd
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from analysis.tables.files import read
from benchmarks.common import report
from tests.analysis.made_runs import make_run, put

ROOT = Path(__file__).parents[1]
TRIALS, EPOCHS = 100, 50
WARM, CHANGES, SWITCHES = 5, 5, 3
MANY = 20  # runs that are all chosen
WINDOW = {"width": 1360, "height": 900}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
DRAWN = """() => new Promise((drawn) => {
  const look = () => {
    const address = document.documentElement.dataset.drawn;
    if (address === location.pathname + location.search) drawn();
    else requestAnimationFrame(look);
  };
  look();
})"""
LAST = {"": "[data-block=all-runs]", "search": "[data-block^=slice-] svg.marks"}  # of a page
GOALS = {
    "overview, cold": "at most 3.0",
    "overview, warm": "at most 1.0",
    "search, cold": "at most 3.0",
    "search, warm": "at most 1.0",
    f"search, {MANY} runs chosen, warm": "at most 3",
    "change": "at most 2, each time",
    "switch": "at most 0.6",
}


@contextmanager
def served(storage: Path) -> Iterator[str]:
    """The address of a dashboard over `storage`, and the server's end afterwards."""
    command = [sys.executable, "-m", "analysis.dashboard", str(storage), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = next(line for line in process.stdout if line.startswith("Address"))
        try:
            yield line.split()[1]
        finally:
            process.terminate()


def visit(browser: BrowserContext, address: str) -> tuple[float, Page]:
    """Seconds until all figures of a page are drawn, and the page."""
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(LAST[urlsplit(address).path.strip("/")])  # a cold one reads tables first
    page.evaluate(DRAWN)
    return time.perf_counter() - start, page


def visited(browser: BrowserContext, address: str) -> float:
    """Seconds of a `visit` that ends there: an open page goes on asking for changes."""
    seconds, page = visit(browser, address)
    page.close()
    return seconds


def cold(chromium: Browser, storage: Path, path: str) -> float:
    """Seconds of the first visit to a new server, with a new browser."""
    browser = chromium.new_context(viewport=WINDOW)
    with served(storage) as address:
        seconds = visited(browser, address + path)
    browser.close()
    return seconds


def add_trial(storage: Path, run: str) -> int:
    """Publish one more trial of a run; how many it has now."""
    trials = read(storage / "tables", "trials", run)
    last = trials.iloc[[-1]].assign(trial=len(trials))
    more = pd.concat([trials.astype({"run": str}), last.astype({"run": str})])
    put(storage / "tables", "trials", run, more)
    return len(more)


def seen_change(page: Page, storage: Path, run: str, before: int) -> float:
    """Seconds from the publication of one more trial until the page counts it."""
    add_trial(storage, run)
    start = time.perf_counter()
    counted = page.locator(".key-figures strong").first
    while counted.inner_text() != f"{before + 1:,}":
        page.wait_for_timeout(20)
    return time.perf_counter() - start


def switched(page: Page, name: str) -> float:
    """Seconds from a click on a page's name until it is drawn."""
    link = page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True)
    start = time.perf_counter()
    link.click()
    page.evaluate(DRAWN)
    return time.perf_counter() - start


def measured(chromium: Browser, storage: Path, count: int) -> dict[str, list[float]]:
    """Seconds of everything, over a storage of so many runs."""
    names = [f"run-{number:04}" for number in range(count)]
    for number, name in enumerate(names):
        make_run(storage, name, trials=TRIALS, epochs=EPOCHS, seed=number, day=number)
    newest, paths = names[-1], {"overview": "", "search": f"search?run={names[-1]}"}
    if count == MANY:
        paths = {f"search, {MANY} runs chosen": "search?" + urlencode([("run", n) for n in names])}
    seconds = {f"{name}, cold": [cold(chromium, storage, path)] for name, path in paths.items()}
    browser = chromium.new_context(viewport=WINDOW)
    with served(storage) as address:
        for name, path in paths.items():
            visited(browser, address + path)
            time.sleep(5)  # the forests of importances
            seconds[f"{name}, warm"] = [visited(browser, address + path) for _ in range(WARM)]
            changed = seconds.setdefault(f"{name}, changed", [])
            for _ in range(WARM):
                add_trial(storage, newest)
                time.sleep(1)  # until the server looks at its files again
                changed.append(visited(browser, address + path))
        if count != MANY:
            _, page = visit(browser, address + paths["search"])
            before = len(read(storage / "tables", "trials", newest))
            seconds["change"] = [
                seen_change(page, storage, newest, before + n) for n in range(CHANGES)
            ]
            for _ in range(SWITCHES):
                add_trial(storage, newest)
                page.wait_for_timeout(5000)
                for name in ("Trials", "Quality", "Speed", "Search"):
                    seconds.setdefault(f"switch to {name}", []).append(switched(page, name))
    browser.close()
    return seconds


def main(*counts: str) -> None:
    seconds: dict[str, list[float]] = {}
    ratios: dict[str, tuple[float, str]] = {}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for count in map(int, counts or ("10", str(MANY), "1000")):
            with tempfile.TemporaryDirectory() as directory:
                found = measured(chromium, Path(directory), count)
            for name, values in found.items():
                seconds[f"{count:,} runs: {name}"] = values
                goal = GOALS.get(name.partition(" to ")[0], "")
                if count == 1000 and name == "overview, warm":
                    goal = "at most 1.5"
                of = max(values) if name == "change" else median(values)
                ratios[f"{count:,} runs: {name}, s"] = (of, goal)
    report("Dashboard", seconds, ratios)


if __name__ == "__main__":
    main(*sys.argv[1:])
