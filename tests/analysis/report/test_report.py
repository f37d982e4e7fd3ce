"""The report: one page that needs nothing else, each figure in three kinds, numbers with n."""

import base64
import errno
import html.parser
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.report.__main__ import main
from analysis.report.as_html import DARK
from analysis.report.facts import asked
from analysis.report.results import accuracy
from analysis.tables.files import publish, rows_of
from analysis.tables.ranking import RANKED_BY
from tests.analysis.collecting import state
from tests.analysis.made_runs import (
    change,
    make_auto_run,
    make_run,
    make_run_of_two_losses,
    put,
    run_row,
    score_rows,
    timing_rows,
    trial_frame,
)
from tests.analysis.report.made_reports import write_report
from tests.analysis.version_4_runs import write_version_4
from tests.paths import ROOT
from trainables.errors import UsageError
from trainables.networks.base import space_of
from trainables.networks.registry import find
from trainables.thresholds import THRESHOLD

GRID = ["input", "pipeline", "fc, mse", "fc, perceptual"]
FIGURES = {
    "loss",
    "curves",
    "thresholds",
    "images-spread",
    "images-worst",
    "images-worst-psnr",
    "history",
    "parallel",
    "importance",
}
FIGURES |= {"times-cpu", "pareto-cpu"}
KINDS = {"pdf": b"%PDF-", "svg": b"<svg", "png": b"\x89PNG"}


