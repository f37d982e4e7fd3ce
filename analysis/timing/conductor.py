"""One session of measurements: check every subject, then rounds in which each has a new process."""

import json
import math
import multiprocessing
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from analysis.console import Console, duration
from analysis.tables.files import GrowingTable, Row, rows_of
from analysis.tables.provenance import code_version, cpu_model, versions
from analysis.timing import machine, worker
from analysis.timing.limits import Card, Rates, image_bytes, limit_sec
from analysis.timing.protocol import (
    PROCESSES,
    TAIL_CALLS,
    TURNS,
    VALID,
    estimate_verdict,
    is_disturbed,
    judge,
    least_series_sec,
)
from analysis.timing.subjects import PIPELINE, STEADY, Subject
from analysis.timing.timing_settings import TimingSettings
from analysis.timing.worker import Circumstances, SeriesPlan, SubjectCheck, SubjectError, Turn
from trainables.data import cifar10
from trainables.data.cache import cache_directory
from trainables.data.examples import Examples
from trainables.errors import UsageError
from trainables.tasks import RECORDED, STUDY

BLOCK = 5  # subjects that have processes at the same time, beside the pipeline's
DEVICE_EVERY = 5  # turns: in one of them the pass over inputs on the device is timed too
_WITHOUT_INTERRUPTS = (signal.SIG_BLOCK, {signal.SIGINT})
UNKNOWN = (
    "The pipeline was recorded, so its own time is unknown: analysis.timing measures it if you "
    "give it as --subject package.module:function or path/file.py:function."
)
STUDY_IMAGES = 10_000
SUBJECT_COLUMNS = ("kind", "model", "trial", "engine", "precision", "device", "environment")
STUDY_SEC = {  # by the reference study: subject, its model here, device → seconds for all images
    ("study: transforms image by image", None, "cpu"): 0.754,
    ("study: fc", "fc", "cuda"): 0.140,
    ("study: fc", "fc", "cpu"): 0.131,
    ("study: cnn", "cnn", "cuda"): 0.587,
    ("study: cnn", "cnn", "cpu"): 2.90,
}


@dataclass(frozen=True)
class TakenTurn:
    """A turn, and when it was.

    Attributes:
        process: The number of the round, in which the subject had a new process.
        rotation: In which all series of a block had a turn, one right after the other.
        other_load: Cores that other work kept busy meanwhile.
        disturbed: Whether that took cores which the subject wanted: then it does not count.
    """

    process: int
    rotation: int
    turn: Turn
    other_load: float
    disturbed: bool


@dataclass
class Series:
    """One subject at one batch size, and what was measured of it up to now.

    Attributes:
        threads: CPU threads that the subject uses.
        spent_sec: What all its turns took.
        fault: Why it ended before its last turn.
    """

    subject: Subject
    batch_size: int
    threads: int
    checked: SubjectCheck
    plan: SeriesPlan
    rates: Rates
    circumstances: list[Circumstances] = field(default_factory=list)
    turns: list[TakenTurn] = field(default_factory=list)
    spent_sec: float = 0.0
    fault: str = ""

    @property
    def images(self) -> int:
        """Images of a pass."""
        return self.plan.calls * self.batch_size

    def counted(self) -> list[TakenTurn]:
        """List the turns that other work did not disturb."""
        return [one for one in self.turns if not one.disturbed]

    def values(self) -> list[float]:
        """List the seconds of a pass, one of each process: of its turns that count, the median."""
        return _by_process((one.process, one.turn.end_to_end_sec) for one in self.counted())

    def ratios(self, reference: "Series") -> list[float]:
        """List by how much it differs from a reference, one of each process: of pairs, the median.

        A pair has its turns in one rotation.
        """
        others = {one.rotation: one.turn.end_to_end_sec for one in reference.counted()}
        return _by_process(
            (one.process, one.turn.end_to_end_sec / others[one.rotation])
            for one in self.counted()
            if one.rotation in others
        )

    def is_open(self, series_sec: float, references: Sequence["Series"]) -> bool:
        """Say whether more turns may bring a better verdict, within its time.

        Args:
            series_sec: That time; twice of it where other work disturbs.
            references: The pipeline's series.
        """
        if self.fault or self.spent_sec >= 2 * series_sec:
            return False
        values = self.values()
        if len(values) < PROCESSES:
            return True
        same = [one for one in references if one.batch_size == self.batch_size and one is not self]
        found = [estimate_verdict(values)] + [estimate_verdict(self.ratios(one)) for one in same]
        return self.spent_sec < series_sec and VALID not in found


