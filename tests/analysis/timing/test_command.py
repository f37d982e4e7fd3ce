"""The command as a person runs it; mistakes that stop it before that are made in this process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock

from analysis.tables.files import publish, read
from analysis.tables.provenance import code_version
from analysis.tables.schema import arrow_schema
from analysis.timing.__main__ import main
from analysis.timing.protocol import TAIL_CALLS, TURNS, WIDE, median_interval
from tests.paths import ROOT
from tests.waiting import until
from trainables.data.cache import cache_directory

OWN = "tests.analysis.timing.own_subjects"
TINY = ("--data", "photos", "--images", "40", "--devices", "cpu", "--threads", "1")
SIZES = (1, 40)
SUBJECTS = ("torchvision float32", "Pillow", "separable", f"{OWN}:noisy")
ENDLESS = ("--series-sec", "30000", "--subject", f"{OWN}:noisy")


class Finished(NamedTuple):
    """A session that the command made."""

    storage: Path
    run: str
    stdout: str
    stderr: str

    def table(self, table: str) -> pd.DataFrame:
        return read(self.storage / "tables", table, self.run)

    @property
    def turns(self) -> pd.DataFrame:
        return self.table("timings").query("kind != 'study'")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "analysis.timing", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The pipeline, a peer, a network, and a function of one's own that is never as fast again."""
    storage = tmp_path_factory.mktemp("finished")
    own = ("--subject", f"{OWN}:noisy", "--only", "torchvision f*", *SUBJECTS[1:])
    how = ("--batch-sizes", "40", "1", "--series-sec", "1.5", "--seed", "4")
    process = start(*TINY, *how, *own, "--storage", str(storage))
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stdout + stderr
    (run,) = (path.name.removeprefix("run=") for path in (storage / "tables" / "timings").iterdir())
    return Finished(storage, run, stdout, stderr)


def test_the_tables_have_their_schemas(finished: Finished) -> None:
    for table in ("timings", "cards"):
        path = finished.storage / "tables" / table / f"run={finished.run}" / f"{table}.parquet"
        assert pq.read_schema(path).equals(arrow_schema(table), check_metadata=True)


def test_every_subject_has_turns_by_several_processes_at_every_batch_size(
    finished: Finished,
) -> None:
    turns = finished.turns
    sizes = {name: [1] if name == "Pillow" else list(SIZES) for name in SUBJECTS}
    found = turns.groupby("subject").batch_size.unique()
    assert {name: sorted(int(size) for size in found[name]) for name in found.index} == sizes
    for _, series in turns.groupby(["subject", "batch_size"]):
        assert list(series.turn) == list(range(1, len(series) + 1))
        assert series.process.nunique() >= 2, "six, where the machine is not busy"
        assert series.process.value_counts().ge(TURNS).all(), "more, where it is the reference"
        assert series.device_sec.notna().any()
    assert turns.device_sec.dropna().gt(0).all()
    assert turns.end_to_end_sec.gt(0).all()
    assert (turns.images % turns.batch_size == 0).all()


def test_turns_of_different_subjects_take_turns(finished: Finished) -> None:
    batches = finished.turns[finished.turns.batch_size == 40].sort_values("measured_at")
    changes = (batches.subject != batches.subject.shift()).sum()
    assert changes > 0.6 * len(batches), "no subject has two turns in a row but by chance"


def test_single_calls_are_told_where_images_come_one_by_one(finished: Finished) -> None:
    series = finished.turns.groupby(["subject", "batch_size"]).last().reset_index()
    singles, batches = series[series.batch_size == 1], series[series.batch_size > 1]
    assert batches[["calls", "p50_sec", "p90_sec", "p99_sec"]].isna().all(axis=None)
    told = singles[singles.calls.notna()]
    assert len(told) == finished.turns.query("batch_size == 1 and not disturbed").subject.nunique()
    assert (told.p50_sec <= told.p90_sec).all()
    assert (told.p99_sec.notna() == (told.calls >= TAIL_CALLS)).all()


