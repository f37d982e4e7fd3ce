"""One session of measurements: prepare every subject, warm up, then rounds of A B C …"""

import json
import multiprocessing
import platform
import random
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from analysis.console import Console, duration
from analysis.tables.files import GrowingTable, Row, rows_of
from analysis.tables.provenance import code_version, cpu_model, versions
from analysis.timing import machine, worker
from analysis.timing.limits import Card, Rates, image_bytes, limit_sec
from analysis.timing.protocol import judge
from analysis.timing.subjects import Subject
from analysis.timing.timing_settings import TimingSettings
from analysis.timing.worker import Pass, SeriesPlan, SubjectCheck, SubjectError
from trainables.data import cifar10
from trainables.data.cache import cache_directory
from trainables.data.examples import Examples
from trainables.errors import UsageError
from trainables.tasks import RECORDED, STUDY

GRACE_SEC = 5.0
_WITHOUT_INTERRUPTS = (signal.SIG_BLOCK, {signal.SIGINT})
UNKNOWN = (
    "The pipeline was recorded, so its own time is unknown: analysis.timing measures it if you "
    "give it as --subject package.module:function or path/file.py:function."
)
STUDY_IMAGES = 10_000
SUBJECT_COLUMNS = ("kind", "model", "trial", "engine", "precision", "device")
STUDY_SEC = {  # by the reference study: subject, its model here, device → seconds for all images
    ("study: transforms image by image", None, "cpu"): 0.754,
    ("study: fc", "fc", "cuda"): 0.140,
    ("study: fc", "fc", "cpu"): 0.131,
    ("study: cnn", "cnn", "cuda"): 0.587,
    ("study: cnn", "cnn", "cpu"): 2.90,
}


@dataclass
class Series:
    """One subject at one batch size, and what was measured of it up to now.

    Attributes:
        fault: Why it ended before its last pass.
    """

    subject: Subject
    batch_size: int
    checked: SubjectCheck
    plan: SeriesPlan
    rates: Rates
    passes: list[Pass] = field(default_factory=list)
    fault: str = ""


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
    sizes = settings.sizes(len(examples))
    if all(one.task.pipeline == RECORDED and one.kind != "own" for one in subjects):
        console.line(UNKNOWN)
    with _alone(), _on_disk(examples, affine) as file:
        session = TimingSession(settings, tables, run, console)
        try:
            session.prepare(subjects, file)
            session.warm_up(sizes)
            if examples.source == cifar10.NAME and all(one.task == STUDY for one in subjects):
                session.quote(study_rows())
            session.measure()
        finally:
            close_all(session.processes.values())
        return session.rows


