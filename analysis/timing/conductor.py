"""One session of measurements: prepare every subject, warm up, then rounds of A B C … in an order by the seed."""

import random
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file

from analysis.console import Console, duration
from analysis.tables.files import GrowingTable, Row, rows_of
from analysis.timing import machine
from analysis.timing.limits import Rates
from analysis.timing.process import SubjectProcess, close_all
from analysis.timing.protocol import Conditions, judge
from analysis.timing.record import Series, card_row, session_facts, study_rows, timing_row
from analysis.timing.subjects import Subject
from analysis.timing.timing_settings import TimingConfig
from analysis.timing.worker import Pass, SubjectCheck, SubjectError
from trainables.data.cache_dir import cache_directory
from trainables.pipelines.study import reference
from trainables.pipelines.targets import make_targets

_WITHOUT_INTERRUPTS = (signal.SIG_BLOCK, {signal.SIGINT})


def conduct(config: TimingConfig, subjects: list[Subject], console: Console) -> list[Row]:
    """Measure all subjects; the rows of this session, also written to the tables while they are made.

    Raises ValueError when a subject of the person's own does not work, or when another measurement is under
    way on this machine.
    """
    with _alone(), _images_file(config) as file, TimingSession(config, console) as session:
        session.prepare(subjects, file)
        session.warm_up()
        session.measure()
        return session.rows


