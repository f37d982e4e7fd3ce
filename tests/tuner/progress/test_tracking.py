"""W&B for real, offline; and a W&B that hangs or dies, which costs the search nothing."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.console import Console
from tests.waiting import until
from tuner.progress import recorder
from tuner.progress.recorder import BEST, Tracker, WandbTracker, tracker
from tuner.progress.rows import EPOCH_COLUMNS

BLOCK = 32768
ROW = {
    "trial": 0,
    "repeat_of": None,
    "model": "fc",
    "loss": "mse",
    "learning_rate": 0.1,
    "dropout": None,
}
ROW |= {"patience": 3, "parameters": '{"hidden": 64}', "seed": 4}
SAID = {**{name: value for name, value in ROW.items() if name != "parameters"}, "hidden": 64}
ENDED = {"stop_reason": "asha", "epochs": 2, **dict.fromkeys(BEST), "best_validation_loss": 0.25}
EPOCH = {**dict.fromkeys(EPOCH_COLUMNS), "trial": 0, "validation_loss": 0.5}


def records(file: Path) -> Iterator[Any]:
    """The records of an offline run: a LevelDB log after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position = file.read_bytes(), 7
    while position + 7 <= len(data):
        if (left := BLOCK - position % BLOCK) < 7:
            position += left
            continue
        _, length, _ = struct.unpack_from("<IHB", data, position)
        record = Record()
        record.ParseFromString(data[position + 7 : position + 7 + length])
        yield record
        position += 7 + length


def values(items: Any) -> dict[str, Any]:
    return {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in items}


def test_offline_every_trial_is_a_run_of_its_own_in_the_group_of_its_search(tmp_path: Path) -> None:
    wandb = tracker("offline", "search", tmp_path, Console())
    for trial in (0, 1):
        wandb.send("start", {**ROW, "trial": trial})
    for trial, losses in ((0, (0.5, 0.25)), (1, (float("nan"),))):
        for epoch, loss in enumerate(losses, start=1):
            wandb.send("log", {**EPOCH, "trial": trial, "epoch": epoch, "validation_loss": loss})
    wandb.send("start", ROW)  # goes on after its process died
    wandb.send("finish", {**ROW, **ENDED})
    assert wandb.close() == ""

    files = sorted(
        (tmp_path / "wandb" / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.name
    )
    assert [file.name for file in files] == ["run-search-0000.wandb", "run-search-0001.wandb"]
    first, second = (list(records(file)) for file in files)
    for number, found in enumerate((first, second)):
        run = next(record.run for record in found if record.HasField("run"))
        assert (run.run_group, run.display_name) == ("search", f"search-{number:04d}")
        assert values(run.config.update).items() >= {**SAID, "trial": number}.items()
    history = [values(record.history.item) for record in first if record.HasField("history")]
    assert [(row["epoch"], row["validation_loss"]) for row in history] == [(1, 0.5), (2, 0.25)]
    summary: dict[str, Any] = {}
    for record in first:
        summary |= values(record.summary.update)
    assert (summary["stop_reason"], summary["best_validation_loss"]) == ("asha", 0.25)
    assert [values(r.history.item)["validation_loss"] for r in second if r.HasField("history")] == [
        None
    ]
    assert [record for record in second if record.HasField("exit")], (
        "a trial that never ended is closed all the same"
    )


@pytest.mark.parametrize(
    "wandb",
    [
        "import time\ntime.sleep(3600)",
        "raise ImportError('no W&B here')",
        "import os\nos.kill(os.getpid(), 9)",
    ],
    ids=["hangs", "breaks", "is killed"],
)
def test_a_wandb_that_takes_nothing_never_holds_the_search_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wandb: str
) -> None:
    (tmp_path / "wandb.py").write_text(wandb)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(recorder, "CLOSE_SEC", 2.0)
    broken = WandbTracker("search", "offline", tmp_path / "storage", Console())
    broken.send("start", ROW)
    for epoch in range(5000):  # more than a pipe holds
        broken.send("log", {**EPOCH, "epoch": epoch})
    broken.send("finish", {**ROW, **ENDED})
    lost = broken.close()
    log = tmp_path / "storage" / "search.log"
    assert broken._process.poll() is not None
    assert lost == f"W&B did not take everything (see {log}); the tables have all of it"
    assert ("no W&B here" in log.read_text()) == ("no W&B here" in wandb)


def test_a_wandb_that_dies_is_told_at_once_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []
    (tmp_path / "wandb.py").write_text(
        "Settings = dict\ndef init(**_): raise RuntimeError('no disk left')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    console = Console()
    monkeypatch.setattr(console, "line", lambda line, **_: printed.append(line))
    broken = WandbTracker("search", "offline", tmp_path / "storage", console)
    broken.send("start", ROW)
    log = tmp_path / "storage" / "search.log"
    ended = f"W&B has ended (RuntimeError: no disk left; see {log}): the search goes on without it"
    until(lambda: printed)
    assert printed == [f"{ended}, and the tables have everything"]
    for epoch in range(100):
        broken.send("log", {**EPOCH, "epoch": epoch})
    assert "W&B did not take everything" in broken.close()
    assert "no disk left" in log.read_text()


def test_a_wandb_that_ends_when_it_is_told_that_nothing_more_comes_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = WandbTracker("search", "offline", tmp_path, Console())
    wandb.end()
    wandb._process.wait(60)
    monkeypatch.setattr(recorder, "CLOSE_SEC", 0.0)
    assert wandb.close() == ""


def test_ctrl_c_in_the_terminal_does_not_reach_the_process(tmp_path: Path) -> None:
    wandb = WandbTracker("search", "offline", tmp_path, Console())
    assert os.getpgid(wandb._process.pid) != os.getpgid(0)
    assert wandb.close() == ""


def test_disabled_tracking_starts_no_process_and_imports_no_wandb(tmp_path: Path) -> None:
    code = f"""
import psutil, sys
from pathlib import Path
from tuner.progress.recorder import tracker
off = tracker("disabled", "search", Path({str(tmp_path)!r}), None)
off.send("start", {{}}); off.send("log", {{}}); off.send("finish", {{}})
print(psutil.Process().children(), "wandb" in sys.modules, repr(off.close()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False ''\n"
    assert list(tmp_path.iterdir()) == []
    assert type(tracker("disabled", "search", tmp_path, Console())) is Tracker
