"""How what was tried has ended, counted."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Outcomes:
    """Counts by kind of fault and how it ended, and what should not have been."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, kind: str, ended: str) -> None:
        """One more that ended as it should."""
        self.counts[kind, ended] += 1

    def problem(self, kind: str, what: str) -> None:
        """One more that did not."""
        self.counts[kind, "WRONG"] += 1
        self.problems.append(f"{kind}: {what}")

    def table(self) -> str:
        """A Markdown table of the counts, as it stands in docs/how-it-is-built.md."""
        rows = [f"| {kind} | {ended} | {n:,} |" for (kind, ended), n in sorted(self.counts.items())]
        return "\n".join(["| fault | ended in | n |", "|---|---|---|", *rows])