class TimingSession:
    """The processes of all subjects, and the table that their passes go to."""

    def __init__(self, config: TimingConfig, console: Console) -> None:
        self.config = config
        self.console = console
        earlier = rows_of(config.tables, "timings", config.run)
        self.number = max((row["session"] for row in earlier), default=0) + 1
        self.table = GrowingTable(config.tables, "timings", config.run, earlier)
        self.facts = session_facts(config.threads, config.seed) | {"session": self.number}
        self.processes: dict[Subject, SubjectProcess] = {}
        self.checked: dict[Subject, SubjectCheck] = {}
        self.series: list[Series] = []
        self._faults: dict[tuple[Subject, int], str] = {}
        self._measured: dict[tuple[Subject, int], list[Pass]] = {}

    def __enter__(self) -> "TimingSession":
        return self

    def __exit__(self, *_: object) -> None:
        close_all(self.processes.values())

    @property
    def rows(self) -> list[Row]:
        """This session's."""
        return [row for row in self.table.rows if row["session"] == self.number]

    def prepare(self, subjects: list[Subject], images_file: Path) -> None:
        """Start, build and check all subjects, several at a time: nothing is timed yet."""
        for subject in subjects:
            self.processes[subject] = SubjectProcess(subject, self.config.threads)

        def prepare_one(subject: Subject) -> tuple[Subject, SubjectCheck | SubjectError]:
            try:
                return subject, self.processes[subject].prepare(images_file)
            except SubjectError as error:
                return subject, error

        # Processes start with the signal mask of the thread that starts them: Ctrl-C is for this process alone
        pool = ThreadPoolExecutor(
            machine.cores(), initializer=signal.pthread_sigmask, initargs=_WITHOUT_INTERRUPTS
        )
        try:
            for done, (subject, outcome) in enumerate(pool.map(prepare_one, subjects), start=1):
                self.console.progress(f"checked {done} of {len(subjects)} subjects: {subject.name}")
                if isinstance(outcome, SubjectError):
                    self._leave_out(subject, outcome)
                else:
                    self.checked[subject] = outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        where = (self.config.tables, "cards", self.config.run)
        cards = GrowingTable(*where, rows_of(*where))
        for subject, checked in self.checked.items():
            if checked.card is not None:
                cards.put(card_row(subject, checked.card))
        cards.publish()

    def warm_up(self) -> None:
        """Each series by itself until its times agree; those that would take too long are left out."""
        rates: dict[tuple[str, str], Rates] = {}
        limit_sec = self.config.series_sec / self.config.passes / 2  # a pass is timed twice
        for subject, checked in self.checked.items():
            self.console.progress(f"warming up {subject.name} on {subject.device}")
            process = self.processes[subject]
            kind = (subject.device, "bfloat16" if subject.precision == "bfloat16" else "float32")
            for size in self.config.batch_sizes[:1] if subject.single else self.config.batch_sizes:
                try:
                    rates[kind] = rates.get(kind) or process.call("rates")
                    plan = process.call("warm_up", size, limit_sec)
                except SubjectError as error:
                    self._leave_out(subject, error, f" at batch {size}")
                    continue
                if plan.images:
                    self.series.append(Series(subject, size, checked, plan, rates[kind]))
                else:
                    self._too_slow(subject, size, plan.batch_sec)

    def measure(self) -> None:
        """Rounds over all series in one order, so that whatever drifts hits all alike; then the verdicts."""
        order = random.Random(self.config.seed).sample(self.series, len(self.series))
        for row in study_rows():
            self.table.put({"session": self.number, **row})
        try:
            for number in range(1, self.config.passes + 1):
                for series in order:
                    self._progress(number, series)
                    self._measure_one(series, number)
                self.table.publish_if_due()
            for series in order:
                self._judge(series)
        finally:
            self.table.publish()

    def _measure_one(self, series: Series, number: int) -> None:
        key = (series.subject, series.batch_size)
        if key in self._faults:
            return
        try:
            measured: Pass = self.processes[series.subject].call("measure", series.batch_size)
        except SubjectError as error:
            self._faults[key] = f"it ended in pass {number}: {error}"
            self.console.line(
                f"{series.subject.name} at batch {series.batch_size}: {self._faults[key]}",
                style="yellow",
            )
            return
        own = sum(subject.device == "cuda" for subject in self.processes)
        measured = replace(measured, gpu_processes=max(0, measured.gpu_processes - own))
        self._measured.setdefault(key, []).append(measured)
        self.table.put(self.facts | timing_row(series, number, measured))

    def _judge(self, series: Series) -> None:
        key = (series.subject, series.batch_size)
        passes = self._measured.get(key, [])
        if not passes:
            return
        on_cpu = series.subject.device == "cpu"
        conditions = Conditions(
            cores=machine.cores(),
            threads=self.config.threads if on_cpu and not series.subject.single else 1,
            other_load=max(
                0.0, sum(one.other_busy_sec for one in passes) / sum(one.turn_sec for one in passes)
            ),
            throttled=any(one.throttled for one in passes),
            gpu_processes=max(one.gpu_processes for one in passes),
            settled=series.plan.warm_up.settled,
            gaps=any(one.device_gaps for one in passes),
            fault=self._faults.get(key, series.checked.differs),
        )
        times = [
            [getattr(one, kind) for one in passes] for kind in ("device_sec", "end_to_end_sec")
        ]
        verdict, reason = judge(times, conditions)
        mine = (series.subject.name, series.subject.device, series.batch_size)
        for row in self.rows:
            if (row["subject"], row["device"], row["batch_size"]) == mine:
                self.table.put(row | {"verdict": verdict, "reason": reason})

    def _progress(self, number: int, series: Series) -> None:
        left = sum(2 * one.plan.batch_sec * one.plan.images / one.batch_size for one in self.series)
        self.console.progress(
            f"pass {number} of {self.config.passes}: {series.subject.name}, batch {series.batch_size}; "
            f"about {duration(left * (self.config.passes - number + 1))} left"
        )

    def _leave_out(self, subject: Subject, error: SubjectError, where: str = "") -> None:
        """A person's own function is a mistake to mend; the rest can be measured without this one."""
        if subject.kind == "own":
            raise ValueError(f"--subject {subject.name} can't be timed{where}: {error}")
        self.console.line(
            f"{subject.name} on {subject.device} is left out{where}: {error}", style="yellow"
        )

    def _too_slow(self, subject: Subject, batch_size: int, batch_sec: float) -> None:
        needed = 2 * batch_sec * self.config.passes * 1.2
        self.console.line(
            f"{subject.name} at batch {batch_size} is left out: one batch takes {batch_sec:.2g} s; "
            f"python -m analysis.timing … --series-sec {needed:.0f} would measure it",
            style="yellow",
        )


@contextmanager
def _alone() -> Iterator[None]:
    """Two measurements on one machine would both be worthless."""
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / "timing.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            "another timing is under way on this machine, and both would be wrong: wait for it"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _images_file(config: TimingConfig) -> Iterator[Path]:
    """Images and their truths, where every process can map them."""
    images = config.images.images.contiguous()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        path = Path(directory) / "images.safetensors"
        try:
            save_file({"images": images, "truths": make_targets(reference, images)}, path)
        except SafetensorError as error:
            raise OSError(f"{directory}: {error}") from error
        yield path
