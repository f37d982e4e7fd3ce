"""The atlas of made-up runs: one cell a pipeline and network, by the one rule."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.answer import IN_A_WORD
from analysis.atlas import __main__ as command
from analysis.atlas.cells import best_of, in_a_line, markdown, said
from analysis.charts import atlas as charts
from analysis.charts.drawing import drawn
from analysis.charts.style import specification
from analysis.report import __main__ as report
from analysis.tables.files import publish, read, rows_of
from tests.analysis.made_runs import change, make_auto_run, make_run, timing_rows

SCORES = {  # share at any threshold, PSNR in dB, and the answer
    "exact": (1.0, 61.0),
    "good": (1.0, 45.0),
    "rough": (0.97, 45.0),
    "no": (0.9, 61.0),
}


def scored(storage: Path, run: str, share: float, psnr_db: float) -> None:
    """Give all networks of a run these scores; floors are far below."""
    rows = rows_of(storage / "tables", "scores", run)
    for row in rows:
        is_network = row["kind"] == "trial"
        if row["metric"] == "cosine":
            row |= dict.fromkeys(("value", "low", "high"), share if is_network else 0.1)
        elif row["metric"] == "psnr":
            row["value"] = psnr_db if is_network else 10.0
    publish(storage / "tables", "scores", run, rows)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run for each answer, each of another pipeline, and one of three networks."""
    storage = tmp_path_factory.mktemp("storage")
    for (word, found), pipeline in zip(
        SCORES.items(), ("blur", "median", "jpeg", "made.up:own"), strict=True
    ):
        make_run(storage, word, trials=4, epochs=2, pipeline=pipeline)
        scored(storage, word, *found)
    make_auto_run(storage)
    return storage


def test_every_answer_is_a_word_of_the_rule(storage: Path) -> None:
    cells = best_of(storage, SCORES).set_index("run")
    assert {name: cells.answer[name] for name in SCORES} == {name: name for name in SCORES}


def test_a_run_of_several_networks_has_a_cell_for_each_in_the_order_of_the_gallery(
    storage: Path,
) -> None:
    cells = best_of(storage, [*SCORES, "auto-1"])
    assert list(zip(cells.pipeline, cells.network, strict=True)) == [
        ("study", "cnn"),
        ("study", "fc"),
        ("study", "kron"),
        ("blur", "fc"),
        ("median", "fc"),
        ("jpeg", "fc"),
        ("own", "fc"),
    ]
    assert list(cells.kind[-3:]) == ["nonlinear filter", "compression", "of your own"]
    assert list(cells.trials) == [2, 2, 2, 4, 4, 4, 4]


def test_of_two_runs_the_validation_images_choose(tmp_path: Path) -> None:
    for name, cosine in (("worse", 0.9), ("better", 0.95)):
        make_run(tmp_path, name, trials=3, epochs=2)
        change(tmp_path, "trials", name, best_validation_cosine=cosine)
    scored(tmp_path, "worse", *SCORES["exact"])
    scored(tmp_path, "better", *SCORES["rough"])
    (cell,) = best_of(tmp_path, ["better", "worse"]).to_dict("records")
    assert (cell["run"], cell["answer"]) == ("better", "rough")
    change(tmp_path, "runs", "worse", data="photos")
    assert set(best_of(tmp_path, ["better", "worse"]).data) == {"cifar10", "photos"}


def test_floors_and_ceiling_stand_beside_and_a_run_without_scores_has_no_cell(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "fc-1", trials=3, epochs=2)
    make_run(tmp_path, "cnn-1", trials=3, epochs=2, model="cnn", tested=False)
    (cell,) = best_of(tmp_path, ["fc-1", "cnn-1"]).to_dict("records")
    assert (cell["floor_share_95"], cell["ceiling_share_95"]) == (0.35, 1.0)
    assert (cell["trainings"], cell["share_95_sd"], cell["test_images"]) == (3, 0.01, 10_000)


def timed(storage: Path, **facts: Any) -> dict[Any, Any]:
    """The cell of a run whose best trial was timed so."""
    make_run(storage, "fc-1", trials=3, epochs=2)
    best = int(read(storage / "tables", "trials").sort_values("best_validation_loss").trial.iloc[0])
    rows = timing_rows("fc-1")
    for row in rows:
        if row["subject"] == "trial 0":
            row |= {"subject": f"trial {best}", "trial": best, **facts}
    publish(storage / "tables", "timings", "fc-1", rows)
    (cell,) = best_of(storage, ["fc-1"]).to_dict("records")
    return dict(cell)


def test_a_valid_timing_has_a_ratio_with_its_interval(tmp_path: Path) -> None:
    cell = timed(tmp_path)
    assert cell["cpu_batched_verdict"] == "valid"
    assert 1 < cell["cpu_batched_low"] <= cell["cpu_batched"] <= cell["cpu_batched_high"]
    assert f"{said(cell, 'cpu_batched')} × as fast in batches" in in_a_line(cell)
    assert pd.isna(cell["cuda_batched"])


