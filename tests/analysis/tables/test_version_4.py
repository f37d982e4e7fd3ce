"""Files of release 0.1.0 are read as today's."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analysis.quality.spread import wilson
from analysis.tables import scores_at, version_4
from analysis.tables.checks import check
from analysis.tables.files import publish, read, rows_of, table_file, table_path
from analysis.tables.parameters import read_space
from analysis.tables.schema import TABLES, arrow_schema
from analysis.tables.task_columns import task_of
from analysis.timing import comparison
from analysis.timing.runs import data_of
from tests.analysis.collecting import collect, state
from tests.analysis.made_runs import make_run
from tests.analysis.version_4_runs import CONFIG, accuracy_rows, encoded, write_version_4
from trainables.data.loading import load
from trainables.hyperparameters import Parameter
from trainables.pipelines.identity import is_same
from trainables.tasks import STUDY

GONE = "of-a-source-that-is-gone"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write_version_4(tmp_path)
    return tmp_path / "tables"


def test_every_table_is_read_with_todays_columns_none_null_that_may_not_be(tables: Path) -> None:
    for table in version_4.TABLES:
        content = check(table_file(tables, table, "fc-1").read_bytes(), table, "fc-1").content
        assert content is not None
        assert content.schema.equals(arrow_schema(table), check_metadata=True)
        assert len(content)
        for column in TABLES[table]:
            assert column.nullable or not content.column(column.name).null_count, column.name


def test_a_table_that_came_later_has_no_rows(tables: Path) -> None:
    (later,) = TABLES.keys() - version_4.TABLES.keys()
    assert rows_of(tables, later, "fc-1") == []


def test_rows_are_those_of_a_run_of_today(tables: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "today")
    for table in ("trials", "epochs", "samples"):
        assert rows_of(tables, table, "fc-1") == rows_of(tmp_path / "today/tables", table, "fc-1")


def test_a_pass_is_a_turn_of_a_process_of_its_own_and_a_warning_is_rough(
    tables: Path, tmp_path: Path
) -> None:
    make_run(tmp_path / "today")
    today = rows_of(tmp_path / "today/tables", "timings", "fc-1")
    unknown = {"environment": None, "disturbed": None}
    of_turns = [row | unknown if row["turn"] else row for row in today]
    assert rows_of(tables, "timings", "fc-1") == of_turns
    assert {row["verdict"] for row in today} == {"valid", "rough", None}
    assert [row["turn"] for row in today] == [row["process"] for row in today]


def test_the_times_of_before_are_compared_as_todays_are(tables: Path) -> None:
    turns = comparison.turns(read(tables, "timings", "fc-1"))
    series = comparison.summary(turns)
    assert set(series.processes) == {10}
    assert comparison.crossover_text(turns, series, "trial 0", "cpu") == "at every batch size"


def test_its_run_is_one_of_the_study_whose_test_images_can_be_timed(tables: Path) -> None:
    here = load("photos", train_images=1)
    (run,) = pq.read_table(table_file(tables, "runs", "fc-1"), partitioning=None).to_pylist()
    run |= {"data": "photos", "test_fingerprint": here.test.fingerprint}
    table_file(tables, "runs", "fc-1").write_bytes(encoded("runs", [run]))
    (run,) = rows_of(tables, "runs", "fc-1")
    assert task_of(run) == STUDY
    assert (run["rank_by"], run["threshold"]) == ("loss", 0.95)
    assert is_same(run["probe_outputs"], here.probes, STUDY.span)
    timed = data_of(tables.parent, "fc-1", None)
    assert (timed.task, timed.test.fingerprint) == (STUDY, here.test.fingerprint)


@pytest.mark.parametrize(
    ("model", "config", "space"),
    [
        ("fc", {}, {"learning_rate": Parameter(1e-4, 1e-2, log=True)}),
        ("fc", {"dropout": [0.1, 0.2]}, {"dropout": Parameter(0.1, 0.2)}),
        ("separable", {}, {"learning_rate": Parameter(1e-3, 1e-1, log=True)}),
        ("mine:Own", {"learning_rate": [1, 2]}, {"learning_rate": Parameter(1.0, 2.0, log=True)}),
        ("mine:Own", {"patience": [3, 3]}, {"patience": Parameter(3, 3)}),
    ],
)
def test_the_space_is_what_the_settings_say_else_what_the_network_had(
    tables: Path, model: str, config: dict[str, Any], space: dict[str, Parameter]
) -> None:
    (run,) = pq.read_table(table_file(tables, "runs", "fc-1"), partitioning=None).to_pylist()
    run |= {"model": model, "config": json.dumps({**dict.fromkeys(CONFIG), **config})}
    table_file(tables, "runs", "fc-1").write_bytes(encoded("runs", [run]))
    found = read_space(rows_of(tables, "runs", "fc-1")[0]["space"])
    assert space.items() <= found.items()
    assert found["patience"] == space.get("patience", Parameter(2, 10))
    assert ("learning_rate" in found) == (model != "mine:Own" or "learning_rate" in config)
    assert ("dropout" in found) == (model == "fc")


def test_accuracies_become_scores_with_means_intervals_and_trainings(tables: Path) -> None:
    scores = read(tables, "scores")
    assert len(scores) == 6 * (9 + 4)
    head = scores_at(scores, "cosine", 0.95).set_index("subject")
    assert head.value.to_dict() == {
        "trial 0": 0.99,
        "trial 24": 0.97,
        "flat image": 0.33,
        "mean image": 0.35,
        "pipeline without flips": 0.13,
        "pipeline's own matrix": 1.0,
    }
    finalist = head.loc["trial 0"]
    assert (finalist.low, finalist.high) == wilson(0.99, 10_000)
    assert (finalist.trainings, finalist["mean"]) == (2, pytest.approx(0.98))
    assert finalist.sd == pytest.approx(0.02 / 2**0.5)
    assert head.loc["trial 24"].repeat_of == 0
    for metric, value in (("cosine", 0.99), ("mse", 0.004), ("psnr", 24.0), ("ssim", 0.8)):
        mean = scores_at(scores, metric).set_index("subject").loc["trial 0"]
        assert (mean.value, mean.low != mean.low) == (value, True)


def test_scores_of_today_stand_before_accuracies_of_before(tables: Path) -> None:
    rows = rows_of(tables, "scores", "fc-1")[:3]
    publish(tables, "scores", "fc-1", rows)
    assert rows_of(tables, "scores", "fc-1") == rows
    assert len(read(tables, "scores")) == 3


def test_collecting_writes_todays_version_once_and_reads_both_together(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    make_run(tmp_path / "today", "fc-2")
    assert collect(tmp_path, tmp_path / "today", out) == 0
    for table in version_4.TABLES:
        schema = pq.read_schema(out / f"tables/{table}/run=fc-1/{table}.parquet")
        assert schema.equals(arrow_schema(table), check_metadata=True)
        assert rows_of(out / "tables", table, "fc-1") == rows_of(tables, table, "fc-1")
    assert set(read(out / "tables", "scores").run) == {"fc-1", "fc-2"}
    before = state(out)
    assert collect(tmp_path, tmp_path / "today", out, more=("--csv",)) == 0
    assert "Files collected: 0, unchanged: 14. Problems: 0." in capsys.readouterr().out
    assert {name: there for name, there in state(out).items() if name in before} == before
    assert "fc-1" in (out / "csv" / "scores.csv").read_text()


def test_a_collection_of_before_is_brought_to_today_by_collecting_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_version_4(tmp_path / "from")
    write_version_4(out)
    write_version_4(out, GONE)
    before = {run: rows_of(out / "tables", "scores", run) for run in ("fc-1", GONE)}
    assert collect(tmp_path / "from", out) == 0
    for run, scores in before.items():
        for table in version_4.TABLES:
            schema = pq.read_schema(table_path(out / "tables", table, run))
            assert schema.equals(arrow_schema(table), check_metadata=True)
        assert rows_of(out / "tables", "scores", run) == scores
    assert not (out / "tables" / "accuracy").exists()


def test_what_a_collection_has_more_than_the_source_is_brought_to_today_too(tmp_path: Path) -> None:
    write_version_4(tmp_path / "from")
    write_version_4(tmp_path / "out")
    table_file(tmp_path / "from/tables", "scores", "fc-1").unlink()
    assert collect(tmp_path / "from", tmp_path / "out") == 0
    schema = pq.read_schema(table_path(tmp_path / "out/tables", "scores", "fc-1"))
    assert schema.equals(arrow_schema("scores"), check_metadata=True)


def problem(table: str, rows: list[dict[str, Any]], today: str) -> str:
    (found,) = check(encoded(table, rows), today, "fc-1").problems
    return found


def test_what_is_wrong_in_a_file_is_told_by_its_own_columns_and_rows(tables: Path) -> None:
    rows = accuracy_rows("fc-1")
    rows[4]["share"] = 1.3
    assert problem("accuracy", rows, "scores") == (
        "column share, row 5: is 1.3, should lie between 0 and 1"
    )
    twice = accuracy_rows("fc-1")
    assert problem("accuracy", [*twice, twice[0]], "scores") == (
        "row 55: has the key of an earlier row (subject trial 0, split test, threshold 0.8)"
    )
    assert problem("accuracy", rows, "trials") == (
        "its metadata says that it is the table accuracy, should be trials"
    )
    (run,) = pq.read_table(table_file(tables, "runs", "fc-1"), partitioning=None).to_pylist()
    run["config"] = json.dumps({"learning_rate": ["low", "high"]})
    assert problem("runs", [run], "runs") == (
        "can't be read as version 5: could not convert string to float: 'low'"
    )


def test_columns_that_are_not_those_of_that_version_are_told(tables: Path) -> None:
    path = table_file(tables, "epochs", "fc-1")
    content = pq.read_table(path, partitioning=None)
    file = io.BytesIO()
    pq.write_table(content.drop_columns(["epoch"]), file)
    assert check(file.getvalue(), "epochs", "fc-1").problems == ("column epoch is missing",)
