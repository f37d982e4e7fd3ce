"""Kill whatever a search consists of, again and again; what is left is that of an undisturbed one.

    python -m tests.cluster.chaos --kills 100

Trials' processes, Ray's own and the driver are killed at random moments, spread over the whole
search by its progress; every fourth time the next one follows within seconds and so meets a process
that is just being started. A driver that was killed is resumed. Somebody reads the tables all the
while. Exit status: 0 when nothing was lost, 1 with what was.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil

from analysis.console import duration
from analysis.tables.files import read
from tests.paths import ROOT

EPOCHS = 24  # of each trial
ROWS_PER_KILL = 8  # about what is written in the second or two between kills
QUICK_SEC = 3.0  # how soon a hasty kill follows
END_SEC = 120.0  # for a driver to end
FINISH_SEC = 600.0  # for a search that nobody disturbs
STILL_SEC = 180.0  # without a new row, while nothing is killed
OF_NO_CONSEQUENCE = ["train_sec", "validation_sec", "images_per_sec", "reported_at", "run"]
OUTCOME = [
    "trial",
    "learning_rate",
    "dropout",
    "patience",
    "seed",
    "stop_reason",
    "epochs",
    "best_validation_loss",
]
VICTIMS = {"trial": 12, "SIGKILL": 3, "SIGTERM": 1, "SIGINT": 1, "raylet": 1, "gcs_server": 1}


class Search:
    """`python -m tuner.run` on a storage of its own, resumed whenever it ends too early."""

    def __init__(self, storage: Path, name: str, trials: int) -> None:
        self.storage, self.name = storage, name
        self.flags = [
            "--model",
            "fc",
            "--data",
            "photos",
            "--images",
            "2000",
            "--samples",
            str(trials),
        ]
        self.flags += [
            "--max-epochs",
            str(EPOCHS),
            "--grace-epochs",
            str(EPOCHS),
            "--patience",
            str(EPOCHS),
        ]
        self.flags += [str(EPOCHS), "--timing", "none", "--wandb", "disabled", "--finalists", "1"]
        self.starts = 0
        self.driver = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """The first time with its flags, then from where it was."""
        how = (
            ["--resume", self.name]
            if self.table("runs") is not None
            else ["--name", self.name, *self.flags]
        )
        self.starts += 1
        with (self.storage / f"{self.name}.log").open("ab") as log:
            command = [sys.executable, "-m", "tuner.run", "--storage", str(self.storage), *how]
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def table(self, table: str) -> pd.DataFrame | None:
        """A table of it; None before there is one."""
        file = self.storage / "tables" / table / f"run={self.name}" / f"{table}.parquet"
        return read(self.storage / "tables", table, self.name) if file.exists() else None

    def rows(self) -> int:
        """Epochs that are done."""
        epochs = self.table("epochs")
        return 0 if epochs is None else len(epochs)

    def go_on(self) -> None:
        """Resume it if its driver is gone and it was not done."""
        if (status := self.driver.poll()) not in (None, 0):
            print(f"  driver ended with {status}: resumed", flush=True)
            self.driver = self.start()

    def processes(self, kind: str) -> list[psutil.Process]:
        """Those in which trials run, or of one of Ray's programs."""
        found = []
        for process in psutil.Process(self.driver.pid).children(recursive=True):
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if line and (
                "ImplicitFunc" in line[0] if kind == "trial" else kind in Path(line[0]).name
            ):
                found.append(process)
        return found

    def kill(self, victim: str, chance: random.Random) -> bool:
        """Whether there was anything to kill. Raises TimeoutError when a driver does not end."""
        if self.driver.poll() is not None:
            return False
        try:
            if victim.startswith("SIG"):
                self.driver.send_signal(signal.Signals[victim])
                wait(
                    lambda: self.driver.poll() is not None,
                    END_SEC,
                    f"the driver does not end after {victim}",
                )
            else:
                chance.choice(self.processes(victim)).kill()
        except (IndexError, psutil.Error):
            return False
        return True


