"""An open page changes by itself while a search writes its tables."""

import re
from pathlib import Path

from analysis.tables.files import GrowingTable, publish
from tests.analysis.dashboard.conftest import Visitor, dashboard
from tests.analysis.made_runs import epoch_frame, run_row, trial_frame


class Search:
    """Writes the tables of a run as a search does while it goes on."""

    def __init__(self, storage: Path) -> None:
        self.tables = storage / "tables"
        self.run = run_row("fc-live") | {"status": "running", "ended_at": None}
        self.found = trial_frame(self.run, 8, 4)
        self.trials = GrowingTable(self.tables, "trials", "fc-live")
        self.epochs = GrowingTable(self.tables, "epochs", "fc-live")

    def publish(self, count: int) -> None:
        """The first `count` trials, with their epochs."""
        for row in self.found.head(count).astype(object).to_dict("records"):
            self.trials.put(
                {name: None if value != value else value for name, value in row.items()}
            )
            for epoch in epoch_frame(self.found[self.found.trial == row["trial"]], 4).to_dict(
                "records"
            ):
                self.epochs.put(epoch)
        publish(self.tables, "runs", "fc-live", [self.run])
        self.epochs.publish()
        self.trials.publish()


def test_new_runs_and_trials_appear_by_themselves(tmp_path: Path, visit: Visitor) -> None:
    with dashboard(tmp_path) as running:
        opened = visit(running.address)
        opened.text("No runs yet")
        opened.page.evaluate("window.same = true")
        trials = opened.page.get_by_test_id("stMetric").filter(has_text=re.compile(r"^Trials"))
        search = Search(tmp_path)
        for count in (3, 8):
            search.publish(count)
            trials.get_by_text(str(count), exact=True).wait_for()
        opened.wait(charts=3)
        assert opened.page.get_by_test_id("stException").count() == 0
        assert opened.page.evaluate("window.same"), "it was not loaded again"
        assert opened.errors == []