class TimingSession:
    """The processes of all subjects, and the table that their passes go to."""

    def __init__(self, settings: TimingSettings, tables: Path, run: str, console: Console) -> None:
        self.settings = settings
        self.threads = settings.threads or machine.cores()
        self.console = console
        earlier = rows_of(tables, "timings", run)
        self.number = max((row["session"] for row in earlier), default=0) + 1
        self.table = GrowingTable(tables, "timings", run, earlier)
        self.cards = GrowingTable(tables, "cards", run, rows_of(tables, "cards", run))
        self.facts = session_facts(self.threads, settings.seed) | {"session": self.number}
        self.processes: dict[Subject, SubjectProcess] = {}
        self.checked: dict[Subject, SubjectCheck] = {}
        self.series: list[Series] = []

    @property
    def rows(self) -> list[Row]:
        """The rows of this session alone."""
        return [row for row in self.table.rows if row["session"] == self.number]

    def quote(self, rows: list[Row]) -> None:
        """Put rows into the table that nobody measured here, beside those that will be."""
        for row in rows if self.series else ():
            self.table.put({"session": self.number, **row})

    def prepare(self, subjects: list[Subject], images_file: Path) -> None:
        """Start, build and check all subjects, several at a time: nothing is timed yet."""
        self.processes = {one: SubjectProcess(one, self.threads) for one in subjects}

        def prepare_one(subject: Subject) -> tuple[Subject, SubjectCheck | SubjectError]:
            try:
                return subject, self.processes[subject].prepare(images_file)
            except SubjectError as error:
                return subject, error

        # Processes start with the signal mask of the thread that starts them: Ctrl-C is for this
        # process alone
        pool = ThreadPoolExecutor(
            machine.cores(), initializer=signal.pthread_sigmask, initargs=_WITHOUT_INTERRUPTS
        )
        try:
            for done, (subject, outcome) in enumerate(pool.map(prepare_one, subjects), start=1):
                self.console.progress(f"checked {done} of {len(subjects)} subjects: {subject.name}")
                if isinstance(outcome, SubjectError):
                    self._leave_out(subject, outcome)
                    continue
                self.checked[subject] = outcome
                if outcome.card is not None:
                    self.cards.put(card_row(subject, outcome.card))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        self.cards.publish()

    def warm_up(self, sizes: list[int]) -> None:
        """Repeat each series until its times agree; those that would take too long are left out."""
        rates: dict[tuple[str, str], Rates] = {}
        limit_sec = self.settings.series_sec / self.settings.passes / 2  # a pass is timed twice
        for subject, checked in self.checked.items():
            self.console.progress(f"warming up {subject.name} on {subject.device}")
            process = self.processes[subject]
            kind = (subject.device, "bfloat16" if subject.precision == "bfloat16" else "float32")
            for size in [1] if subject.single else sizes:
                try:
                    rates[kind] = rates.get(kind) or process.call("rates")
                    plan = process.call("warm_up", size, limit_sec)
                except SubjectError as error:
                    self._leave_out(subject, error, f" at batch {size}")
                    continue
                if plan.images:
                    self.series.append(Series(subject, size, checked, plan, rates[kind]))
                else:
                    needed_sec = 2 * plan.batch_sec * self.settings.passes * 1.2
                    self._warn(
                        f"{subject.name} at batch {size} is left out: one batch takes "
                        f"{plan.batch_sec:.2g} s; python -m analysis.timing … "
                        f"--series-sec {needed_sec:.0f} would measure it"
                    )

    def measure(self) -> None:
        """Time one pass of every series, again and again; then give the verdicts.

        The order is drawn once by the seed: whatever drifts hits all alike.
        """
        order = random.Random(self.settings.seed).sample(self.series, len(self.series))
        round_sec = sum(2 * one.plan.batch_sec * one.plan.images / one.batch_size for one in order)
        try:
            for number in range(1, self.settings.passes + 1):
                left = duration(round_sec * (self.settings.passes - number + 1))
                for series in order:
                    self.console.progress(
                        f"pass {number} of {self.settings.passes}: {series.subject.name}, "
                        f"batch {series.batch_size}; about {left} left"
                    )
                    self._measure_one(series, number)
                self.table.publish_if_due()
            for series in order:
                if series.passes:
                    self._judge(series)
        finally:
            self.table.publish()

    def _measure_one(self, series: Series, number: int) -> None:
        if series.fault:
            return
        try:
            measured: Pass = self.processes[series.subject].call("measure", series.batch_size)
        except SubjectError as error:
            series.fault = f"it ended in pass {number}: {error}"
            self._warn(f"{series.subject.name} at batch {series.batch_size}: {series.fault}")
            return
        own = sum(subject.device == "cuda" for subject in self.processes)
        measured = replace(measured, gpu_processes=max(0, measured.gpu_processes - own))
        series.passes.append(measured)
        self.table.put(self.facts | timing_row(series, number, measured))

    def _judge(self, series: Series) -> None:
        passes = series.passes
        other_busy_sec = sum(one.other_busy_sec for one in passes)
        on_all_threads = series.subject.device == "cpu" and not series.subject.single
        verdict, reason = judge(
            ([one.device_sec for one in passes], [one.end_to_end_sec for one in passes]),
            cores=machine.cores(),
            threads=self.threads if on_all_threads else 1,
            other_load=max(0.0, other_busy_sec / sum(one.turn_sec for one in passes)),
            throttled=any(one.throttled for one in passes),
            gpu_processes=max(one.gpu_processes for one in passes),
            settled=series.plan.settled,
            gaps=any(one.device_gaps for one in passes),
            fault=series.fault or series.checked.differs,
        )
        mine = (series.subject.name, series.subject.device, series.batch_size)
        for row in self.rows:
            if (row["subject"], row["device"], row["batch_size"]) == mine:
                self.table.put(row | {"verdict": verdict, "reason": reason})

    def _leave_out(self, subject: Subject, error: SubjectError, where: str = "") -> None:
        """Go on without a subject; a person's own function is a mistake to mend."""
        if subject.kind == "own":
            raise UsageError(f"--subject {subject.name} can't be timed{where}: {error}")
        self._warn(f"{subject.name} on {subject.device} is left out{where}: {error}")

    def _warn(self, text: str) -> None:
        self.console.line(text, style="yellow")


class SubjectProcess:
    """Started anew, not forked, so that nothing of the parent's threads is in it."""

    def __init__(self, subject: Subject, threads: int) -> None:
        self.subject = subject
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.enter,
            initargs=(threads,),
        )

    def prepare(self, images_file: Path) -> SubjectCheck:
        """Build and check the subject."""
        checked: SubjectCheck = self._wait_for(worker.prepare, self.subject, images_file)
        return checked

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
    """End processes together: those that still work after GRACE_SEC, by force."""
    pools = [process._pool for process in processes]
    running = [child for pool in pools for child in (pool._processes or {}).values()]
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    end = time.monotonic() + GRACE_SEC
    for child in running:
        child.join(max(0.0, end - time.monotonic()))
        child.kill()
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


def timing_row(series: Series, number: int, measured: Pass) -> Row:
    """Return the row of one pass: of its load, what is left of the raw counts."""
    subject, checked, plan = series.subject, series.checked, series.plan
    columns = asdict(measured)
    columns["other_load"] = columns.pop("other_busy_sec") / columns.pop("turn_sec")
    return {
        "subject": subject.name,
        **{name: getattr(subject, name) for name in SUBJECT_COLUMNS},
        "memory_format": checked.memory_format,
        "gpu_model": checked.gpu_model,
        "driver": checked.driver,
        "batch_size": series.batch_size,
        "pass": number,
        "images": plan.images,
        "repeats": plan.repeats,
        "warm_up_passes": plan.warm_up_passes,
        "settled": plan.settled,
        "first_call_sec": plan.first_call_sec,
        "limit_sec": limit_sec(checked.card, series.rates, plan.images, _image_bytes(subject)),
        **asdict(series.rates),
        "max_difference": checked.max_difference,
        "compared_with": "its eager float32 output"
        if subject.is_network
        else "the pipeline in float32",
        "share_95": checked.share_95,
        "share_99": checked.share_99,
        **columns,
        "energy_j": plan.energy_j,
        "power_w": plan.power_w,
        "measured_at": datetime.now(UTC),
    }


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
