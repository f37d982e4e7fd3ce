"""The searches of an atlas, with a made-up runner in place of the commands: no Ray."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analysis.atlas.cells import best_of
from analysis.console import Console
from analysis.tables.files import publish, rows_of, table_path
from analysis.timing.__main__ import parser as timing_parser
from tests.analysis.made_runs import change, make_auto_run, make_run
from tuner import command_line
from tuner.atlas import __main__ as command
from tuner.atlas import searches
from tuner.atlas.searches import BUDGETS, Search

LEAVES = ("blur", "median", "dither")


@dataclass
class Runner:
    """Makes up what commands leave, in milliseconds.

    Attributes:
        storage: Where it leaves it.
        statuses: What commands end with, by the name of the run; 0 without.
        called: Module and run of each command, and whether it was resumed.
    """

    storage: Path
    statuses: dict[str, int] = field(default_factory=dict)
    called: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, arguments: Sequence[str], log: Path) -> int:
        module, *flags = arguments
        if module == "analysis.timing":
            name = timing_parser().parse_args(flags).run
            self.called.append(("time", name))
            make_run(self.storage, name, trials=3, epochs=2, **self._facts[name])
            return 0
        resumed = "--resume" in flags
        if resumed:
            name = command_line.parser().parse_args(flags).resume
        else:
            config = command_line.from_command_line(flags)
            name = config.name
            kept = {"pipeline": config.pipeline, "config": json.dumps(config.flat())}
            self._facts[name] = {**kept, "model": "fc", "data": "photos"}
        self.called.append(("resume" if resumed else "search", name))
        status = self.statuses.pop(name, 0)
        over = "finished" if status == 0 else "interrupted"
        make_run(self.storage, name, trials=3, epochs=2, **self._facts[name] | {"status": over})
        table_path(self.storage / "tables", "timings", name).unlink()
        log.parent.mkdir(exist_ok=True)
        log.write_text("starting Ray\nerror: the disk is full\n" if status else "")
        return status

    def __post_init__(self) -> None:
        self._facts: dict[str, dict[str, str]] = {}


def of(storage: Path, *pipelines: str) -> list[Search]:
    return [Search.of("small", name, "auto", "atlas", storage=str(storage)) for name in pipelines]


def names(searches: Sequence[Search]) -> list[str]:
    return [search.config.name for search in searches]


def test_each_pipeline_is_searched_and_timed_and_a_line_a_cell_says_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner, wanted = Runner(tmp_path), of(tmp_path, *LEAVES)
    assert command.do_all(wanted, runner, Console())
    assert runner.called == [(what, name) for name in names(wanted) for what in ("search", "time")]
    printed = capsys.readouterr().out
    for name in LEAVES:
        assert f"  {name} × fc: rough, 87.0 % [86.3, 87.7] at cosine ≥ 0.99, 24.0 dB" in printed
    assert "2 of 3 left, about " in printed
    assert "1 of 3 left, about " in printed


def test_what_is_done_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.do_all(of(tmp_path, "blur"), Runner(tmp_path), Console())
    again = Runner(tmp_path)
    assert command.do_all(of(tmp_path, "blur", "dither"), again, Console())
    assert [name for _, name in again.called] == ["atlas-small-dither"] * 2
    assert "1 of 2 searches are done already." in capsys.readouterr().out


def test_one_that_fails_is_told_and_the_next_begins_and_later_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner, wanted = Runner(tmp_path, {"atlas-small-blur": 1}), of(tmp_path, "blur", "median")
    assert not command.do_all(wanted, runner, Console())
    assert [what for what, _ in runner.called] == ["search", "search", "time"]
    printed = capsys.readouterr().out
    assert "blur failed: error: the disk is full (" in printed
    assert "1 failed; the same command tries them again." in printed
    runner.called.clear()
    assert command.do_all(wanted, runner, Console())
    assert runner.called == [("resume", "atlas-small-blur"), ("time", "atlas-small-blur")]


def test_a_search_that_was_only_not_timed_is_only_timed(tmp_path: Path) -> None:
    runner, wanted = Runner(tmp_path), of(tmp_path, "blur")
    command.do_all(wanted, runner, Console())
    table_path(tmp_path / "tables", "timings", "atlas-small-blur").unlink()
    runner.called.clear()
    assert command.do_all(wanted, runner, Console())
    assert runner.called == [("time", "atlas-small-blur")]


def test_ctrl_c_ends_all_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner(tmp_path, {"atlas-small-median": 130})
    monkeypatch.setattr(command, "call", runner)
    arguments = ["--pipelines", *LEAVES, "--data", "photos", "--storage", str(tmp_path)]
    assert command.main(arguments) == 130
    assert "The same command goes on from here." in capsys.readouterr().out
    runner.called.clear()
    assert command.main(arguments) == 0
    assert runner.called[0] == ("resume", "atlas-small-median")
    assert {name for _, name in runner.called} == {"atlas-small-median", "atlas-small-dither"}
    assert (tmp_path / "atlas" / "atlas.md").exists()


@pytest.mark.parametrize("replacing", [{0}, {0, 1}, set()])
def test_networks_that_replace_the_pipeline_are_timed_beside_it_and_all_where_none_does(
    replacing: set[int], tmp_path: Path
) -> None:
    name = "atlas-small-study"
    make_auto_run(tmp_path, name)
    change(tmp_path, "runs", name, pipeline="study")
    best = best_of(tmp_path, [name]).trial.tolist()
    of_them = {best[place] for place in replacing}
    rows = rows_of(tmp_path / "tables", "scores", name)
    for row in rows:
        if row["metric"] == "cosine":
            share = 1.0 if row["trial"] in of_them else 0.1
            row |= dict.fromkeys(("value", "low", "high"), share)
    publish(tmp_path / "tables", "scores", name, rows)
    (search,) = of(tmp_path, "study")
    asked = timing_parser().parse_args(search.timing_command()[1:])
    timed = sorted(of_them or best)
    assert asked.only == ["torchvision uint8", *(f"trial {trial}" for trial in timed)]
    assert (asked.images, asked.batch_sizes) == (1024, [1, 64])


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("model", ["auto", "kron"])
def test_a_search_asks_for_what_its_budget_says(budget: str, model: str, tmp_path: Path) -> None:
    more = {"storage": str(tmp_path), "data": "photos", "image_size": (64,), "address": "h:1"}
    search = Search.of(budget, "blur", model, "mine", **more)
    module, *flags = search.search_command()
    assert (module, command_line.from_command_line(flags)) == ("tuner.run", search.config)
    trials = {"auto": 5, "kron": 1}[model] * BUDGETS[budget].samples
    assert search.config.samples == trials
    points = {"auto": 3, "kron": 2}[model]
    assert len(search.config.start or ()) == points
    assert search.config.name == f"mine-{budget}-blur" + ("-kron" if model == "kron" else "")


def typed(storage: Path, *arguments: str) -> list[str]:
    return ["--data", "photos", "--storage", str(storage), *arguments]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--pipelines", "blurr", "--models", "cmm"], "did you mean blur?"),
        (["--pipelines", "blurr", "--models", "cmm"], "there is no network 'cmm'"),
        (["--name", "my atlas"], "but got 'my atlas-small-study'"),
        (["--pipelines", "a.py:f"], "a.py"),
        (["--image-size", "0"], "--image-size"),
        (["--pipelines", "study", "--data", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_told_before_the_first_search(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runner = Runner(tmp_path)
    monkeypatch.setattr(command, "call", runner)
    assert command.main(typed(tmp_path, *arguments)) == 2
    assert complaint in capsys.readouterr().err
    assert runner.called == []


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (
            {"config": json.dumps({"images": BUDGETS["small"].images, "samples": 4})},
            "whose samples is 4, not 10",
        ),
        ({"data": "cifar10"}, "on cifar10, not photos"),
    ],
)
def test_a_run_of_that_name_which_was_asked_for_something_else_is_told(
    changed: dict[str, str],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command.do_all(of(tmp_path, "blur"), Runner(tmp_path), Console())
    change(tmp_path, "runs", "atlas-small-blur", **changed)
    assert command.main(typed(tmp_path, "--pipelines", "blur")) == 2
    assert f"{complaint}: give another --name" in capsys.readouterr().err


def test_pipelines_whose_runs_would_share_a_name_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("def f(image):\n    return image\n")
    own = [f"{tmp_path}/{name}.py:f" for name in ("a", "b")]
    assert command.main(typed(tmp_path, "--pipelines", *own)) == 2
    assert "several for the run atlas-small-f" in capsys.readouterr().err


def test_the_default_is_the_gallery_as_far_as_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainables.pipelines import catalogue

    assert set(command.installed()) <= set(catalogue.PIPELINES)
    monkeypatch.setattr(catalogue, "find_spec", lambda _: None)
    without = {name for name, one in catalogue.PIPELINES.items() if one.needs_opencv}
    assert set(command.installed()) == set(catalogue.PIPELINES) - without


def test_the_output_of_a_command_goes_to_its_log_and_its_status_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "logs" / "it.txt"
    for _ in range(2):
        assert searches.call(["trainables.task", "--modle"], log) == 2
    assert log.read_text().count("error: ") == 2
