"""What `Result` says of a run: its tables, its best trial, its answer."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.tables.files import publish, rows_of
from tests.analysis.made_runs import make_auto_run, make_run
from tuner import Result, UsageError
from tuner.api import run_result


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("results")
    make_run(storage, "fc-1")
    make_run(storage, "none", trials=0, epochs=1, tested=False)
    make_run(storage, "young", tested=False)
    make_run(storage, "odd", model="mine.py:A<b>", pipeline="a.py:<i>")
    make_auto_run(storage, "auto-1")
    return storage


def test_tables_are_those_of_the_run_alone(storage: Path) -> None:
    result = Result("fc-1", storage)
    for table in (result.trials(), result.epochs(), result.scores(), result.timings()):
        assert set(table.run) == {"fc-1"}
    assert result.trials().trial.tolist() == list(range(24))
    assert result.run["model"] == "fc"


def test_hyperparameters_are_columns_and_are_those_of_the_best_trial(storage: Path) -> None:
    result = Result("auto-1", storage)
    assert (result.best["trial"], result.best["model"]) == (2, "kron")
    assert result.best["terms"] == result.hyperparameters["terms"]
    assert pd.notna(result.trials().terms[2])


def test_the_answer_is_text_and_a_card_in_which_names_are_no_markup(storage: Path) -> None:
    result = Result("fc-1", storage)
    assert repr(result) == f"<Result fc-1: {result.answer.sentence}>"
    assert result.answer.reply in result._repr_html_()
    assert f"Best: trial {result.best['trial']} (lr " in result._repr_html_()
    card = Result("odd", storage)._repr_html_()
    assert "A&lt;b&gt;" in card
    assert card.count("<b>") == 1


def test_a_card_fetches_a_bucket_s_tables_once(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Result("fc-1", storage)
    fetched: list[str] = []

    def local_directory(storage: str, name: str) -> Path:
        fetched.append(name)
        return Path(storage)

    monkeypatch.setattr(run_result, "local_directory", local_directory)
    assert "Best: trial" in result._repr_html_()
    assert fetched == ["fc-1"]


def test_a_run_without_a_best_trial_says_so(storage: Path) -> None:
    result = Result("none", storage)
    with pytest.raises(UsageError, match="none has no best trial: none has finished an epoch"):
        _ = result.best
    assert "Not yet" in result._repr_html_()


def test_weights_that_are_not_there_yet_are_told_with_what_to_type(storage: Path) -> None:
    told = r"young has no weights of its best trial yet: .* go on with search\(resume='young'"
    with pytest.raises(UsageError, match=f"{told}, storage='{storage}'\\)"):
        Result("young", storage).network()


def test_a_run_that_there_is_not_is_told_with_those_there_are(storage: Path) -> None:
    with pytest.raises(UsageError, match=r"has no run 'nope': give one of .*fc-1"):
        Result("nope", storage)
    with pytest.raises(UsageError, match=r"has no run '3'"):
        Result(3, storage)  # type: ignore[arg-type]


def test_a_report_that_can_not_be_made_is_the_command_s_sentence(
    storage: Path,
) -> None:
    (row,) = rows_of(storage / "tables", "runs", "fc-1")
    publish(storage / "tables", "runs", "gone", [row | {"run": "gone"}])
    gone = Result("gone", storage)
    (storage / "tables" / "runs" / "run=gone" / "runs.parquet").unlink()
    with pytest.raises(UsageError, match="has no run 'gone'"):
        gone.report()
