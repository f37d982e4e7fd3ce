"""What was measured of one subject at one batch size, and whether more would help."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from analysis.timing.limits import Rates
from analysis.timing.protocol import PROCESSES, VALID, estimate_verdict, ratio_verdict
from analysis.timing.subjects import Subject
from analysis.timing.worker import Circumstances, SeriesPlan, SubjectCheck, Turn


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


@dataclass(eq=False)
class Series:
    """One subject at one batch size, and what was measured of it up to now.

    Attributes:
        threads: That PyTorch has on the CPU.
        turns_a_process: At most.
        spent_sec: What all its turns took.
        fault: Why it ended before its last turn.
    """

    subject: Subject
    batch_size: int
    threads: int
    turns_a_process: int
    checked: SubjectCheck
    plan: SeriesPlan
    rates: Rates
    circumstances: list[Circumstances] = field(default_factory=list)
    turns: list[TakenTurn] = field(default_factory=list)
    spent_sec: float = 0.0
    fault: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it apart in a session: subject, device and batch size."""
        return self.subject.name, self.subject.device, self.batch_size

    @property
    def busy_threads(self) -> int:
        """Cores that it keeps busy: on a GPU one, which starts kernels."""
        return self.threads if self.subject.device == "cpu" else 1

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
        found = [estimate_verdict(values)] + [ratio_verdict(self.ratios(one)) for one in same]
        return self.spent_sec < series_sec and VALID not in found


def _by_process(values: Iterable[tuple[int, float]]) -> list[float]:
    """Return the median of each process, from pairs of its number and a value."""
    found: dict[int, list[float]] = {}
    for process, value in values:
        found.setdefault(process, []).append(value)
    return [statistics.median(one) for one in found.values()]