def _by_process(values: Iterable[tuple[int, float]]) -> list[float]:
    """Return the median of each process, from pairs of its number and a value."""
    found: dict[int, list[float]] = {}
    for process, value in values:
        found.setdefault(process, []).append(value)
    return [statistics.median(one) for one in found.values()]


def conduct(
    settings: TimingSettings,
    subjects: list[Subject],
    examples: Examples,
    affine: Mapping[str, Tensor],
    tables: Path,
    run: str,
    console: Console,
) -> list[Row]:
    """Measure all subjects, and return the rows of this session.

    Args:
        settings: How often, in which batch sizes, with which threads and seed.
        subjects: Who is measured, each in a process of its own.
        examples: What a pass goes over, and what the pipeline makes of it.
        affine: The map of a person's own pipeline, as `Splits.affine` has it.
        tables: The directory of tables; the rows are written there while they are made.
        run: The run that they belong to.
        console: For progress, and for what is left out.

    Raises:
        UsageError: A subject of the person's own does not work, a batch is larger than there are
            images, or another measurement is under way on this machine.
        OSError: The tables or the images could not be written.
    """
    for device in {one.device for one in subjects}:
        settings.sizes(len(examples), device)  # a size that is too large is told first
    if all(one.task.pipeline == RECORDED and one.kind != "own" for one in subjects):
        console.line(UNKNOWN)
    with _alone(), _on_disk(examples, affine) as file:
        session = TimingSession(settings, tables, run, file, console)
        try:
            session.check(subjects, len(examples))
            if examples.source == cifar10.NAME and all(one.task == STUDY for one in subjects):
                session.quote(study_rows())
            session.measure()
        finally:
            session.close()
        return session.rows


