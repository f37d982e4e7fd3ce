"""How soon the dashboard shows its first page, and a change: 10 and 1,000 runs.

Every run has 100 trials of 50 epochs.

    python -m benchmarks.bench_dashboard [RUNS …]

Measured in headless Chromium, from the navigation until every chart of the page is drawn and the
page rests. *Cold*: the first visitor of a server that has just been started and has read nothing,
in a browser that has fetched nothing. *Warm*: later visits with the same browser, which keeps
Streamlit's scripts as anybody's does. *Change*: from the publication of a trial until the page
shows the new number of trials. Needs chromium.
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

import pandas as pd
from playwright.sync_api import BrowserContext, Page, sync_playwright

from analysis.tables.files import read
from benchmarks.common import report
from tests.analysis.made_runs import make_run, put

ROOT = Path(__file__).parents[1]
TRIALS, EPOCHS = 100, 50
WARM, CHANGES = 5, 5
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
RESTS = (
    "[data-testid='stApp'][data-test-connection-state='CONNECTED']"
    "[data-test-script-state='notRunning']"
)
DRAWN = "[data-testid='stVegaLiteChart'] canvas, [data-testid='stVegaLiteChart'] svg"
CHARTS = 6  # history, parallel coordinates, importance, three slices


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
    """Seconds until all charts of the first page are drawn, and the page."""
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(address)
    page.locator(DRAWN).nth(CHARTS - 1).wait_for(timeout=120_000)
    page.wait_for_selector(RESTS, timeout=120_000)
    return time.perf_counter() - start, page


def visited(browser: BrowserContext, address: str) -> float:
    """Seconds of a `visit` that ends there: an open page goes on asking for changes."""
    seconds, page = visit(browser, address)
    page.close()
    return seconds


def seen_change(page: Page, storage: Path, run: str) -> float:
    """Seconds from the publication of one more trial until the page counts it."""
    trials = read(storage / "tables", "trials", run)
    last = trials.iloc[[-1]].assign(trial=len(trials))
    more = pd.concat([trials.astype({"run": str}), last.astype({"run": str})])
    put(storage / "tables", "trials", run, more)
    start = time.perf_counter()
    metric = page.locator("[data-testid='stMetricValue']").first
    while metric.inner_text() != str(len(more)):
        page.wait_for_timeout(20)
    return time.perf_counter() - start


def main(*counts: str) -> None:
    seconds: dict[str, list[float]] = {}
    ratios: dict[str, tuple[float, str]] = {}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for count in map(int, counts or ("10", "1000")):
            browser = chromium.new_context(viewport={"width": 1360, "height": 900})
            with tempfile.TemporaryDirectory() as directory:
                storage = Path(directory)
                for number in range(count):
                    make_run(
                        storage,
                        f"run-{number:04}",
                        trials=TRIALS,
                        epochs=EPOCHS,
                        seed=number,
                        day=number,
                    )
                with served(storage) as address:
                    cold, page = visit(browser, address)
                    warm = [visited(browser, address) for _ in range(WARM)]
                    changes = [
                        seen_change(page, storage, f"run-{count - 1:04}") for _ in range(CHANGES)
                    ]
            seconds |= {
                f"{count:,} runs, cold": [cold],
                f"{count:,} runs, warm": warm,
                f"{count:,} runs, change": changes,
            }
            goal = "2.5" if count <= 10 else "4 (warm: 2)"
            ratios[f"first page of {count:,} runs, cold, s"] = (cold, f"below {goal}")
            ratios[f"first page of {count:,} runs, warm, s"] = (median(warm), f"below {goal}")
            ratios[f"change in {count:,} runs is seen, s"] = (max(changes), "below 4, each time")
    report("Dashboard", seconds, ratios)


if __name__ == "__main__":
    main(*sys.argv[1:])
