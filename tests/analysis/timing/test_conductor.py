"""A session: who is measured in which order, what is left out, and what the tables then hold."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from analysis.console import Console
from analysis.tables.files import Row, read
from analysis.timing import conductor, machine
from analysis.timing.conductor import conduct
from analysis.timing.subjects import Finalist, catalogue
from analysis.timing.timing_settings import TimingSettings
from tests.analysis.timing.in_process import InProcess
from tests.trainables.affine_pipelines import map_of
from tests.trainables.made_up import photographs
from tests.trainables.pipelines import peoples
from trainables.data.examples import Examples, as_float
from trainables.errors import UsageError
from trainables.pipelines.calling import Calls
from trainables.tasks import RECORDED, STUDY, Task

OWN = "tests.analysis.timing.own_subjects"
SIZES = (1, 2, 5, 20)
SERIES = ["subject", "batch_size"]


class Told(Console):
    """Keeps what a person would read."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def line(self, text: str = "", style: str = "") -> None:
        self.lines.append(text)


class Sessions(NamedTuple):
    """Two sessions of one run, and the table after each."""

    storage: Path
    rows: list[list[Row]]
    tables: list[pd.DataFrame]
    lines: list[list[str]]


@pytest.fixture(scope="module", autouse=True)
def in_process() -> Iterator[None]:
    """No subject has a process; what would be closed is noted."""
    with pytest.MonkeyPatch.context() as patch:
        InProcess.started, InProcess.closed = [], []
        patch.setattr(conductor, "SubjectProcess", InProcess)
        patch.setattr(conductor, "close_all", InProcess.closed.extend)
        yield


@pytest.fixture(scope="module")
def examples() -> Examples:
    return replace(photographs(20), source="cifar10")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory, examples: Examples) -> Sessions:
    """The first with a function of one's own, the last with what has to be left out."""
    storage = tmp_path_factory.mktemp("sessions")
    right, slow = f"{OWN}:right", f"{OWN}:slow"
    made = Sessions(storage, [], [], [])
    for seed, own, finalists, only in (
        (5, (right,), [], (right, "matrix, factors")),
        (
            0,
            (right, slow),
            [Finalist(7, "separable", "no/such.safetensors")],
            (right, slow, "trial 7"),
        ),
    ):
        settings = TimingSettings(
            subject=own,
            only=only,
            devices=("cpu",),
            batch_sizes=SIZES,
            passes=3,
            series_sec=0.55,  # a batch of `slow` takes longer than a pass may
            seed=seed,
        )
        console = Told()
        subjects = settings.subjects(STUDY, finalists)
        with console:
            rows = conduct(settings, subjects, examples, {}, storage / "tables", "run", console)
        made.rows.append(rows)
        made.tables.append(read(storage / "tables", "timings", "run"))
        made.lines.append(console.lines)
    return made


def measured(rows: list[Row] | pd.DataFrame) -> pd.DataFrame:
    """Without what is quoted, in the order of measurement."""
    timings = pd.DataFrame(rows)
    return timings[timings.kind != "study"].sort_values("measured_at")


def order(rows: list[Row]) -> list[tuple[str, int]]:
    """Of the first round."""
    first = measured(rows).query("`pass` == 1")
    return list(zip(first.subject, first.batch_size.astype(int), strict=True))


def test_every_round_goes_over_all_series_before_the_next_one_begins(sessions: Sessions) -> None:
    timings = measured(sessions.rows[0])
    assert list(timings["pass"]) == sorted(timings["pass"])
    rounds = [
        list(zip(part.subject, part.batch_size, strict=True)) for _, part in timings.groupby("pass")
    ]
    assert len(rounds) == 3
    assert rounds[0] == rounds[1] == rounds[2]
    assert len(set(rounds[0])) == len(rounds[0]) == 2 * len(SIZES)


def test_the_order_is_drawn_from_the_seed(sessions: Sessions) -> None:
    right = [(f"{OWN}:right", size) for size in SIZES]
    series = [("matrix, factors", size) for size in SIZES] + right
    assert (
        order(sessions.rows[0])
        == random.Random(5).sample(series, len(series))
        != random.Random(0).sample(series, 8)
    )
    assert order(sessions.rows[1]) == random.Random(0).sample(right, len(right)) != right
    assert [set(pd.DataFrame(rows).seed.dropna()) for rows in sessions.rows] == [{5}, {0}]