def test_every_row_says_under_what_circumstances_it_came_about(finished: Finished) -> None:
    turns = finished.turns
    assert set(turns.session) == {1}
    assert set(turns.device) == {"cpu"}
    assert set(turns.threads) == {1}
    assert set(turns.seed) == {4}
    assert set(turns.commit) == {code_version()[0]}
    assert set(turns.gpu_processes) == {0}
    assert json.loads(turns.versions.iloc[0])["torch"] == torch.__version__.split("+")[0]
    for column in (
        "cpu_model",
        "host",
        "cores",
        "limit_sec",
        "matrix_gflops",
        "bandwidth_gb_per_sec",
        "peak_mib",
    ):
        assert turns[column].notna().all()
    assert turns[["gpu_model", "driver", "bus_sec", "overlapped_sec"]].isna().all(axis=None)
    assert turns[["other_load", "disturbed", "throttled"]].notna().all(axis=None)
    assert set(turns.environment) == {"steady"}


def test_every_subject_stands_with_what_it_is_and_how_well_it_computes(finished: Finished) -> None:
    rows = finished.turns.drop_duplicates("subject").set_index("subject")
    assert dict(rows.kind) == dict(
        zip(SUBJECTS, ["pipeline", "peer", "untrained", "own"], strict=True)
    )
    assert rows.loc["separable", "model"] == "separable"
    assert rows.loc["separable", "compared_with"] == "its eager float32 output"
    assert pd.isna(rows.loc["separable", "share_95"])
    assert (rows.drop("separable").share_95 == 1.0).all()
    assert set(rows.drop("separable").compared_with) == {"the pipeline in float32"}
    assert rows.drop("Pillow").max_difference.le(1e-6).all()
    assert 1e-4 < rows.loc["Pillow", "max_difference"] < 0.01


def test_every_series_has_one_verdict_and_the_noisy_one_is_invalid(finished: Finished) -> None:
    turns = finished.turns
    for _, series in turns.groupby(["subject", "batch_size"]):
        assert len(set(zip(series.verdict, series.reason, strict=True))) == 1
    assert set(turns.verdict) <= {"valid", "rough", "invalid"}
    noisy = turns[(turns.subject == f"{OWN}:noisy") & (turns.batch_size == 40)]
    low, high = median_interval(noisy.groupby("process").end_to_end_sec.median())
    assert high > 1.1 * low
    assert set(noisy.verdict) == {"invalid"}
    assert noisy.reason.iloc[0].startswith((WIDE, "other work took its cores"))
    assert f"{OWN}:noisy at 40" in finished.stdout


def test_beside_photographs_the_studys_numbers_are_not_quoted(finished: Finished) -> None:
    assert "study" not in set(finished.table("timings").kind)
    assert "the study, and the same here" not in finished.stdout


def test_what_has_weights_has_a_card(finished: Finished) -> None:
    (card,) = finished.table("cards").itertuples()
    assert (card.subject, card.parameters, card.weight_bytes) == ("separable", 1795, 4 * 1795)
    assert card.bytes_per_image == 3 * 32 * 32 + 4 * 28 * 28
    assert card.flops_per_image > 2 * 28 * 32 * 28


def test_the_last_line_is_json_with_every_series(finished: Finished) -> None:
    told = json.loads(finished.stdout.splitlines()[-1])
    assert told["session"] == 1
    series = {(one["subject"], one["batch_size"]): one for one in told["series"]}
    turns = finished.turns.groupby(["subject", "batch_size"])
    assert set(series) == set(turns.groups)
    for key, rows in turns:
        assert series[key]["verdict"] == rows.verdict.iloc[0]
        counted = rows if rows.disturbed.all() else rows[~rows.disturbed.astype(bool)]
        sec = counted.groupby("process").end_to_end_sec.median()
        assert series[key]["processes"] == len(sec)
        assert series[key]["end_to_end_us"] == pytest.approx(
            1e6 * float(sec.median()) / rows.images.iloc[0]
        )


