"""Kill whatever a search consists of, again and again; what is left is that of an undisturbed one.

Trials' processes, Ray's own and the driver are killed at random moments, spread over the whole
search by its progress; every fourth time the next one follows within seconds and so meets a process
that is just being started. A driver that has ended is resumed: its status and its last line must be
what docs/ promises. Somebody reads the tables all the while. ASHA, whose stops depend on the order
of reports, stops nobody here.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil

from analysis.tables.files import read
from tests.faults.outcomes import Outcomes
from tests.paths import ROOT
from tuner.interrupts import EARLY_END

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
VICTIMS = {
    "trial": 8,
    "SIGKILL": 2,
    "SIGTERM": 2,
    "SIGINT": 2,
    "SIGSTOP": 2,
    "raylet": 2,
    "gcs_server": 2,
}
PAUSE_SEC = 5.0  # that a driver is stopped for
# How a driver ends that was killed so; whatever else was killed it goes on
STATUS = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 130, "SIGINT": 130, "raylet": 1, "gcs_server": 1}


class Search:
    """`python -m tuner.run` on a storage of its own, resumed whenever it ends too early."""

    def __init__(self, storage: Path, name: str, trials: int) -> None:
        self.storage, self.name, self.trials = storage, name, trials
        every = str(EPOCHS)
        self.flags = [
            *("--model", "fc", "--data", "photos", "--images", "2000", "--samples", str(trials)),
            *("--max-epochs", every, "--grace-epochs", every, "--patience", every, every),
            *("--timing", "none", "--wandb", "disabled", "--finalists", "1"),
        ]
        self.victims: set[str] = set()
        """What was killed since the driver started."""
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
        self.victims = set()
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "tuner.run", "--storage", str(self.storage), *how]
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    @property
    def log(self) -> Path:
        """What the driver prints since its last start."""
        return self.storage / f"{self.name}-{self.starts}.log"

    def table(self, table: str) -> pd.DataFrame | None:
        """A table of it; None before there is one."""
        file = self.storage / "tables" / table / f"run={self.name}" / f"{table}.parquet"
        return read(self.storage / "tables", table, self.name) if file.exists() else None

    def rows(self) -> int:
        """Epochs that are done."""
        epochs = self.table("epochs")
        return 0 if epochs is None else len(epochs)

    def go_on(self, outcomes: Outcomes) -> None:
        """Resume it if its driver is gone and it was not done."""
        if (status := self.driver.poll()) not in (None, 0):
            self.look(int(status or 0), outcomes)
            self.driver = self.start()

    def look(self, status: int, outcomes: Outcomes) -> None:
        """Whether its driver has ended as it should after what was killed."""
        output = self.log.read_text(errors="replace")
        last = (output.strip() or "nothing").splitlines()[-1]
        kind = f"killed: {', '.join(sorted(self.victims))}"
        print(f"  driver ended with {status}: {last}", flush=True)
        expected = {STATUS[victim] for victim in self.victims if victim in STATUS}
        told = (
            status == -signal.SIGKILL
            or f"--resume {self.name}" in last
            or (status == 130 and last == EARLY_END)  # what was typed is to be typed again
        )
        if status in expected and told and "Traceback (most recent" not in output:
            for victim in self.victims & STATUS.keys():
                outcomes.add(f"killed: {victim}", f"status {status}, resumed")
        else:
            outcomes.problem(kind, f"status {status}, {last[:300]!r}, see {self.log}")

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

    def handles_signals(self) -> bool:
        """Whether the driver's own code runs, or it has ended: before that Python itself starts."""
        if self.driver.poll() is not None:
            return True
        status = Path(f"/proc/{self.driver.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def kill(self, victim: str, chance: random.Random) -> bool:
        """Whether there was anything to kill. Raises TimeoutError when a driver does not end."""
        if self.driver.poll() is not None:
            return False
        try:
            if victim == "SIGSTOP":
                self.driver.send_signal(signal.SIGSTOP)
                time.sleep(PAUSE_SEC)
                self.driver.send_signal(signal.SIGCONT)
            elif victim.startswith("SIG"):
                wait(self.handles_signals, END_SEC, "the driver handles no SIGTERM")
                self.victims.add(victim)
                self.driver.send_signal(signal.Signals[victim])
                wait(
                    lambda: self.driver.poll() is not None,
                    END_SEC,
                    f"the driver does not end after {victim}",
                )
            else:
                chance.choice(self.processes(victim)).kill()
                self.victims.add(victim)
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


def torment(
    search: Search, kills: int, chance: random.Random, until: float, outcomes: Outcomes
) -> None:
    """So many kills, spread over the search, or as many as there is time for.

    Raises TimeoutError when the search does not get on.
    """
    total = search.trials * EPOCHS
    for number in range(kills):
        if time.monotonic() > until:
            outcomes.problem("kills", f"only {number} in the time that there was")
            return
        hasty = number % 4 == 3
        if not hasty:
            goal = total * number * 0.95 / kills + chance.random()

            def further(goal: float = goal) -> bool:
                search.go_on(outcomes)
                return search.rows() > goal

            wait(
                further,
                STILL_SEC,
                f"no further than {search.rows()} of {total} epochs after {number} kills",
            )
        time.sleep(chance.random() * (QUICK_SEC if hasty else 1.0))
        search.go_on(outcomes)
        kinds = chance.choices(list(VICTIMS), list(VICTIMS.values()), k=20)
        victim = next((kind for kind in kinds if search.kill(kind, chance)), None)
        if victim is None:
            raise TimeoutError(f"the search was over after {number} kills")
        if victim not in STATUS:
            outcomes.add(f"killed: {victim}", "went on")
        print(f"{number + 1:>4}  {victim:<10}  {search.rows()} of {total} epochs", flush=True)


def finish(search: Search, outcomes: Outcomes) -> None:
    """To its own end, without more trouble. Raises TimeoutError."""
    for _ in range(5):
        wait(lambda: search.driver.poll() is not None, FINISH_SEC, "the search does not end")
        if search.driver.poll() == 0:
            return
        search.go_on(outcomes)
    raise TimeoutError(f"the search ends with status {search.driver.poll()} again and again")


def differences(troubled: Search, calm: Search) -> list[str]:
    """In what the two left."""
    found = []
    for table, columns in (("epochs", None), ("trials", OUTCOME)):
        sides = []
        for search in (troubled, calm):
            frame = search.table(table)
            if frame is None:
                return [f"{search.name} has no table {table}"]
            frame = frame[columns] if columns else frame.drop(columns=OF_NO_CONSEQUENCE)
            keys = [name for name in ("trial", "epoch") if name in frame]
            sides.append(frame.sort_values(keys).reset_index(drop=True))
        try:
            pd.testing.assert_frame_equal(*sides, check_exact=True)
        except AssertionError as error:
            found.append(f"{table}: {error}")
    return found


def try_kills(
    out: Path, kills: int, chance: random.Random, limit_sec: float, outcomes: Outcomes
) -> None:
    """An undisturbed search, then one with so many kills.

    Args:
        out: Where both storages and what the drivers print are left.
        kills: How many.
        chance: Draws what is killed, and when.
        limit_sec: Time after which no further kill is made, which is a problem. Rows are compared
            all the same.
        outcomes: What is told.
    """
    trials = max(2, -(-kills * ROWS_PER_KILL // EPOCHS))
    started = time.monotonic()
    calm = Search(out, "calm", trials)
    finish(calm, outcomes)
    print(f"undisturbed: {trials} trials of {EPOCHS} epochs in {time.monotonic() - started:.0f} s")
    troubled = Search(out, "troubled", trials)
    reader = Reader(troubled)
    reader.start()
    problems = []
    try:
        torment(troubled, kills, chance, started + limit_sec, outcomes)
        finish(troubled, outcomes)
        problems = differences(troubled, calm)
    except TimeoutError as error:
        problems.append(str(error))
    finally:
        reader.over.set()
        reader.join()
        if troubled.driver.poll() is None:
            troubled.driver.kill()
    for problem in [*problems, *reader.problems]:
        outcomes.problem("rows of a disturbed search", problem)
    if not problems:
        outcomes.add(
            "rows of a disturbed search", f"those of an undisturbed one, {troubled.starts} starts"
        )
    outcomes.counts["table read meanwhile", "rows"] += reader.readings