class TimingSession:
    """The rounds of a session, and the table that their turns go to."""

    def __init__(
        self, settings: TimingSettings, tables: Path, run: str, images_file: Path, console: Console
    ) -> None:
        self.settings = settings
        self.threads = settings.threads or machine.cores()
        self.images_file = images_file
        self.console = console
        earlier = rows_of(tables, "timings", run)
        self.number = max((row["session"] for row in earlier), default=0) + 1
        self.table = GrowingTable(tables, "timings", run, earlier)
        self.cards = GrowingTable(tables, "cards", run, rows_of(tables, "cards", run))
        self.facts = session_facts(self.threads, settings.seed) | {"session": self.number}
        self.series: list[Series] = []
        self._rotation = 0
        self._random = random.Random(settings.seed)
        self._rates: dict[tuple[str, str], Rates] = {}
        self._processes: dict[Subject, SubjectProcess] = {}

    @property
    def rows(self) -> list[Row]:
        """The rows of this session alone."""
        return [row for row in self.table.rows if row["session"] == self.number]

    def quote(self, rows: list[Row]) -> None:
        """Put rows into the table that nobody measured here, beside those that will be."""
        for row in rows if self.series else ():
            self.table.put({"session": self.number, **row})

    def check(self, subjects: list[Subject], images: int) -> None:
        """Build and check all subjects, several at a time, then call each at every size.

        Args:
            subjects: Who is measured.
            images: That there are.
        """
        done = 0
        for block in _blocks(subjects):
            for subject, checked in self._started(block, "build_and_check"):
                done += 1
                self.console.progress(f"checked {done} of {len(subjects)} subjects: {subject.name}")
                if isinstance(checked, SubjectError):
                    self._leave_out(subject, checked)
                    continue
                if checked.card is not None:
                    self.cards.put(card_row(subject, checked.card))
                sizes = self.settings.sizes(images, subject.device)
                for size in [1] if subject.single else sizes:
                    self._plan(subject, checked, size)
            self.close()
        self.cards.publish()

    def _plan(self, subject: Subject, checked: SubjectCheck, size: int) -> None:
        process = self._processes[subject]
        kind = (subject.device, "bfloat16" if subject.precision == "bfloat16" else "float32")
        try:
            rates = self._rates.get(kind) or process.call("rates")
            plan: SeriesPlan = process.call("plan", size)
        except SubjectError as error:
            self._leave_out(subject, error, f" at batch {size}")
            return
        self._rates[kind] = rates
        least_sec = least_series_sec(plan.batch_sec)
        if least_sec <= self.settings.series_sec:
            threads = self.threads if subject.device == "cpu" and size > 1 else 1
            self.series.append(Series(subject, size, threads, checked, plan, rates))
        else:
            self._warn(
                f"{subject.name} at batch {size} is left out: one batch takes "
                f"{plan.batch_sec:.2g} s; python -m analysis.timing … "
                f"--series-sec {math.ceil(1.2 * least_sec)} would measure it"
            )

    def measure(self) -> None:
        """Go on with rounds until every series has a result or its time is over."""
        started = time.monotonic()
        number = 0
        try:
            while still_open := self._open():
                number += 1
                self._round(number, still_open, started)
                self.table.publish_if_due()
            for series in self.series:
                if series.turns:
                    self._judge(series)
        finally:
            self.table.publish()

    def _references(self) -> list[Series]:
        """List the series with which all others are compared."""
        return [one for one in self.series if self._is_reference(one) and not one.fault]

    def _open(self) -> list[Series]:
        """List the series that need turns: the references alone only where there are no others."""
        references = self._references()
        others = [one for one in self.series if one not in references] or references
        return [one for one in others if one.is_open(self.settings.series_sec, references)]

    def _round(self, number: int, still_open: list[Series], started: float) -> None:
        """Give each subject a new process, and each open series TURNS turns.

        Subjects come in blocks. All series of a block take turns, and the pipeline's with them: the
        machine itself drifts, and only what is near in time compares.
        """
        references = self._references()
        alone = {one.subject for one in references}
        subjects = list(dict.fromkeys(one.subject for one in still_open))
        self._random.shuffle(subjects)
        self._start(alone)
        try:
            for block in _blocks(subjects):
                self._start([one for one in block if one not in alone])
                series = [one for one in still_open if one.subject in block]
                series += [one for one in references if one not in series]
                names = ", ".join(one.name for one in block)
                self.console.progress(
                    f"round {number}{self._of(number)}: {names}{self._left(number, started)}"
                )
                singles = [one for one in series if one.batch_size == 1]
                batches = [one for one in series if one.batch_size > 1]
                # Apart, since cores that idle while one thread works come back slow
                self._take_turns(singles, number)
                again = [one for one in references if one in singles and batches]
                self._take_turns([*batches, *again], number)
                self.close(keep=alone)
        finally:
            self.close()

    def _take_turns(self, series: list[Series], number: int) -> None:
        """Give each series TURNS turns, in rotations of all."""
        for one in series:
            self._warm_up(one, number)
        for turn in range(TURNS):
            order = self._order(series)
            self._rotate(order, number, with_device=turn % DEVICE_EVERY == 0)

    def _order(self, series: list[Series]) -> list[Series]:
        """Order the turns of a rotation: the reference's next to each at the same batch size.

        The reference is the pipeline, as it is named first. Where it is timed image by image too,
        that has a turn among those of each batch size.
        """
        order: list[Series] = []
        for size in self._random.sample(sizes := _sizes(series), len(sizes)):
            references = [
                one for one in series if self._is_reference(one) and one.batch_size == size
            ]
            others = [one for one in series if one.batch_size == size and one not in references]
            self._random.shuffle(others)
            order += [
                one for one in series if self._is_reference(one) and one.batch_size == 1 < size
            ]
            for start in range(0, max(len(others), 1), 2):
                order += [*others[start : start + 1], *references, *others[start + 1 : start + 2]]
        return order

    def _is_reference(self, series: Series) -> bool:
        """Say whether it is of the pipeline as it is named first, on its device."""
        mine = (one.subject for one in self.series if one.subject.kind == PIPELINE)
        same = (one for one in mine if one.device == series.subject.device)
        return next(same, None) == series.subject

    def _warm_up(self, series: Series, number: int) -> None:
        began = time.monotonic()
        found: Circumstances | None = self._call(series, number, "warm_up", series.batch_size)
        if found is not None:
            own = sum(one.device == "cuda" for one in self._processes)
            others = max(0, found.gpu_processes - own)
            series.circumstances.append(replace(found, gpu_processes=others))
        series.spent_sec += time.monotonic() - began

    def _rotate(self, series: Sequence[Series], number: int, *, with_device: bool) -> None:
        """Give each series a turn, one right after the other."""
        self._rotation += 1
        taken = []
        before = machine.read()
        for one in series:
            began = time.monotonic()
            turn = self._call(one, number, "turn", one.batch_size, one.plan.calls, with_device)
            if turn is not None:
                taken.append((one, turn, datetime.now(UTC)))
            one.spent_sec += time.monotonic() - began
        after = machine.read()
        load = machine.other_load(before, after, sum(turn.cpu_sec for _, turn, _ in taken))
        throttled = after.throttles > before.throttles
        for one, turn, at in taken:
            disturbed = is_disturbed(load, threads=one.threads, cores=machine.cores())
            turn = replace(turn, throttled=turn.throttled or throttled)
            one.turns.append(TakenTurn(number, self._rotation, turn, load, disturbed))
            self.table.put(self.facts | timing_row(one) | {"measured_at": at})

    def _call(self, series: Series, number: int, method: str, *arguments: object) -> Any:
        """Call a method of the series' process. None where the series has ended, or ends now."""
        process = self._processes.get(series.subject)
        if process is None or series.fault:
            return None
        try:
            return process.call(method, *arguments)
        except SubjectError as error:
            series.fault = f"it ended in round {number}: {error}"
            self._warn(f"{series.subject.name} at batch {series.batch_size}: {series.fault}")
            return None

    def _of(self, number: int) -> str:
        return f" of {PROCESSES}" if number <= PROCESSES else ""

    def _left(self, number: int, started: float) -> str:
        """Say what is left of the rounds that there are in any case, from what was done so far."""
        done = number - 1
        if not done or number > PROCESSES:
            return ""
        round_sec = (time.monotonic() - started) / done
        return f"; about {duration(round_sec * (PROCESSES - done))} left"

    def _judge(self, series: Series) -> None:
        turns, counted = series.turns, series.counted()
        verdict, reason = judge(
            series.values(),
            other_load=statistics.fmean(one.other_load for one in turns),
            disturbed=len(turns) - len(counted),
            throttled=any(one.turn.throttled for one in turns),
            gpu_processes=max(one.gpu_processes for one in series.circumstances),
            gaps=any(one.turn.device_gaps for one in turns),
            fault=series.fault or series.checked.differs,
        )
        mine = (series.subject.name, series.subject.device, series.batch_size)
        judged = {"verdict": verdict, "reason": reason} | single_calls(counted)
        for row in self.rows:
            if (row["subject"], row["device"], row["batch_size"]) == mine:
                self.table.put(row | judged)

    def _start(self, subjects: Collection[Subject]) -> None:
        """Start and build processes of subjects. One that fails now ends its series."""
        for subject, outcome in self._started(subjects, "build"):
            if isinstance(outcome, SubjectError):
                for series in self.series:
                    if series.subject == subject:
                        series.fault = f"its next process failed: {outcome}"
                self._warn(f"{subject.name} on {subject.device} ended: {outcome}")

    def _started(
        self, subjects: Collection[Subject], function: str
    ) -> Iterator[tuple[Subject, Any]]:
        """Start a process of each and call a function of `worker` there, several at a time.

        Yields each subject with what that returned, or with its SubjectError.
        """
        for subject in subjects:
            self._processes[subject] = SubjectProcess(
                subject, self.threads, self.images_file.parent
            )

        def start_one(subject: Subject) -> tuple[Subject, Any]:
            try:
                return subject, self._processes[subject].start(function, self.images_file)
            except SubjectError as error:
                return subject, error

        # Processes start with the signal mask of the thread that starts them: Ctrl-C is for this
        # process alone
        pool = ThreadPoolExecutor(
            machine.cores(), initializer=signal.pthread_sigmask, initargs=_WITHOUT_INTERRUPTS
        )
        try:
            yield from list(pool.map(start_one, subjects))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self, keep: Collection[Subject] = ()) -> None:
        """End the processes of all other subjects."""
        ended = [one for one in self._processes if one not in keep]
        close_all([self._processes.pop(one) for one in ended])

    def _leave_out(self, subject: Subject, error: SubjectError, where: str = "") -> None:
        """Go on without a subject; a person's own function is a mistake to mend."""
        if subject.kind == "own":
            raise UsageError(f"--subject {subject.name} can't be timed{where}: {error}")
        self._warn(f"{subject.name} on {subject.device} is left out{where}: {error}")

    def _warn(self, text: str) -> None:
        self.console.line(text, style="yellow")


