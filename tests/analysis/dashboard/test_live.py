"""An open page changes by itself while a search writes its tables."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analysis.dashboard.conftest import ROOT, Dashboard, Visitor, dashboard

WITHIN_SEC = 15  # it is four seconds at most; this is not a test of the machine
SEARCH = """
import sys, time
from pathlib import Path
from analysis.tables.files import GrowingTable, publish
from tests.analysis.made_runs import epoch_frame, run_row, trial_frame

tables = Path(sys.argv[1]) / "tables"
run = run_row("fc-live") | {"status": "running", "ended_at": None}
found = trial_frame(run, 8, 4)
trials, epochs = GrowingTable(tables, "trials", "fc-live"), GrowingTable(tables, "epochs", "fc-live")
for line in sys.stdin:  # how many trials there are to be
    for row in found.head(int(line)).to_dict("records"):
        unknown = ("repeat_of", "error", "start_sec", "reused_process", "damaged_checkpoint",
                   "perceptual_batch")
        trials.put(row | dict.fromkeys(unknown))
        for epoch in epoch_frame(found[found.trial == row["trial"]], 4).to_dict("records"):
            epochs.put(epoch)
    publish(tables, "runs", "fc-live", [run])
    epochs.publish()
    trials.publish()
    print(time.time(), flush=True)
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def waiting(empty: Path) -> Iterator[Dashboard]:
    with dashboard(empty) as running:
        yield running


def test_new_runs_and_trials_appear_by_themselves(
    empty: Path, waiting: Dashboard, visit: Visitor
) -> None:
    opened = visit(waiting.address)
    opened.text("No runs yet")
    opened.page.evaluate("window.same = true")
    trials = opened.page.get_by_test_id("stMetric").filter(has_text=re.compile(r"^Trials"))
    command = [sys.executable, "-c", SEARCH, str(empty)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as search:
        assert search.stdin is not None
        assert search.stdout is not None
        for count in (3, 4, 8):
            print(count, file=search.stdin, flush=True)
            published = float(search.stdout.readline())
            trials.get_by_text(str(count), exact=True).wait_for()
            took = time.time() - published
            print(f"{count} trials were seen {took:.1f} s after they were published")
            assert took < WITHIN_SEC
        search.stdin.close()
    opened.wait(charts=3)
    assert opened.page.get_by_test_id("stException").count() == 0
    assert opened.page.evaluate("window.same"), "it was not loaded again"
    assert opened.errors == []