def test_nothing_but_the_results_is_printed(finished: Finished) -> None:
    assert finished.stderr == ""
    for chatter in ("Warning", "WARNING", "Traceback", "left out"):
        assert chatter not in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "tpu"], "--devices tpu: choose one of cpu, cuda"),
        (["--batch-sizes", "1", "41"], "--batch-sizes 41: 40 images are timed; give sizes between"),
        (["--series-sec", "1"], "--series-sec ≥ 1.5 must hold, but got 1"),
        (["--images", "6001"], "give --images between 1 and 6,000"),
        (
            ["--only", "torchvision*", "no such*"],
            "--only 'no such*' fits no subject: there are 'torchvision uint8', ",
        ),
        (
            ["--subject", "not a name"],
            "--subject 'not a name': give a function of your own as package.module:function",
        ),
        (["--run", "made"], "--data goes without --run"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--storage", str(tmp_path), *arguments]) == 2
    assert_one_error(capfd, message)
    assert not list(tmp_path.iterdir())


def assert_one_error(capfd: pytest.CaptureFixture[str], message: str) -> None:
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_an_unknown_run_is_said_with_those_that_there_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--run", "absent", "--storage", str(tmp_path)]) == 2
    assert_one_error(
        capfd,
        f"--run absent: {tmp_path} has no such run; there is none yet: give another --storage",
    )
    for name in ("second", "first"):
        publish(tmp_path / "tables", "runs", name, [])
    assert main(["--run", "absent", "--storage", str(tmp_path)]) == 2
    assert_one_error(
        capfd,
        f"--run absent: {tmp_path} has no such run; "
        "give one of first, second, or give another --storage",
    )


def test_a_second_timing_at_the_same_time_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache_directory().mkdir(parents=True, exist_ok=True)
    with FileLock(cache_directory() / "timing.lock"):
        assert main([*TINY, "--storage", str(tmp_path)]) == 2
    assert_one_error(
        capfd, "another timing is under way on this machine, and both would be wrong: wait for it"
    )
    assert not list(tmp_path.iterdir())


def test_a_person_sees_one_line_and_no_traceback(tmp_path: Path) -> None:
    own = ("--subject", f"{OWN}:raises", "--only", f"{OWN}:raises", "--storage", str(tmp_path))
    process = start(*TINY, *own)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 2
    assert stdout == ""
    reason = "RuntimeError: 40 images are not to its liking"
    assert stderr == f"error: --subject {OWN}:raises can't be timed: {reason}\n"
    assert not list((tmp_path / "tables").glob("timings/*"))


def started_with_turns(
    storage: Path, *arguments: str
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A command that would go on for hours, once it has written some turns, and its subjects."""
    process = start(*TINY, *ENDLESS, "--storage", str(storage), *arguments)
    until(lambda: len(rows(storage)) >= 20 or process.poll() is not None)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    return process, children


def test_a_killed_command_leaves_no_process_behind(tmp_path: Path) -> None:
    process, children = started_with_turns(tmp_path, "--batch-sizes", "40", "--only", "matrix, *")
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=60)[1]


def test_ctrl_c_keeps_the_turns_up_to_then_and_ends_every_process(tmp_path: Path) -> None:
    what = ("--batch-sizes", "1", "40", "--only", "matrix, factors")
    process, children = started_with_turns(tmp_path, *what)
    before = rows(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the command and to its children
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    assert stdout.endswith(
        "Interrupted; what was measured up to now is in the table `timings`, without verdicts.\n"
    )
    after = rows(tmp_path)
    pd.testing.assert_frame_equal(after.head(len(before)), before)
    turns = after[after.kind != "study"]
    assert turns.verdict.isna().all()
    assert turns.groupby(["subject", "batch_size"]).ngroups == 4
    assert not psutil.wait_procs(children, timeout=60)[1]


def rows(storage: Path) -> pd.DataFrame:
    return read(storage / "tables", "timings")
