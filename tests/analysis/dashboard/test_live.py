"""An open page changes by itself while a search writes its tables."""

import re
from pathlib import Path

from analysis.tables.files import GrowingTable, publish
from tests.analysis.dashboard.conftest import Visit, Visitor, dashboard
from tests.analysis.made_runs import epoch_frame, make_run, run_row, trial_frame


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


WATCH = """() => {
  window.same = true;
  window.blanks = 0;
  window.swaps = 0;
  const look = () => {
    window.swaps += 1;
    const charts = [...document.querySelectorAll("main .chart")];
    if (charts.length < 2 || charts.some((one) => !one.querySelector("svg.marks")))
      window.blanks += 1;
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""  # a browser paints nothing before observers were called
MARK = "(block) => document.querySelector(`[data-block=${block}] svg.marks`).id = 'kept'"
KEPT = "(block) => document.querySelector(`[data-block=${block}] svg.marks`).id === 'kept'"


def counted(opened: Visit, trials: int) -> None:
    """Wait until the page counts so many trials."""
    figure = opened.page.locator(".key-figures div").filter(has_text=re.compile(r"^\s*Trials"))
    figure.get_by_text(str(trials), exact=True).wait_for()
    opened.wait()


def test_new_runs_and_trials_appear_by_themselves(tmp_path: Path, visit: Visitor) -> None:
    with dashboard(tmp_path) as running:
        opened = visit(running.address)
        opened.text("No runs yet")
        opened.page.evaluate("window.same = true")
        search = Search(tmp_path)
        search.publish(3)
        opened.page.locator("[data-block=all-runs]").get_by_text("fc-live").first.wait_for()
        opened.page.get_by_role("link", name="Search", exact=True).click()
        counted(opened, 3)
        search.publish(8)
        counted(opened, 8)
        opened.wait(charts=5)
        assert opened.page.evaluate("window.same"), "it was not loaded again"
        assert opened.errors == []


def test_while_tables_change_no_chart_is_ever_missing(tmp_path: Path, visit: Visitor) -> None:
    search = Search(tmp_path)
    search.publish(3)
    with dashboard(tmp_path) as running:
        opened = visit(f"{running.address}search?run=fc-live", charts=5)
        opened.page.evaluate(WATCH)
        for count in (4, 5, 8):
            search.publish(count)
            counted(opened, count)
        assert opened.page.evaluate("[window.same, window.blanks]") == [True, 0]
        assert opened.page.evaluate("window.swaps") >= 3
        assert opened.errors == []


def test_what_did_not_change_stays_as_it_is(tmp_path: Path, visit: Visitor) -> None:
    make_run(tmp_path, "fc-1", trials=60)
    with dashboard(tmp_path) as running:
        opened = visit(f"{running.address}trials?run=fc-1", charts=2)
        opened.page.evaluate(MARK, "curves")
        opened.page.get_by_role("checkbox", name="fc-1/3", exact=True).check()
        table = opened.page.locator("[data-block=trials] .wide")
        table.evaluate("(table) => table.scrollTop = 300")
        version = opened.page.locator("html").get_attribute("data-version")
        Search(tmp_path).publish(2)  # of another run: the filter of runs changes, nothing else
        opened.page.locator(f"html:not([data-version='{version}'])").wait_for()
        opened.page.get_by_role("checkbox", name="fc-live", exact=True).wait_for()
        assert opened.page.evaluate(KEPT, "curves")
        assert opened.page.get_by_role("checkbox", name="fc-1/3", exact=True).is_checked()
        assert table.evaluate("(table) => table.scrollTop") == 300
        opened.page.get_by_role("checkbox", name="fc-live", exact=True).check()
        opened.page.wait_for_url("**run=fc-live**")
        opened.wait(charts=2)
        assert not opened.page.evaluate(KEPT, "curves"), "its data changed"
        assert opened.page.get_by_role("checkbox", name="fc-1/3", exact=True).is_checked()
        assert opened.errors == []
