"""One session of measurements: check every subject, then rounds in which each has a new process."""

import math
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from analysis.console import Console
from analysis.tables.files import GrowingTable, Row, rows_of
from analysis.timing import machine
from analysis.timing.limits import Rates
from analysis.timing.protocol import (
    PROCESSES,
    TURNS,
    is_disturbed,
    judge,
    least_series_sec,
    threads_of,
    turns_per_process,
)
from analysis.timing.series import Series, TakenTurn
from analysis.timing.subject_processes import SubjectProcess, close_all, main_left_out
from analysis.timing.subjects import COMPILED, PIPELINE, Subject
from analysis.timing.timing_rows import (
    card_row,
    session_facts,
    single_calls,
    study_rows,
    timing_row,
)
from analysis.timing.timing_settings import TimingSettings
from analysis.timing.worker import Circumstances, SeriesPlan, SubjectCheck, SubjectError
from analysis.wording import duration
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
        self.facts = session_facts(settings.seed) | {"session": self.number}
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
        # What is compiled last and so together: it takes long, and no more than one core each
        for block in _blocks(sorted(subjects, key=lambda one: one.engine == COMPILED)):
            names = ", ".join(one.name for one in block)
            self.console.progress(f"checked {done} of {len(subjects)} subjects; now {names}")
            outcomes = self._started(block, "build_and_check")
            self._compile(
                [one for one, made in outcomes if not isinstance(made, SubjectError)], images
            )
            for subject, checked in outcomes:
                done += 1
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

    def _compile(self, subjects: Sequence[Subject], images: int) -> None:
        """Compile for each batch size. What fails now fails again when it is planned."""
        compiled = [one for one in subjects if one.engine == COMPILED]
        if compiled:
            self.console.progress(f"compiling {', '.join(one.name for one in compiled)}")
        self._side_by_side(
            compiled,
            lambda one, process: process.call("compile", self.settings.sizes(images, one.device)),
        )

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
        threads = threads_of(size, self.threads)
        turns = turns_per_process(plan.batch_sec, self.settings.series_sec)
        if turns:
            self.series.append(Series(subject, size, threads, turns, checked, plan, rates))
        else:
            least_sec = least_series_sec(plan.batch_sec)
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
            judged = {one.key: self._judged(one) for one in self.series if one.turns}
            for row in self.rows:
                key = row["subject"], row["device"], row["batch_size"]
                self.table.put(row | judged.get(key, {}))
        finally:
            self.table.publish()

    def _references(self) -> list[Series]:
        """List the series with which all others are compared.

        They are of the pipeline, as it is named first on each device.
        """
        pipelines = [one for one in self.series if one.subject.kind == PIPELINE]
        first = {one.subject.device: one.subject for one in reversed(pipelines)}
        named = [one for one in pipelines if one.subject == first[one.subject.device]]
        return [one for one in named if not one.fault]

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
                self._take_turns(singles, references, number)
                again = [one for one in references if one in singles and batches]
                self._take_turns([*batches, *again], references, number)
                self.close(keep=alone)
        finally:
            self.close()

    def _take_turns(self, series: list[Series], references: list[Series], number: int) -> None:
        """Give each series its turns, in rotations of all."""
        for one in series:
            self._warm_up(one, number)
        for turn in range(TURNS):
            due = [one for one in series if turn < one.turns_a_process]
            order = self._order(due, references)
            self._rotate(order, number, with_device=turn % DEVICE_EVERY == 0)

    def _order(self, series: list[Series], references: list[Series]) -> list[Series]:
        """Order the turns of a rotation: the references' next to each at the same batch size.

        Where the pipeline is timed image by image beside batches, that has a turn among those of
        each batch size.
        """
        order: list[Series] = []
        sizes = list(dict.fromkeys(one.batch_size for one in series))
        sizes = [size for size in sizes if size > 1] or sizes
        for size in self._random.sample(sizes, len(sizes)):
            same = [one for one in series if one.batch_size == size]
            beside = [one for one in same if one in references]
            others = [one for one in same if one not in references]
            self._random.shuffle(others)
            order += [one for one in series if one.batch_size == 1 < size]
            for start in range(0, max(len(others), 1), 2):
                order += [*others[start : start + 1], *beside, *others[start + 1 : start + 2]]
        return order

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
            disturbed = is_disturbed(load, threads=one.busy_threads, cores=machine.cores())
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

    def _judged(self, series: Series) -> Row:
        """Return the columns that all turns of a series have in common, once it has ended."""
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
        return {"verdict": verdict, "reason": reason} | single_calls(counted)

    def _start(self, subjects: Collection[Subject]) -> None:
        """Start and build processes of subjects. One that fails now ends its series."""
        for subject, outcome in self._started(subjects, "build"):
            if isinstance(outcome, SubjectError):
                for series in self.series:
                    if series.subject == subject:
                        series.fault = f"its next process failed: {outcome}"
                self._warn(f"{subject.name} on {subject.device} ended: {outcome}")

    def _started(self, subjects: Collection[Subject], function: str) -> list[tuple[Subject, Any]]:
        """Start a process of each and call a function of `worker` there.

        Returns each subject with what that returned, or with its SubjectError.
        """
        for subject in subjects:
            self._processes[subject] = SubjectProcess(
                subject, self.threads, self.images_file.parent
            )
        with main_left_out():
            return self._side_by_side(
                subjects, lambda _, process: process.start(function, self.images_file)
            )

    def _side_by_side(
        self, subjects: Collection[Subject], ask: Callable[[Subject, SubjectProcess], Any]
    ) -> list[tuple[Subject, Any]]:
        """Ask each subject's process, several at a time, and wait for all.

        Returns each subject with the answer, or with its SubjectError.
        """

        def ask_one(subject: Subject) -> tuple[Subject, Any]:
            try:
                return subject, ask(subject, self._processes[subject])
            except SubjectError as error:
                return subject, error

        # Processes start with the signal mask of the thread that starts them: Ctrl-C is for this
        # process alone
        pool = ThreadPoolExecutor(
            machine.cores(), initializer=signal.pthread_sigmask, initargs=_WITHOUT_INTERRUPTS
        )
        try:
            return list(pool.map(ask_one, subjects))
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


def _blocks(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """Split subjects into blocks whose processes are there at the same time."""
    starts = range(0, max(len(subjects), 1), BLOCK)
    return [list(subjects[start : start + BLOCK]) for start in starts]


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
