"""A session: who is measured in which order, what is left out, and what the tables then hold."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd
import pytest

from analysis.console import Console
from analysis.tables.files import Row, read
from analysis.timing import conductor, engines, machine, protocol, worker
from analysis.timing import series as series_module
from analysis.timing.conductor import TimingSession, conduct
from analysis.timing.protocol import INVALID, ROUGH, VALID
from analysis.timing.series import Series, TakenTurn
from analysis.timing.subjects import COMPILED, FACTORS, Finalist, Subject, catalogue
from analysis.timing.timing_settings import TimingSettings
from analysis.timing.worker import SeriesPlan, SubjectCheck, SubjectError, Turn
from tests.analysis.timing.in_process import RATES, InProcess
from tests.trainables.affine_pipelines import map_of
from tests.trainables.made_up import photographs
from tests.trainables.pipelines import peoples
from trainables.data.examples import Examples, as_float
from trainables.errors import UsageError
from trainables.pipelines.calling import Calls
from trainables.tasks import RECORDED, STUDY, Task

OWN = "tests.analysis.timing.own_subjects"
PIPELINE = "torchvision uint8"
SIZES = (1, 2, 5, 20)
SERIES = ["subject", "batch_size"]
PROCESSES, TURNS = 2, 4


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
    """No subject has a process, nothing disturbs, and a result is there after the fewest rounds."""
    with pytest.MonkeyPatch.context() as patch:
        InProcess.started, InProcess.closed, InProcess.calls = [], [], []
        patch.setattr(conductor, "SubjectProcess", InProcess)
        patch.setattr(conductor, "close_all", InProcess.closed.extend)
        patch.setattr(series_module, "estimate_verdict", lambda _: VALID)
        patch.setattr(machine, "other_load", lambda *_: 0.0)
        patch.setattr(protocol, "PASS_SEC", 1e-4)
        for module in (protocol, conductor, series_module):
            patch.setattr(module, "PROCESSES", PROCESSES)
        for module in (protocol, conductor):
            patch.setattr(module, "TURNS", TURNS)
        for module in (protocol, worker):
            patch.setattr(module, "STIR_SEC", 0.0)
            patch.setattr(module, "WARM_SEC", 0.0)
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn, and each warm-up, takes an eighth of a second."""
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) / 8)
    monkeypatch.setattr(conductor, "time", clock)


@pytest.fixture
def forgotten() -> None:
    """What earlier tests called."""
    InProcess.started.clear()
    InProcess.calls.clear()
    InProcess.closed.clear()


