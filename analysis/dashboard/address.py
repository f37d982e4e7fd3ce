"""What an address asks for: its page and its query, and the addresses that lead on from there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urlencode

KEPT = ("run", "pipeline", "network", "data")
"""What is chosen on one page holds on the others."""

Asked = str | Iterable[str] | None


@dataclass(frozen=True)
class Address:
    """A page and what is asked of it.

    Links are relative to the page that shows them, so that they also hold behind a proxy that
    serves the dashboard below a path.

    Attributes:
        path: Below the root, without slashes at its ends: `trials`, or `trial/RUN/3`.
        query: Names and values, in the order of the address.
    """

    path: str
    query: tuple[tuple[str, str], ...] = ()

    @cached_property
    def root(self) -> str:
        """From this page to the first one."""
        return "../" * self.path.count("/") or "./"

    @cached_property
    def text(self) -> str:
        """The address below the root."""
        return self.path + _asking(self.query)

    def one(self, name: str) -> str:
        """Return the last value of a name, empty where it has none."""
        return next((value for key, value in reversed(self.query) if key == name), "")

    def every(self, name: str) -> list[str]:
        """Return all values of a name, each once."""
        return list(dict.fromkeys(value for key, value in self.query if key == name))

    def chosen(self, name: str, options: Iterable[str]) -> str:
        """Return the value of a name if it is one of the options, else the first of them."""
        options = list(options)
        asked = self.one(name)
        return asked if asked in options else options[0]

    def with_(self, changes: Mapping[str, Asked]) -> str:
        """Return a link to this page with other values of some names; None leaves a name out."""
        return self.root + self.path + _asking(self._changed(self.query, changes))

    def to(self, path: str, changes: Mapping[str, Asked] | None = None) -> str:
        """Return a link to another page, on which the choice of runs holds."""
        kept = tuple(pair for pair in self.query if pair[0] in KEPT)
        return self.root + path + _asking(self._changed(kept, changes or {}))

    def to_trial(self, run: str, trial: int) -> str:
        """Return a link to a trial's own page."""
        return self.to(f"trial/{quote(run, safe='')}/{trial}")

    def saving(self, kind: str, name: str) -> str:
        """Return where a block of this page is saved, below the root."""
        return f"save/{kind}/{quote(name, safe='')}/{self.path}" + _asking(self.query)

    def to_run(self, run: str) -> str:
        """Return a link to a run's own page."""
        return self.root + f"run/{quote(run, safe='')}"

    @staticmethod
    def _changed(
        query: tuple[tuple[str, str], ...], changes: Mapping[str, Asked]
    ) -> list[tuple[str, str]]:
        left = [pair for pair in query if pair[0] not in changes]
        for name, values in changes.items():
            if values is not None:
                left += [(name, one) for one in ([values] if isinstance(values, str) else values)]
        return left


def _asking(query: Iterable[tuple[str, str]]) -> str:
    text = urlencode(list(query))
    return f"?{text}" if text else ""