class Reader(threading.Thread):
    """Reads all tables again and again, as a dashboard does; `problems` is what can't be read."""

    def __init__(self, search: Search) -> None:
        super().__init__(daemon=True)
        self.search = search
        self.readings = 0
        self.problems: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Until it is over."""
        rows = dict.fromkeys(("runs", "trials", "epochs"), 0)
        while not self.over.wait(0.02):
            for table, before in rows.items():
                try:
                    found = self.search.table(table)
                except Exception as error:  # whatever it is, it is what a person would have met
                    self.problems.append(f"{table} could not be read: {error!r}")
                    continue
                rows[table] = before if found is None else len(found)
                self.readings += 1
                if rows[table] < before:
                    self.problems.append(f"{table} had {before} rows and then {rows[table]}")


def wait(true: Callable[[], object], sec: float, otherwise: str) -> None:
    """Raises TimeoutError with the sentence."""
    end = time.monotonic() + sec
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


def torment(search: Search, kills: int, chance: random.Random, until: float) -> Counter[str]:
    """So many kills, spread over the search; how many of each kind. Raises TimeoutError."""
    done: Counter[str] = Counter()
    total = len_of(search)
    for number in range(kills):
        if time.monotonic() > until:
            raise TimeoutError(f"only {number} kills in the time that there was")
        if number % 4 != 3:
            goal = total * number * 0.95 / kills + chance.random()

            def further(goal: float = goal) -> bool:
                search.go_on()
                return search.rows() > goal

            wait(
                further,
                STILL_SEC,
                f"no further than {search.rows()} of {total} epochs after {number} kills",
            )
        time.sleep(chance.random() * (1.0 if number % 4 != 3 else QUICK_SEC))
        search.go_on()
        kinds = chance.choices(list(VICTIMS), list(VICTIMS.values()), k=20)
        victim = next((kind for kind in kinds if search.kill(kind, chance)), None)
        if victim is None:
            raise TimeoutError(f"the search was over after {number} kills")
        done[victim] += 1
        print(f"{number + 1:>4}  {victim:<10}  {search.rows()} of {total} epochs", flush=True)
    return done


def len_of(search: Search) -> int:
    """How many rows its epochs table will have."""
    return int(search.flags[search.flags.index("--samples") + 1]) * EPOCHS


def finish(search: Search) -> None:
    """To its own end, without more trouble."""
    for _ in range(5):
        wait(lambda: search.driver.poll() is not None, FINISH_SEC, "the search does not end")
        if search.driver.poll() == 0:
            return
        search.go_on()
    raise TimeoutError(f"the search ends with status {search.driver.poll()} again and again")


def differences(troubled: Search, calm: Search) -> list[str]:
    """In what the two left."""
    found = []
    for table, columns in (("epochs", None), ("trials", OUTCOME)):
        sides = []
        for search in (troubled, calm):
            frame = search.table(table)
            assert frame is not None
            frame = frame[columns] if columns else frame.drop(columns=OF_NO_CONSEQUENCE)
            sides.append(
                frame.sort_values(list(frame.columns[frame.columns.isin(["trial", "epoch"])]))
            )
        try:
            pd.testing.assert_frame_equal(
                *(side.reset_index(drop=True) for side in sides), check_exact=True
            )
        except AssertionError as error:
            found.append(f"{table}: {error}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.chaos", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when")
    parser.add_argument(
        "--limit-min", type=float, default=40, help="minutes after which no further kill is made"
    )
    parser.add_argument(
        "--out", type=Path, help="keep both storages and logs here; default: a temporary directory"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        return compare(out, options.kills, random.Random(options.seed), 60 * options.limit_min)


def compare(out: Path, kills: int, chance: random.Random, limit_sec: float) -> int:
    """An undisturbed search, then one with so many kills; the exit status."""
    trials = max(2, -(-kills * ROWS_PER_KILL // EPOCHS))
    started = time.monotonic()
    calm = Search(out, "calm", trials)
    finish(calm)
    calm_sec = time.monotonic() - started
    print(f"undisturbed: {trials} trials of {EPOCHS} epochs in {duration(calm_sec)}", flush=True)
    troubled = Search(out, "troubled", trials)
    reader = Reader(troubled)
    reader.start()
    problems = []
    try:
        done = torment(troubled, kills, chance, started + limit_sec)
        finish(troubled)
        problems = differences(troubled, calm)
    except TimeoutError as error:
        problems.append(str(error))
        done = Counter()
    finally:
        reader.over.set()
        reader.join()
        if troubled.driver.poll() is None:
            troubled.driver.kill()
    problems += reader.problems
    sec = time.monotonic() - started - calm_sec
    kinds = ", ".join(f"{n} {kind}" for kind, n in done.items())
    print(
        f"{sum(done.values())} kills ({kinds}) in {duration(sec)}, "
        f"{troubled.starts - 1} resumes, {reader.readings} readings of the tables: "
        + ("nothing was lost" if not problems else "these things were lost")
    )
    for problem in problems[:20]:
        print(f"  {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