class Page(html.parser.HTMLParser):
    """What a browser would fetch or run, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.links += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "srcset", "action", "data")
        ]
        if tag == "img":
            self.alts.append(found.get("alt") or "")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(storage: Path, run: str = "r", refused: str = "") -> Page:
    """The page of a run, with blank figures."""
    return Page(write_report(storage, run, refused=refused).read_text())


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("storage")
    make_run(storage, "fc-1", commit="0123456789abcdef", dirty=False)
    best = min(
        rows_of(storage / "tables", "trials", "fc-1"), key=lambda row: row["best_validation_loss"]
    )["trial"]
    measured = [
        row | {"subject": f"trial {best}", "trial": best} if row["trial"] == 0 else row
        for row in timing_rows("fc-1")
    ]
    publish(storage / "tables", "timings", "fc-1", measured)
    return storage


@pytest.fixture(scope="module")
def done(storage: Path) -> subprocess.CompletedProcess[str]:
    """The command as a person types it, to its end."""
    command = [sys.executable, "-m", "analysis.report", "fc-1", "--storage", str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def written(storage: Path, done: subprocess.CompletedProcess[str]) -> Path:
    return storage / "reports" / "fc-1"


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page((written / "report.html").read_text())


def test_every_figure_is_there_in_three_kinds_with_the_runs_name_and_nothing_is_left_over(
    written: Path,
) -> None:
    names = {path.name for path in written.iterdir()}
    assert names == {f"fc-1-{name}.{kind}" for name in FIGURES for kind in KINDS} | {"report.html"}
    for kind, begins in KINDS.items():
        assert all(path.read_bytes().startswith(begins) for path in written.glob(f"*.{kind}"))


def test_the_page_needs_no_script_and_nothing_but_itself_and_is_below_a_megabyte(
    written: Path, page: Page
) -> None:
    assert "script" not in page.tags
    assert page.links
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    inner = [base64.b64decode(link.partition(",")[2]).decode() for link in page.links]
    assert not [
        url for svg in inner for url in re.findall(r'(?:href|src)="(?!data:|#)([^"]*)"', svg)
    ]
    assert "default-src 'none'" in (written / "report.html").read_text()
    assert (written / "report.html").stat().st_size < 1_000_000


def test_every_figure_on_the_page_is_the_one_that_was_saved_and_says_in_words_what_it_shows(
    written: Path, page: Page
) -> None:
    saved = {path.read_text() for path in written.glob("*.svg")}
    shown = [base64.b64decode(link.partition(",")[2]).decode() for link in page.links]
    assert all(svg.count(DARK) == 1 for svg in shown)
    assert {svg.replace(DARK, "") for svg in shown} == saved
    assert len(page.alts) == len(FIGURES)
    assert all(len(alt) > 40 for alt in page.alts)


def test_the_page_answers_with_n_interval_floor_ceiling_and_speed(page: Page) -> None:
    for words in (
        "Can fc replace study? Yes, roughly. fc replaces study roughly: 99.0 % [98.7, 99.2] of "
        "10,000 test images at cosine ≥ 0.95, 24.0 dB; ",
        "mean image: 35.0 % [",
        "pipeline's own matrix: 100 % [",
    ):
        assert words in page.text, words
    assert re.search(r"[\d.]+ × \[[\d.]+, [\d.]+\] as fast in batches on the CPU, ", page.text)


def test_what_was_asked_where_and_which_trial_was_best_are_told(storage: Path, page: Page) -> None:
    best = min(
        rows_of(storage / "tables", "trials", "fc-1"), key=lambda row: row["best_validation_loss"]
    )
    for words in (
        "45,000, SHA-256 train-pixels",
        "24: 12 stopped by ASHA, 6 all epochs, 6 stopped early",
        "AMD EPYC, 2 cores, 16 GiB",
        f"{best['trial']} of 24", f"lr {best['learning_rate']:.2e}", "0123456789ab", "seed 0",
    ):  # fmt: skip
        assert words in page.text, words


def test_the_best_trial_stands_within_what_was_searched(tmp_path: Path) -> None:
    config = {"model": "fc", "search": "tpe", "startup_trials": 10, "start": ["lr=1e-3"]}
    config |= {"scheduler": "median", "grace_epochs": 2}
    make_run(tmp_path, "r", trials=3, epochs=2, config=json.dumps(config))
    change(
        tmp_path, "trials", "r", learning_rate=9.9e-2, dropout=0.25, patience=6, stop_reason="asha"
    )
    text = page_of(tmp_path).text
    for words in (
        "Search TPE (Optuna's, multivariate, at random until 10 have ended) from lr=1e-3 over lr",
        "Scheduler median rule, not before epoch 2",
        "Learning rate 1e-05 to 0.1 (log) 9.90e-02 100 %, upper edge",
        "Dropout 0 to 0.5 0.250 50 %",
        "lr 9.90e-02 is at the upper edge of 1e-05 to 0.1 (log); widen it: --learning-rate",
    ):
        assert words in text, words


def test_the_tables_hold_n_spread_and_caveats(page: Page) -> None:
    for words in (
        *("n = 10,000 test images", "99.0 ± 1.0 %, n = 3", "flat image (floor)"),
        *(
            "pipeline's own matrix (ceiling)",
            "Medians of 10 processes",
            "torchvision uint8",
            "study",
        ),
        *("0.754 s", "not measured", "0.95 is lenient"),
    ):
        assert words in page.text, words


def test_a_series_in_doubt_is_named(page: Page) -> None:
    assert "Not plainly valid on this machine: separable." in page.text


def test_the_commands_bring_all_of_it_again(page: Page, storage: Path) -> None:
    for command in (
        "git checkout 0123456789abcdef",
        "python -m tuner.run --model fc",
        f"python -m analysis.timing --run fc-1 --storage {storage}",
        f"python -m analysis.report fc-1 --out {storage}/reports/fc-1 --storage {storage}",
    ):
        assert command in page.text


def test_text_from_the_tables_can_not_become_markup(tmp_path: Path) -> None:
    make_run(
        tmp_path,
        "r",
        trials=2,
        epochs=1,
        command="<script>alert(1)</script>",
        data="<img src=http://evil.example>",
    )
    page = page_of(tmp_path)
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert all(link.startswith("data:") for link in page.links)


@pytest.mark.parametrize(("trials", "epochs"), [(0, 1), (1, 1)])
def test_a_run_that_has_only_begun_has_a_report_too(
    tmp_path: Path, trials: int, epochs: int
) -> None:
    make_run(
        tmp_path, "r", trials=trials, epochs=epochs, tested=False, status="running", ended_at=None
    )
    assert main(["r", "--storage", str(tmp_path)]) == 0
    text = Page((tmp_path / "reports" / "r" / "report.html").read_text()).text
    assert f"Not measured yet: python -m analysis.timing --run r --storage {tmp_path}" in text
    assert ("nothing to report yet" in text) == (trials == 0)


def test_a_network_that_is_no_better_than_a_floor_is_called_that(
    storage: Path, tmp_path: Path
) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1)
    rows = rows_of(tmp_path / "tables", "scores", "r")
    low = {"value": 0.2, "mean": 0.2, "low": 0.19}
    lowered = [row | low if row["kind"] == "trial" and row["threshold"] else row for row in rows]
    publish(tmp_path / "tables", "scores", "r", lowered)
    assert "no better than an output that costs nothing" in page_of(tmp_path).text


def test_a_run_of_version_4_has_a_report_too(tmp_path: Path) -> None:
    write_version_4(tmp_path, "r")
    text = page_of(tmp_path).text
    assert "Can fc replace study?" in text
    assert "98.0 ± 1.4 %, n = 2" in text


def test_a_report_is_told_at_the_threshold_of_its_run_with_metrics_of_ones_own(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1, threshold=0.97)
    rows = rows_of(tmp_path / "tables", "scores", "r")
    own = [row | {"metric": "edges", "value": 0.123456} for row in rows if row["metric"] == "ssim"]
    publish(tmp_path / "tables", "scores", "r", rows + own)
    text = page_of(tmp_path).text
    assert "93.0 % [92.4, 93.5] of 10,000 test images at cosine ≥ 0.97" in text
    for words in ("cosine ≥ 0.97", "edges", "0.123", "The floors cost nothing"):
        assert words in text, words


def test_repeats_with_other_seeds_are_no_finalists(tmp_path: Path) -> None:
    run = run_row("r")
    made = trial_frame(run, 4, 1)
    rows, trials = score_rows(run, made), made.to_dict("records")
    repeated: list[dict[str, Any]] = [
        row | {"repeat_of": row["trial"], "subject": "trial 99"} for row in rows[:13]
    ]
    assert [row[0] for row in accuracy(run, rows + repeated, trials).rows] == [
        row[0] for row in accuracy(run, rows, trials).rows
    ]


def test_an_accuracy_that_was_not_measured_at_the_strict_threshold_is_a_dash() -> None:
    made = trial_frame(run_row("r"), 4, 1)
    rows = [row for row in score_rows(run_row("r"), made) if row["threshold"] == THRESHOLD]
    grid = accuracy(run_row("r"), rows, made.to_dict("records"))
    assert {row[grid.heads.index("cosine ≥ 0.99")] for row in grid.rows} == {"–"}


def test_a_run_whose_threshold_is_the_strict_one_has_that_column_once() -> None:
    run = run_row("r") | {"threshold": 0.99}
    made = trial_frame(run, 3, 1)
    grid = accuracy(run, score_rows(run, made), made.to_dict("records"))
    assert grid.heads[:4] == ["", "cosine ≥ 0.99", "over trainings", "mean cosine"]
    assert {len(row) for row in grid.rows} == {len(grid.heads)}


def test_the_answer_of_a_run_without_speed_says_so(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1)
    publish(tmp_path / "tables", "timings", "r", [])
    page = page_of(tmp_path)
    assert "no valid timing yet: type python -m analysis.timing --run r" in page.text
    assert "How fast Not measured yet: python -m analysis.timing --run r" in page.text


def test_only_the_last_measurement_is_reported(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1)
    rows = timing_rows("r", 1, cpu_model="the first machine") + timing_rows(
        "r", 2, cpu_model="the second machine"
    )
    publish(tmp_path / "tables", "timings", "r", rows)
    text = page_of(tmp_path).text
    assert "the second machine" in text
    assert "the first machine" not in text
    assert "the study, and the same here" in text


def test_where_the_study_is_not_quoted_the_page_has_no_table_of_it(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1)
    rows = [row for row in timing_rows("r") if row["kind"] != "study"]
    publish(tmp_path / "tables", "timings", "r", rows)
    text = page_of(tmp_path).text
    assert "How fast" in text
    assert "torchvision uint8" in text
    assert "the same here" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "no run 'nope': give one of fc-1"),
        (["../fc-1"], "no run '../fc-1'"),
        ([".."], "no run '..'"),
    ],
)
def test_a_run_that_is_not_there_is_answered_with_those_that_are(
    storage: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main([*arguments, "--storage", str(storage)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def files_of(storage: Path) -> set[str]:
    return {path.name for path in (storage / "out").iterdir()}


def test_losses_of_zero_have_no_figures_and_the_page_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "r", trials=3, epochs=2)
    change(tmp_path, "trials", "r", best_validation_loss=0.0)
    change(tmp_path, "epochs", "r", train_loss=0.0, validation_loss=0.0)
    text = page_of(tmp_path).text
    said = "no value is above 0, and its axis is logarithmic"
    for title in ("Loss of the best trial", "Loss of every trial", "Search history"):
        assert f"{title}. Left out: {said}." in text
    without = ["loss", "curves", "history", "parallel"]
    assert files_of(tmp_path) == {"report.html"} | {
        f"r-{name}.{kind}" for name in FIGURES - {*without, "importance"} for kind in KINDS
    }
    told = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert told == [f"The figure {name} is left out: {said}" for name in without]


def test_a_loss_of_zero_among_others_is_left_out_of_the_figures_and_counted(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1)
    change(tmp_path, "trials", "r", best_validation_loss=[0.1, 0.0, 0.2])
    text = page_of(tmp_path).text
    assert text.count("Left out, since the axis is logarithmic: 1 trial of loss 0.") == 2


def test_a_figure_that_can_not_be_drawn_is_left_out_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "r", trials=3, epochs=2)
    text = page_of(tmp_path, refused="image").text
    assert "Images, worst by PSNR. Left out: SVG has an invalid size. " in text
    assert not {"r-images-spread.svg", "r-images-worst.pdf"} & files_of(tmp_path)
    assert "r-thresholds.pdf" in files_of(tmp_path)
    assert "The figure images-worst is left out: SVG has an invalid size\n" in (
        capsys.readouterr().out
    )


def test_a_run_whose_every_trial_diverged_says_that_nothing_can_be_reported(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "r", trials=3, epochs=2, tested=False)
    nothing = dict.fromkeys(("best_epoch", *RANKED_BY))
    change(tmp_path, "trials", "r", stop_reason="diverged", **nothing)
    change(tmp_path, "epochs", "r", train_loss=math.inf, validation_loss=math.inf)
    text = page_of(tmp_path).text
    assert "No trial has finished an epoch with a finite loss" in text
    assert "3: 3 diverged" in text
    assert files_of(tmp_path) == {"report.html"}


@pytest.mark.parametrize(
    "config",
    [
        {"perceptual_layers": [2]},
        {"perceptual_layers": 2, "perceptual_weights": [1], "mse_weight": 1},
        {"perceptual_layers": [2], "perceptual_weights": ["x"], "mse_weight": 1},
    ],
    ids=["missing", "no list", "text"],
)
def test_settings_that_can_not_be_told_are_named_with_the_file_and_what_to_do(
    tmp_path: Path, config: dict[str, object]
) -> None:
    make_run(tmp_path, "r", trials=1, epochs=1, config=json.dumps(config))
    with pytest.raises(UsageError, match=r"run=r/runs\.parquet: its column config .* sound copy"):
        page_of(tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [False, True], ids=["a first report", "a later report"])
def test_a_disk_that_gets_full_leaves_the_old_report_or_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    there: bool,
) -> None:
    make_run(tmp_path, "r", trials=1, epochs=1)
    if there:
        page_of(tmp_path)
        make_run(tmp_path, "r", trials=1, epochs=1, command="another")
    before = state(tmp_path / "out")
    room = iter(range(3))

    def write_bytes(path: Path, data: bytes) -> None:
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(data.decode(errors="replace"))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="No space left"):
        page_of(tmp_path)
    assert state(tmp_path / "out") == before


def test_a_place_that_takes_no_files_ends_with_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "r", trials=0, epochs=1, tested=False)
    taken = tmp_path / "tables" / "runs" / "run=r" / "runs.parquet"
    assert main(["r", "--storage", str(tmp_path), "--out", str(taken)]) == 1
    assert "give another --out" in capsys.readouterr().err


def test_a_damaged_table_is_named_and_no_page_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1)
    (tmp_path / "tables" / "epochs" / "run=r" / "epochs.parquet").write_bytes(b"torn")
    assert main(["r", "--storage", str(tmp_path)]) == 2
    assert "epochs.parquet: can't be read: " in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_the_command_says_where_everything_lies(
    written: Path, done: subprocess.CompletedProcess[str]
) -> None:
    assert f"Report   {written}/report.html" in done.stdout
    assert f"{written}/fc-1-*.pdf, *.svg and *.png" in done.stdout
    assert done.stderr == ""


def test_two_losses_stand_side_by_side(tmp_path: Path) -> None:
    make_run_of_two_losses(tmp_path)
    out = tmp_path / "paper"
    assert main(["r", "--storage", str(tmp_path), "--out", str(out)]) == 0
    assert "fc, perceptual" in (out / "r-thresholds.svg").read_text()
    grid = (out / "r-images-spread.svg").read_text()
    heights = {
        name: float(re.search(rf"translate\([^,]*,([\d.]+)\)[^>]*>{name}<", grid)[1])
        for name in GRID
    }
    assert sorted(heights, key=heights.__getitem__) == GRID
    page = (out / "report.html").read_text()
    assert "Input, pipeline and output of trial 0 (fc, mse) and trial 3 (fc, perceptual): " in page
    assert (
        "3 of 4 (the highest validation cosine accuracy at 0.95, then the highest mean cosine, "
        in page
    )
    assert "perceptual loss, lr " in page
    assert "trial 2 (perceptual)" in page
    assert "Finalists were chosen by the highest validation cosine accuracy at 0.95" in page


def test_a_search_of_several_networks_says_which_one_won_and_what_each_was_searched_over(
    tmp_path: Path,
) -> None:
    make_auto_run(tmp_path)
    page = page_of(tmp_path, "auto-1")
    for words in (
        "Can kron replace study? Yes, roughly.",
        "kron replaces study roughly: 99.0 % [98.7, 99.2] of 10,000 test images",
        "Hyperparameters kron, lr ",
        *("trial 0 (fc) 99", "trial 1 (cnn) 99", "trial 2 (kron) 99"),
        "the lowest validation loss at any epoch; the best of each network is among them",
        "Search random, seed 0; each network has its own space",
        "Space of cnn lr 0.0001 to 0.01 (log), ",
        "Space of kron lr 0.0005 to 0.01 (log), patience ",
        f"terms {space_of(find('kron'))['terms'].in_words}, width ",
    ):
        assert words in page.text, words
    assert "auto instead of" not in page.text
    _, _, spaces = page.text.partition("Space of fc ")
    assert "terms" not in spaces.partition("Space of")[0]


def test_networks_are_named_in_the_order_of_the_search_whichever_trial_began_first(
    tmp_path: Path,
) -> None:
    make_auto_run(tmp_path)
    run = rows_of(tmp_path / "tables", "runs", "auto-1")[0]
    trials = rows_of(tmp_path / "tables", "trials", "auto-1")
    assert dict(asked(run, trials[::-1], {}))["Network"] == "fc, cnn, kron"
    assert dict(asked(run, trials[2:3], {}))["Network"] == "kron"


def test_the_best_of_each_network_with_each_loss_is_named_by_both(tmp_path: Path) -> None:
    make_auto_run(tmp_path)
    run = rows_of(tmp_path / "tables", "runs", "auto-1")[0]
    run["config"] = json.dumps({"model": "auto", "loss": "mse,perceptual"})
    trials = rows_of(tmp_path / "tables", "trials", "auto-1")
    grid = accuracy(run, rows_of(tmp_path / "tables", "scores", "auto-1"), trials)
    assert {row[0] for row in grid.rows[:3]} == {
        "trial 0 (fc, mse)",
        "trial 1 (cnn, mse)",
        "trial 2 (kron, mse)",
    }
    assert "; the best of each network with each loss is among them" in grid.remarks[-1]


def timed_page(directory: Path, *, luck: float = 0.0, **facts: object) -> Page:
    """The page of a run whose network has this verdict, or times that differ by so much."""
    make_run(directory, "r", trials=3, epochs=1)
    best = min(
        rows_of(directory / "tables", "trials", "r"), key=lambda row: row["best_validation_loss"]
    )["trial"]
    rows = []
    for row in timing_rows("r"):
        if row["kind"] == "trial":
            row |= {"subject": f"trial {best}", "trial": best, **facts}
            row["end_to_end_sec"] *= 1 + luck * (row["process"] % 3 - 1)
        rows.append(row)
    publish(directory / "tables", "timings", "r", rows)
    return page_of(directory)


@pytest.mark.parametrize(
    "facts",
    [
        {"verdict": "invalid", "reason": "the processor lowered its clock"},
        {"luck": 0.4},
    ],
    ids=["a biased side", "a wide interval"],
)
def test_what_is_no_result_is_no_answer_but_what_to_type(
    facts: dict[str, Any], tmp_path: Path
) -> None:
    text = timed_page(tmp_path, **facts).text
    assert "no valid timing yet" in text
    assert f"type python -m analysis.timing --run r --storage {tmp_path}" in text
    trial = re.search(r"(\S+) [\d.]+ \[[\d., ]+\] 1,000 \S+ \[[\d., ]+\] – – torchvision", text)
    assert trial is not None
    assert trial[1] == facts.get("verdict", "valid")


def test_a_session_that_was_broken_off_is_not_the_one_that_is_reported(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=3, epochs=1)
    broken = [
        row | {"verdict": None}
        for row in timing_rows("r", 2, cpu_model="the second machine")
        if row["turn"] == 1
    ]
    publish(
        tmp_path / "tables",
        "timings",
        "r",
        timing_rows("r", 1, cpu_model="the first machine") + broken,
    )
    text = page_of(tmp_path).text
    assert "the first machine" in text
    assert "session 1 of 2" in text
    assert "the second machine" not in text


def test_a_best_trial_that_was_not_measured_does_not_lend_its_name_to_others_images(
    tmp_path: Path,
) -> None:
    make_run(tmp_path, "r", trials=6, epochs=1)
    rows = trial_frame(run_row("r"), 6, 1)
    measured = set(rows.sort_values("best_validation_loss").trial.head(3))
    late = next(trial for trial in rows.trial if trial not in measured)
    rows.loc[rows.trial == late, "best_validation_loss"] = 1e-6
    put(tmp_path / "tables", "trials", "r", rows)
    text = page_of(tmp_path).text
    assert "its best trial has not been measured on the test images yet" in text
    assert f"output of trial {late}:" not in text
    assert "Images, worst by cosine similarity." in text


def test_a_large_run_has_a_page_below_a_megabyte_that_says_what_it_left_out(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=220, epochs=12)
    assert main(["r", "--storage", str(tmp_path)]) == 0
    path = tmp_path / "reports" / "r" / "report.html"
    assert path.stat().st_size < 1_000_000
    text = Page(path.read_text()).text
    assert "the 100 best of 220 trials" in text
    assert "the 200 best of 220 trials" in text


def test_the_lines_that_load_the_network_are_on_the_page(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=1, epochs=1)
    assert "network = build('fc', dropout=" in page_of(tmp_path).text
    weights = tmp_path / "networks" / "run=r" / "trial-0000.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert f"network = load_network('{weights}')" in page_of(tmp_path).text


def test_losses_of_two_kinds_have_figures_of_their_own(tmp_path: Path) -> None:
    make_run_of_two_losses(tmp_path)
    page = page_of(tmp_path)
    assert "Search history, mse." in page.text
    assert "Search history, perceptual." in page.text
    for name in ("curves", "history", "parallel"):
        assert {f"r-{name}-mse.svg", f"r-{name}-perceptual.svg"} <= files_of(tmp_path)
        assert f"r-{name}.svg" not in files_of(tmp_path)