def test_a_timing_that_is_no_result_has_a_verdict_and_no_number(tmp_path: Path) -> None:
    cell = timed(tmp_path, verdict="invalid", reason="other work took 40 % of the cores")
    assert cell["cpu_batched_verdict"] == "invalid"
    assert pd.isna(cell["cpu_batched"])
    assert said(cell, "cpu_batched") == "invalid"
    assert "as fast" not in in_a_line(cell)


def test_the_table_in_markdown_has_a_line_for_each_cell(storage: Path) -> None:
    lines = markdown(best_of(storage, SCORES)).splitlines()
    assert len(lines) == 2 + len(SCORES)
    assert len({line.count(" | ") for line in lines}) == 1
    assert lines[2].startswith("| blur | linear filter | cifar10 | fc | exact | 100 %")


def test_the_figure_has_a_tile_a_cell_with_share_and_psnr(storage: Path) -> None:
    cells = best_of(storage, [*SCORES, "auto-1"])
    svg = drawn(specification(charts.grades(cells)))
    assert svg.count('aria-roledescription="rect mark"') == len(cells)
    for text in ("100 %", "61.0 dB", "median", "kron", *IN_A_WORD.values()):
        assert f">{text}<" in svg, text


def test_every_answer_has_its_colour() -> None:
    assert tuple(charts.FILLS) == (*IN_A_WORD.values(), charts.AS_A_FLOOR)


def test_the_command_writes_table_and_figure(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--storage", str(storage), "--out", str(tmp_path), "--runs", "exact", "good"]
    assert command.main(arguments) == 0
    endings = ("csv", "md", "parquet", "pdf", "png", "svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"atlas.{end}" for end in endings]
    kept = pd.read_parquet(tmp_path / "atlas.parquet")
    assert list(kept.answer) == ["exact", "good"]
    assert list(pd.read_csv(tmp_path / "atlas.csv").columns) == list(kept.columns)
    assert "2 cells" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--runs", "nothing"], "has no run 'nothing'"),
        ([], "none of the 1 runs in"),
    ],
)
def test_what_the_command_can_not_show_is_one_sentence(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "fc-1", tested=False, config=json.dumps({"model": "fc"}))
    assert command.main(["--storage", str(tmp_path), *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_a_storage_without_runs_says_how_to_get_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--storage", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path} has no runs" in told
    assert f"python -m tuner.atlas --storage {tmp_path}" in told


def test_a_network_that_is_no_better_than_a_floor_is_marked_in_table_and_figure(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "r", trials=4, epochs=2, pipeline="blur")
    scored(tmp_path, "r", *SCORES["exact"])
    (cell,) = best_of(tmp_path, ["r"]).to_dict("records")
    assert pd.isna(cell["no_better_than"])
    rows = rows_of(tmp_path / "tables", "scores", "r")
    for row in rows:
        if row["subject"] == "mean image":
            row |= dict.fromkeys(("value", "low", "high"), 99.0 if row["metric"] == "psnr" else 1.0)
    publish(tmp_path / "tables", "scores", "r", rows)
    cells = best_of(tmp_path, ["r"])
    assert (cells.answer[0], cells.no_better_than[0]) == ("no", "mean image")
    assert charts.labelled(cells).answer.tolist() == [charts.AS_A_FLOOR]


def test_the_report_of_several_runs_is_their_atlas(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [*SCORES, "--storage", str(storage), "--out", str(tmp_path), "--format", "md"]
    assert report.main(typed) == 0
    assert f"Figures  {tmp_path}/atlas-*.pdf, *.svg and *.png" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.md",
        *(f"atlas-grades.{kind}" for kind in ("pdf", "svg", "png")),
    }
    page = (tmp_path / "report.md").read_text()
    assert page.startswith(
        "# Which of 4 pipelines can a small network replace?\n\n"
        "**3 of 4.** 1 exactly, 1 closely, 1 roughly, 1 not.\n"
    )
    for cell in best_of(storage, SCORES).to_dict("records"):
        assert f"| {cell['pipeline']} | {cell['kind']} |" in page
    assert f"python -m analysis.report exact --storage {storage}" in page
    assert f"exact good rough no --out {tmp_path} --format md --storage {storage}" in page


def test_the_report_of_several_runs_names_those_without_a_place_in_it(
    storage: Path, tmp_path: Path
) -> None:
    make_run(storage, "unscored", trials=2, epochs=1, pipeline="sepia")
    publish(storage / "tables", "scores", "unscored", [])
    typed = ["exact", "unscored", "--storage", str(storage), "--out", str(tmp_path)]
    assert report.main([*typed, "--format", "md"]) == 0
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# Which of 1 pipeline can a small network replace?")
    assert "or worse ones than another run of the same: unscored." in page


def test_a_report_of_several_runs_without_scores_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        make_run(tmp_path, name, trials=2, epochs=1)
        publish(tmp_path / "tables", "scores", name, [])
    assert report.main(["a", "b", "--storage", str(tmp_path)]) == 2
    assert "none of these 2 runs has scores of test images yet" in capsys.readouterr().err