def test_a_later_session_is_appended_and_leaves_the_earlier_ones_as_they_were(
    sessions: Sessions,
) -> None:
    for number, (table, rows) in enumerate(
        zip(sessions.tables, sessions.rows, strict=True), start=1
    ):
        assert list(dict.fromkeys(table.session)) == list(range(1, number + 1))
        assert {row["session"] for row in rows} == {number}
        assert (table.session == number).sum() == len(rows)
        earlier = sessions.tables[number - 2] if number > 1 else table.head(0)
        pd.testing.assert_frame_equal(table[table.session < number], earlier)


def test_every_session_quotes_the_study_and_judges_every_series(sessions: Sessions) -> None:
    for rows in sessions.rows:
        timings = pd.DataFrame(rows)
        assert (timings.kind == "study").sum() == 5
        for _, series in measured(rows).groupby(SERIES):
            assert list(series["pass"]) == [1, 2, 3]
            assert len(set(series.verdict)) == 1
            assert set(series.verdict) <= {"valid", "warning", "invalid"}
            assert (series.reason.iloc[0] == "") == (series.verdict.iloc[0] == "valid")


def test_what_can_not_be_built_is_left_out_with_its_reason_and_the_rest_is_measured(
    sessions: Sessions,
) -> None:
    (line,) = (line for line in sessions.lines[1] if line.startswith("trial 7"))
    assert line.startswith("trial 7 on cpu is left out: no/such.safetensors can't be read")
    assert set(measured(sessions.rows[1]).subject) == {f"{OWN}:right"}
    assert not [line for line in sessions.lines[0] if "left out" in line]


def test_what_is_too_slow_is_left_out_with_the_time_that_would_do(sessions: Sessions) -> None:
    lines = [line for line in sessions.lines[1] if ":slow at" in line]
    assert len(lines) == len(SIZES)
    assert re.fullmatch(
        rf"{OWN}:slow at batch 1 is left out: one batch takes 0\.\d+ s; "
        r"python -m analysis\.timing … --series-sec [1-9] would measure it",
        lines[0],
    )


def test_the_cards_of_earlier_sessions_stay(sessions: Sessions) -> None:
    assert list(read(sessions.storage / "tables", "cards", "run").subject) == ["matrix, factors"]


@pytest.mark.usefixtures("sessions")
def test_every_process_that_was_started_is_closed() -> None:
    assert InProcess.closed == InProcess.started
    assert len(InProcess.started) == 5  # one for each subject of each session


def test_subjects_have_a_thread_a_core_unless_told_otherwise(sessions: Sessions) -> None:
    assert {process.threads for process in InProcess.started} == {machine.cores()}
    assert set(measured(sessions.rows[0]).threads) == {machine.cores()}


def settings_for(function: str, **more: object) -> TimingSettings:
    name = f"{OWN}:{function}"
    return TimingSettings(subject=(name,), only=(name,), devices=("cpu",), **more)


def test_a_subject_that_ends_in_mid_series_is_told_and_its_passes_are_kept_as_invalid(
    tmp_path: Path, examples: Examples
) -> None:
    settings = settings_for("tires", batch_sizes=(20,), passes=1000, series_sec=100.0)
    console = Told()
    rows = conduct(settings, settings.subjects(STUDY), examples, {}, tmp_path, "run", console)
    passes = measured(rows)
    assert 1 <= len(passes) < 1000
    assert set(passes.verdict) == {"invalid"}
    fault = f"it ended in pass {len(passes) + 1}: RuntimeError: tired"
    assert set(passes.reason) == {fault}
    assert f"{OWN}:tires at batch 20: {fault}" in console.lines


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "wrong_shape",
            "makes (20, 28, 28) torch.float32 of 20 images: it has to return a tensor "
            "(20, 1, 28, 28)",
        ),
        ("no_such_function", "has no attribute 'no_such_function'"),
    ],
)
def test_a_function_of_your_own_that_does_not_work_is_a_mistake(
    function: str, message: str, tmp_path: Path, examples: Examples
) -> None:
    settings = settings_for(function)
    with pytest.raises(UsageError) as refused:
        conduct(settings, settings.subjects(STUDY), examples, {}, tmp_path, "run", Told())
    assert str(refused.value).startswith(f"--subject {OWN}:{function} can't be ")
    assert message in str(refused.value)
    assert not list(tmp_path.glob("timings/*"))
    assert InProcess.closed == InProcess.started