@pytest.fixture(scope="module")
def examples() -> Examples:
    return replace(photographs(20), source="cifar10")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory, examples: Examples) -> Sessions:
    """The first with a function of one's own, the last with what has to be left out."""
    storage = tmp_path_factory.mktemp("sessions")
    right, slow = f"{OWN}:right", f"{OWN}:too_slow"
    made = Sessions(storage, [], [], [])
    for seed, own, finalists, only, sizes in (
        (5, (right,), [], (PIPELINE, right, FACTORS), SIZES),
        (
            0,
            (right, slow),
            [Finalist(7, "separable", "no/such.safetensors")],
            (right, slow, "trial 7"),
            (1, 20),
        ),
    ):
        settings = TimingSettings(
            subject=own,
            only=only,
            devices=("cpu",),
            batch_sizes=sizes,
            series_sec=1.5,  # the turns of `slow` would take longer
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


def turns_of(phase: Sequence[tuple[str, str, int]]) -> list[tuple[str, int]]:
    return [(name, size) for method, name, size in phase if method == "turn"]


def phases() -> list[list[tuple[str, str, int]]]:
    """Calls from one warm-up of all series to the next: rotations of the same series."""
    found: list[list[tuple[str, str, int]]] = []
    before = "turn"
    for call in InProcess.calls:
        if (before, call[0]) == ("turn", "warm_up"):
            found.append([])
        found[-1].append(call)
        before = call[0]
    return found


def timed(
    examples: Examples, directory: Path, *only: str, sizes: tuple[int, ...] = (1, 5, 20)
) -> tuple[pd.DataFrame, list[str]]:
    """The turns of these subjects, and what was told."""
    settings = TimingSettings(only=only, devices=("cpu",), batch_sizes=sizes)
    console = Told()
    subjects = settings.subjects(STUDY)
    rows = conduct(settings, subjects, examples, {}, directory, "run", console)
    return measured(rows), console.lines


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("block", [5, 1])
def test_the_reference_stands_next_to_each_series_of_its_batch_size_in_every_rotation(
    tmp_path: Path, examples: Examples, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "BLOCK", block)
    others = ("torchvision float32", "matrix, dense", FACTORS)
    timed(examples, tmp_path, PIPELINE, *others)
    seen = 0
    for phase in phases():
        turns = turns_of(phase)
        for place, (name, size) in enumerate(turns):
            if name != PIPELINE:
                assert (PIPELINE, size) in turns[max(place - 1, 0) : place + 2]
                seen += 1
    assert seen == PROCESSES * TURNS * len(others) * 3


@pytest.mark.usefixtures("forgotten")
def test_single_images_are_timed_apart_and_those_of_the_pipeline_among_the_batches_again(
    tmp_path: Path, examples: Examples
) -> None:
    timed(examples, tmp_path, PIPELINE, FACTORS)
    sizes = [{size for name, size in turns_of(phase) if name == FACTORS} for phase in phases()]
    assert sizes == [{1}, {5, 20}] * PROCESSES
    for phase in phases():
        assert (PIPELINE, 1) in turns_of(phase)


@pytest.mark.usefixtures("forgotten")
def test_each_round_has_new_processes_and_each_series_its_turns_in_rotations(
    tmp_path: Path, examples: Examples
) -> None:
    turns, _ = timed(examples, tmp_path, PIPELINE, FACTORS, sizes=(5, 20))
    names = [process.subject.name for process in InProcess.started]
    assert {name: names.count(name) for name in names} == {
        PIPELINE: 1 + PROCESSES,  # the first checks
        FACTORS: 1 + PROCESSES,
    }
    assert InProcess.started == sorted(InProcess.closed, key=InProcess.started.index)
    for _, series in turns[turns.subject == FACTORS].groupby("batch_size"):
        assert list(series.turn) == list(range(1, PROCESSES * TURNS + 1))
        assert list(series.process) == sorted([*range(1, PROCESSES + 1)] * TURNS)
    rotation = turns_of(phases()[0])[: len(turns_of(phases()[0])) // TURNS]
    assert {FACTORS} < {name for name, _ in rotation}
    assert {size for _, size in rotation} == {5, 20}, "all series have a turn, then all again"


@pytest.mark.usefixtures("forgotten")
def test_a_fifth_of_the_turns_time_the_device_alone_too(tmp_path: Path, examples: Examples) -> None:
    turns, _ = timed(examples, tmp_path, FACTORS, sizes=(20,))
    assert turns.device_sec.notna().tolist() == [True, *[False] * (TURNS - 1)] * PROCESSES


def test_rounds_go_on_until_the_result_is_there(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        series_module, "estimate_verdict", lambda values: VALID if len(values) >= 4 else INVALID
    )
    turns, _ = timed(examples, tmp_path, FACTORS, sizes=(20,))
    assert turns.process.max() == 4


@pytest.mark.usefixtures("clock")
def test_rounds_end_without_a_result_when_the_time_of_the_series_is_over(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "estimate_verdict", lambda _: INVALID)
    turns, _ = timed(examples, tmp_path, FACTORS, sizes=(20,))
    assert turns.process.max() == 4, "each takes 5/8 s of 2.5 s"
    assert set(turns.process.value_counts()) == {TURNS}


def turn(sec: float) -> Turn:
    return Turn(
        device_sec=None,
        end_to_end_sec=sec,
        overlapped_sec=None,
        device_gaps=False,
        throttled=False,
        cpu_sec=0.0,
    )


CHECKED = SubjectCheck(0.0, 1.0, 1.0, "", "contiguous", None, None, None)


def series_with(
    *by_process: Sequence[float], name: str = FACTORS, disturbed: bool = False
) -> Series:
    """A series at batch 5 with these turns of each process; each turn is in its own rotation."""
    subject = Subject(name=name, kind="matrix", engine="factors", device="cpu")
    if name == PIPELINE:
        subject = Subject(name=name, kind="pipeline", engine="torchvision", device="cpu")
    found = Series(subject, 5, 1, TURNS, CHECKED, SeriesPlan(1, 0.1, 0.1), RATES)
    for process, seconds in enumerate(by_process, start=1):
        for sec in seconds:
            rotation = len(found.turns)
            found.turns.append(TakenTurn(process, rotation, turn(sec), 0.0, disturbed))
    return found


def test_a_series_counts_the_median_of_each_process() -> None:
    series = series_with([1.0, 2.0, 9.0], [5.0, 5.0, 7.0])
    assert series.values() == [2.0, 5.0]


def test_a_series_differs_from_the_reference_by_turns_of_the_same_rotation() -> None:
    """The machine slows down by half from one turn to the next."""
    reference = series_with([1.0, 2.0, 4.0], [8.0, 16.0, 32.0], name=PIPELINE)
    assert series_with([3.0, 6.0, 12.0], [24.0, 48.0, 96.0]).ratios(reference) == [3.0, 3.0]


def test_a_series_whose_batches_take_long_has_fewer_turns_in_each_process(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        conductor,
        "turns_per_process",
        lambda batch_sec, series_sec: 1 if series_sec == 2 else TURNS,
    )
    settings = TimingSettings(
        only=(PIPELINE, FACTORS), devices=("cpu",), batch_sizes=(20,), series_sec=2.0
    )
    subjects = settings.subjects(STUDY)
    rows = conduct(settings, subjects, examples, {}, tmp_path, "r", Told())
    turns = [row["process"] for row in rows if row.get("turn") and row["subject"] == FACTORS]
    assert turns == list(range(1, PROCESSES + 1))


def test_what_is_compiled_is_compiled_for_each_batch_size_before_that_several_at_a_time(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = Barrier(2)
    compiled: list[tuple[str, list[int]]] = []
    done: list[str] = []

    class Compiling(InProcess):
        def call(self, method: str, *arguments: Any) -> Any:
            if method == "compile":
                at_once.wait(timeout=300)  # alone it would wait in vain
                compiled.append((self.subject.name, *arguments))
                return None
            if method == "plan":
                done.append(self.subject.name)
                assert len(compiled) == 2
            return super().call(method, *arguments)

    monkeypatch.setattr(conductor, "SubjectProcess", Compiling)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setitem(engines.ENGINES, COMPILED, engines.ENGINES["eager"])
    settings = TimingSettings(only=(PIPELINE, "*, compiled"), devices=("cpu",), batch_sizes=(5, 20))
    subjects = [one for one in settings.subjects(STUDY) if one.name != "cnn, compiled"]
    conduct(settings, subjects, examples, {}, tmp_path, "run", Told())
    names = ["fc, compiled", "separable, compiled"]
    assert sorted(compiled) == [(name, [5, 20]) for name in names]
    assert set(done) == {PIPELINE, *names}


@pytest.fixture
def by_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts by the interval, as they are."""
    monkeypatch.setattr(series_module, "estimate_verdict", protocol.estimate_verdict)


@pytest.mark.usefixtures("by_interval")
def test_a_series_is_open_until_its_median_or_its_ratio_is_valid() -> None:
    drift = [[1.0], [2.0], [4.0]]
    reference = series_with(*drift, name=PIPELINE)
    assert not series_with([1.0], [1.0], [1.0]).is_open(9.0, [])
    assert series_with(*drift).is_open(9.0, [])
    assert not series_with([2.0], [4.0], [8.0]).is_open(9.0, [reference])
    assert reference.is_open(9.0, [reference]), "one is no reference to itself"
    other_size = replace(reference, batch_size=20)
    assert series_with(*drift).is_open(9.0, [other_size])


@pytest.mark.usefixtures("by_interval")
def test_a_series_with_too_few_processes_stays_open_for_twice_its_time_at_most() -> None:
    few = series_with([1.0])
    disturbed = series_with([1.0], [1.0], [1.0], disturbed=True)
    for series in (few, disturbed):
        for spent_sec, is_open in ((0.0, True), (3.0, True), (3.9, True), (4.0, False)):
            series.spent_sec = spent_sec
            assert series.is_open(2.0, []) is is_open
    wide = series_with([1.0], [2.0], [4.0])
    wide.spent_sec = 2.0
    assert not wide.is_open(2.0, [])


def test_a_series_that_ended_is_not_open() -> None:
    series = series_with([1.0])
    series.fault = "it ended"
    assert not series.is_open(9.0, [])


def test_the_order_of_turns_is_drawn_from_the_seed_and_anew_in_each_rotation(
    tmp_path: Path,
) -> None:
    def orders(seed: int) -> list[list[str]]:
        session = TimingSession(
            TimingSettings(seed=seed, devices=("cpu",)), tmp_path, "run", tmp_path, Told()
        )
        session.series = [series_with(name=name) for name in (PIPELINE, *"abcdefgh")]
        given = session.series, session._references()
        return [[one.subject.name for one in session._order(*given)] for _ in range(3)]

    assert orders(5) == orders(5) != orders(0)
    first, second, third = orders(5)
    assert first != second != third
    assert sorted(set(first)) == sorted([PIPELINE, *"abcdefgh"])


@pytest.mark.usefixtures("clock")
def test_a_disturbed_turn_does_not_count_and_with_too_few_others_the_series_is_invalid(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(machine, "other_load", lambda *_: 1.5)
    settings = TimingSettings(only=(FACTORS,), devices=("cpu",), batch_sizes=(1, 20))
    subjects = settings.subjects(STUDY)
    turns = measured(conduct(settings, subjects, examples, {}, tmp_path, "run", Told()))
    singles, batches = turns[turns.batch_size == 1], turns[turns.batch_size == 20]
    assert set(batches.disturbed) == {True}
    assert set(batches.verdict) == {INVALID}
    (reason,) = set(batches.reason)
    assert reason == (
        f"other work took its cores in {len(batches)} turns (1.5 cores in the mean), and only 0 of "
        f"{PROCESSES} processes have one that counts: end that work, or give --threads"
    )
    assert set(singles.disturbed) == {True}, "1 and 1.5 are more than two cores and a tenth"


@pytest.mark.usefixtures("clock")
def test_a_single_image_wants_one_core_alone(
    tmp_path: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(machine, "other_load", lambda *_: 1.0)
    turns, _ = timed(examples, tmp_path, FACTORS, sizes=(1, 20))
    disturbed = turns.groupby("batch_size").disturbed.unique()
    assert {size: list(found) for size, found in disturbed.items()} == {1: [False], 20: [True]}


class Failing(InProcess):
    """Fails as a process does, in the round that `fails` names."""

    fails: str

    def start(self, function: str, images_file: Path) -> Any:
        if self.fails == "build" and self._is_of_round_2():
            raise SubjectError("its process died")
        return super().start(function, images_file)

    def call(self, method: str, *arguments: Any) -> Any:
        if self.fails == method and self._is_of_round_2():
            raise SubjectError("its process died")
        return super().call(method, *arguments)

    def _is_of_round_2(self) -> bool:
        mine = [one for one in self.started if one.subject == self.subject]
        return self.subject.name == FACTORS and len(mine) == 3  # check, round 1, round 2


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("fails", "fault"),
    [
        ("build", "its next process failed: its process died"),
        ("warm_up", "it ended in round 2: its process died"),
        ("turn", "it ended in round 2: its process died"),
    ],
)
def test_a_subject_that_dies_in_round_2_ends_its_series_and_the_rest_goes_on(
    fails: str,
    fault: str,
    tmp_path: Path,
    examples: Examples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conductor, "SubjectProcess", Failing)
    monkeypatch.setattr(Failing, "fails", fails, raising=False)
    turns, lines = timed(examples, tmp_path, PIPELINE, FACTORS, "matrix, dense", sizes=(20,))
    ended, dense = (turns[turns.subject == name] for name in (FACTORS, "matrix, dense"))
    assert set(ended.process) == {1}
    assert set(zip(ended.verdict, ended.reason, strict=True)) == {(INVALID, fault)}
    assert set(dense.process) == {1, 2}
    assert not dense.reason.str.contains("ended").any()
    assert any(line.endswith(fault) or line.endswith("ended: its process died") for line in lines)


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
            assert series.turn.is_monotonic_increasing
            assert len(set(series.verdict)) == 1
            assert set(series.verdict) <= {VALID, ROUGH, INVALID}
            assert (series.reason.iloc[0] == "") == (series.verdict.iloc[0] == "valid")


def test_what_can_not_be_built_is_left_out_with_its_reason_and_the_rest_is_measured(
    sessions: Sessions,
) -> None:
    (line,) = (line for line in sessions.lines[1] if line.startswith("trial 7"))
    assert line.startswith("trial 7 on cpu is left out: no/such.safetensors can't be read")
    assert set(measured(sessions.rows[1]).subject) == {f"{OWN}:right"}
    assert not [line for line in sessions.lines[0] if "left out" in line]


def test_what_is_too_slow_is_left_out_with_the_time_that_would_do(sessions: Sessions) -> None:
    lines = [line for line in sessions.lines[1] if ":too_slow at" in line]
    assert len(lines) == 2
    assert re.fullmatch(
        rf"{OWN}:too_slow at batch 1 is left out: one batch takes [\d.]+ s; "
        r"python -m analysis\.timing … --series-sec [1-9]\d* would measure it",
        lines[0],
    )


def test_the_cards_of_earlier_sessions_stay(sessions: Sessions) -> None:
    assert list(read(sessions.storage / "tables", "cards", "run").subject) == ["matrix, factors"]


@pytest.mark.usefixtures("sessions")
def test_every_process_that_was_started_is_closed() -> None:
    assert {id(one) for one in InProcess.closed} == {id(one) for one in InProcess.started}
    names = [process.subject.name for process in InProcess.started]
    assert names.count(f"{OWN}:right") == 2 * (1 + PROCESSES)
    assert names.count(f"{OWN}:too_slow") == 1  # it is left out


def test_subjects_have_a_thread_a_core_unless_told_otherwise(sessions: Sessions) -> None:
    assert {process.threads for process in InProcess.started} == {machine.cores()}
    rows = measured(sessions.rows[0])
    assert set(rows.threads[rows.batch_size > 1]) == {machine.cores()}
    assert set(rows.threads[rows.batch_size == 1]) == {1}


def settings_for(function: str, **more: object) -> TimingSettings:
    name = f"{OWN}:{function}"
    return TimingSettings(subject=(name,), only=(name,), devices=("cpu",), **more)


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
    assert {id(one) for one in InProcess.closed} >= {id(one) for one in InProcess.started}


def test_what_takes_one_image_at_a_time_is_measured_at_batch_one(
    tmp_path: Path, examples: Examples
) -> None:
    settings = TimingSettings(only=("Pillow",), devices=("cpu",), batch_sizes=(20,))
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


OWN_SETTINGS = TimingSettings(devices=("cpu",), batch_sizes=(1, 20))


def test_the_studys_numbers_stand_beside_its_own_task_and_images_only(
    tmp_path: Path, examples: Examples
) -> None:
    photos = replace(examples, source="photos")
    settings = TimingSettings(only=("Pillow",), devices=("cpu",))
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
