"""Asking TPE for the next trial when many have ended: of Optuna alone, and as the search asks.

    python -m benchmarks.bench_ask [TRIALS]

A search keeps of a network's trials the best and the newest, TPE_MEMORY at most, which is timed.
The other sides are Optuna with all of them, and with a thousand.
"""

import statistics
import sys
from functools import partial
from unittest.mock import patch

from benchmarks.common import alternate, report
from trainables.networks.base import space_of
from trainables.networks.registry import find
from tuner.settings import TPE_MEMORY
from tuner.trials import tpe
from tuner.trials.space import Space

ROUNDS = 30


def searcher(space: Space, count: int, memory: int) -> tpe.Tpe:
    """Return TPE after so many trials, one in three of which came to its end."""
    known = []
    for number in range(count):
        drawn = space.draw(0, number)
        reason = "asha" if number % 3 else "max_epochs"
        known.append((drawn, reason, 1 + number % 9, drawn["learning_rate"]))
    with patch.object(tpe, "TPE_MEMORY", memory):
        return tpe.Tpe(space, 0, known, startup_trials=10)


def ask_and_tell(one: tpe.Tpe, numbers: list[int]) -> None:
    """Ask for a trial and end it, as the driver does between two trials."""
    numbers.append(0)
    trial_id = str(len(numbers))
    drawn = one.ask(trial_id)
    one.tell(trial_id, "asha", 1, drawn["learning_rate"])


def main(trials: str = "10000") -> None:
    count, space = int(trials), Space(space_of(find("can")))
    memories = {
        f"Optuna with all of {count:,}": 2 * count,
        "Optuna with 1,000 of them": 2000,
        f"as searched, with at most {TPE_MEMORY:,}": 2 * TPE_MEMORY,
    }
    sides = {
        name: partial(ask_and_tell, searcher(space, count, memory), [])
        for name, memory in memories.items()
    }
    seconds = alternate(sides, ROUNDS)
    ms = {name: 1000 * statistics.median(times) for name, times in seconds.items()}
    report(
        f"Asking TPE after {count:,} trials",
        seconds,
        {f"{name}, ms (median)": (value, "at most 20") for name, value in ms.items()},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