def test_what_takes_one_image_at_a_time_is_measured_at_batch_one(
    tmp_path: Path, examples: Examples
) -> None:
    settings = TimingSettings(only=("Pillow",), devices=("cpu",), batch_sizes=(20,), passes=2)
    rows = conduct(settings, settings.subjects(STUDY), examples, {}, tmp_path, "run", Told())
    assert set(measured(rows).batch_size) == {1}


def own_examples(name: str, takes: str, **more: object) -> tuple[Examples, Task]:
    """Images of CIFAR-10's name with what one of people's pipelines makes of them, and its task."""
    images = photographs(20).images
    call = Calls(getattr(peoples, name), takes)
    targets = call(images)
    task = Task(
        pipeline=f"{peoples.__file__}:{name}",
        output_shape=tuple(targets.shape[1:]),
        takes=takes,
        batched=False,
        **more,
    )
    return Examples(images, targets, source="cifar10"), task


def left_out(console: Told) -> list[str]:
    return [line for line in console.lines if "left out" in line]


OWN_SETTINGS = TimingSettings(devices=("cpu",), batch_sizes=(1, 20), passes=2)


def test_the_studys_numbers_stand_beside_its_own_task_and_images_only(
    tmp_path: Path, examples: Examples
) -> None:
    photos = replace(examples, source="photos")
    settings = TimingSettings(only=("Pillow",), devices=("cpu",), passes=2)
    rows = conduct(settings, settings.subjects(STUDY), photos, {}, tmp_path, "a", Told())
    assert {row["kind"] for row in rows} == {"peer"}
    own, task = own_examples("halved_tensor", "uint8")
    subjects = catalogue(["cpu"], [], [], task)[:1]
    rows = conduct(OWN_SETTINGS, subjects, own, {}, tmp_path, "b", Told())
    assert {(row["kind"], row["subject"]) for row in rows} == {
        ("pipeline", "peoples.py:halved_tensor")
    }


def test_a_pipeline_that_works_on_no_gpu_is_told_in_one_line_and_timed_on_the_cpu(
    tmp_path: Path,
) -> None:
    own, task = own_examples("grey_mirrored", "pil")
    on_cpu = catalogue(["cpu"], [], [], task)[0]
    subjects = [on_cpu, replace(on_cpu, device="cuda")]
    console = Told()
    rows = conduct(OWN_SETTINGS, subjects, own, {}, tmp_path, "run", console)
    assert left_out(console) == [
        "peoples.py:grey_mirrored on cuda is left out: it takes a PIL image, which lies on no GPU"
    ]
    assert {(row["device"], row["batch_size"], row["share_99"]) for row in rows} == {("cpu", 1, 1)}


def test_an_affine_pipeline_is_timed_as_its_matrix_where_its_map_is_known(tmp_path: Path) -> None:
    own, task = own_examples("halved_tensor", "uint8", affine_residual=0.0, kronecker_rank=1)
    affine = map_of(lambda images: as_float(images[..., ::2, ::2]), task).to_tensors()
    subjects = [one for one in catalogue(["cpu"], [], [], task) if one.kind == "matrix"]
    console = Told()
    rows = conduct(OWN_SETTINGS, subjects, own, affine, tmp_path, "run", console)
    assert {row["subject"] for row in rows} == {"matrix, dense", "matrix, factors"}
    assert max(row["max_difference"] for row in rows) < 1e-5
    assert left_out(console) == []
    assert conduct(OWN_SETTINGS, subjects[:1], own, {}, tmp_path, "run", console) == []
    assert left_out(console) == [
        f"matrix, dense on cpu is left out: {task.pipeline} is affine, but its map was too costly "
        "to find"
    ]


def test_of_a_recorded_pipeline_it_is_said_that_its_own_time_is_unknown(tmp_path: Path) -> None:
    own, task = own_examples("halved_tensor", "uint8")
    recorded = replace(task, pipeline=RECORDED, takes="")
    subjects = [one for one in catalogue(["cpu"], [], [], recorded) if one.name == "separable"]
    console = Told()
    rows = conduct(OWN_SETTINGS, subjects, own, {}, tmp_path, "run", console)
    assert {row["subject"] for row in rows} == {"separable"}
    assert console.lines[0].startswith("The pipeline was recorded, so its own time is unknown")