def _sizes(series: Iterable[Series]) -> list[int]:
    """List the batch sizes, without that of single images where there are others."""
    sizes = list(dict.fromkeys(one.batch_size for one in series))
    return [size for size in sizes if size > 1] or sizes


def _blocks(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """Split subjects into blocks whose processes are there at the same time."""
    starts = range(0, max(len(subjects), 1), BLOCK)
    return [list(subjects[start : start + BLOCK]) for start in starts]


class SubjectProcess:
    """A process of its own for one subject.

    On Linux it is a copy of one that has imported PyTorch and nothing more, `steady`, and so there
    in a moment. In the default environment, and elsewhere, it is started anew.
    """

    def __init__(self, subject: Subject, threads: int, directory: Path) -> None:
        self.subject = subject
        steady = subject.environment == STEADY and sys.platform == "linux"
        context = multiprocessing.get_context("forkserver" if steady else "spawn")
        if steady:
            context.set_forkserver_preload(["analysis.timing.steady"])
        self._pool = ProcessPoolExecutor(
            1, mp_context=context, initializer=worker.enter, initargs=(threads, directory)
        )

    def start(self, function: str, images_file: Path) -> Any:
        """Build the subject by that function of `worker`, and return what it returns."""
        return self._wait_for(getattr(worker, function), self.subject, images_file)

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `worker.Timed` there and wait for its answer."""
        return self._wait_for(worker.call, method, *arguments)

    def _wait_for(self, function: Any, *arguments: object) -> Any:
        """Raises SubjectError when the subject raises anything, or its process dies."""
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise SubjectError("its process died, most likely for want of memory") from None


def close_all(processes: Iterable[SubjectProcess]) -> None:
    """End processes at once: they hold nothing that is to be kept."""
    pools = [process._pool for process in processes]
    running = [child for pool in pools for child in (pool._processes or {}).values()]
    for child in running:
        child.kill()
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    for child in running:
        child.join()


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of this machine: two measurements at once would both be worthless."""
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(directory / "timing.lock").acquire(timeout=0)
    except Timeout:
        raise UsageError(
            "another timing is under way on this machine, and both would be wrong: wait for it"
        ) from None
    with held:
        yield


@contextmanager
def _on_disk(examples: Examples, affine: Mapping[str, Tensor]) -> Iterator[Path]:
    """Write images, targets and the pipeline's map to a file that every process can map."""
    tensors = {"images": examples.images, "targets": examples.targets, **affine}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        path = Path(directory) / "images.safetensors"
        try:
            save_file({name: one.contiguous() for name, one in tensors.items()}, path)
        except SafetensorError as error:
            raise OSError(f"{directory}: {error}") from error
        yield path


def session_facts(threads: int, seed: int) -> Row:
    """Return the columns that are the same in every row of a session."""
    commit, dirty = code_version()
    return {
        "threads": threads,
        "cores": machine.cores(),
        "cpu_model": cpu_model(),
        "versions": json.dumps(versions()),
        "commit": commit,
        "dirty": dirty,
        "host": platform.node(),
        "seed": seed,
    }


def timing_row(series: Series) -> Row:
    """Return the row of a series' last turn."""
    subject, checked, plan, taken = series.subject, series.checked, series.plan, series.turns[-1]
    turn = asdict(taken.turn)
    del turn["cpu_sec"], turn["single_sec"]  # these make columns of the rotation and the series
    return {
        "subject": subject.name,
        **{name: getattr(subject, name) for name in SUBJECT_COLUMNS},
        "memory_format": checked.memory_format,
        "gpu_model": checked.gpu_model,
        "driver": checked.driver,
        "batch_size": series.batch_size,
        "turn": len(series.turns),
        "process": taken.process,
        "images": series.images,
        "first_call_sec": plan.first_call_sec,
        "bus_sec": plan.bus_sec,
        "limit_sec": limit_sec(checked.card, series.rates, series.images, _image_bytes(subject)),
        **asdict(series.rates),
        "max_difference": checked.max_difference,
        "compared_with": "its eager float32 output"
        if subject.is_network
        else "the pipeline in float32",
        "share_95": checked.share_95,
        "share_99": checked.share_99,
        **turn,
        **asdict(series.circumstances[-1]),
        "other_load": taken.other_load,
        "disturbed": taken.disturbed,
        "energy_j": plan.energy_j,
        "power_w": plan.power_w,
    }


def single_calls(turns: Sequence[TakenTurn]) -> Row:
    """Return what single images took in all turns, as services ask: quantiles of the calls.

    The 99 % quantile needs TAIL_CALLS calls.
    """
    each = [one.turn.single_sec for one in turns if one.turn.single_sec is not None]
    if not each:
        return {}
    calls = np.concatenate(each)
    p50, p90, p99 = (float(np.quantile(calls, q)) for q in (0.5, 0.9, 0.99))
    tail = p99 if len(calls) >= TAIL_CALLS else None
    return {"calls": len(calls), "p50_sec": p50, "p90_sec": p90, "p99_sec": tail}


def card_row(subject: Subject, card: Card) -> Row:
    """Return the row of a subject with weights in the table `cards`."""
    return {"subject": subject.name, "bytes_per_image": _image_bytes(subject), **asdict(card)}


def _image_bytes(subject: Subject) -> int:
    return image_bytes(subject.task.input_shape, subject.task.output_shape)


def study_rows() -> list[Row]:
    """Return the reference study's numbers, each the whole of what is known of it."""
    return [
        {
            "subject": name,
            "kind": "study",
            "model": model,
            "engine": "study",
            "device": device,
            "images": STUDY_IMAGES,
            "end_to_end_sec": sec,
            "reason": "quoted; hardware and what the time includes are not known in detail",
        }
        for (name, model, device), sec in STUDY_SEC.items()
    ]
