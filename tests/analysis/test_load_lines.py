"""The lines that load a network: run as they are, they build it with its weights."""

from pathlib import Path
from typing import Any

import torch

from analysis.charts.labels import labelled
from analysis.load_lines import from_checkpoint, from_weights, loading
from analysis.tables.files import read, rows_of
from tests.analysis.made_runs import change, make_auto_run, make_run
from trainables.networks.registry import build
from trainables.networks.weights import SavedNetwork, save_network
from trainables.tasks import STUDY, Task


def lines_of(storage: Path, run: str, trial: int) -> tuple[str, str]:
    tables = storage / "tables"
    trials = labelled(read(tables, "trials", run), read(tables, "runs", run))
    (row,) = rows_of(tables, "runs", run)
    return loading(storage / "networks", row, trials[trials.trial == trial].iloc[0])


def test_a_finalist_is_loaded_from_its_weights(tmp_path: Path) -> None:
    make_run(tmp_path, trials=3, epochs=1, tested=False)
    network = build("fc", dropout=0.1).eval()
    weights = tmp_path / "networks" / "run=fc-1" / "trial-0002.safetensors"
    save_network(weights, network.state_dict(), SavedNetwork("fc", {"dropout": 0.1}, {}))
    lines, note = lines_of(tmp_path, "fc-1", 2)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    names: dict[str, Any] = {"images": images}
    exec(lines, names)
    assert torch.equal(names["outputs"], network(images.float() / 255))
    assert note == ""


def test_any_other_trial_is_loaded_from_its_checkpoint_with_its_own_whole_numbers(
    tmp_path: Path,
) -> None:
    make_auto_run(tmp_path, trials=3)
    change(tmp_path, "trials", "auto-1", checkpoint=str(tmp_path))
    lines, note = lines_of(tmp_path, "auto-1", 2)
    assert "build('kron', " in lines
    assert ".0" not in lines.partition("build(")[2].replace("extra=0", "")
    assert note == "Only finalists have a weights file; this is the trial's last checkpoint."


def test_a_trial_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    make_run(tmp_path, trials=1, epochs=1, tested=False)
    change(tmp_path, "trials", checkpoint=None)
    assert lines_of(tmp_path, "fc-1", 0) == (
        "",
        "It has no checkpoint yet, from which its network could be loaded.",
    )


def test_a_network_of_an_own_task_is_built_for_that_task(tmp_path: Path) -> None:
    task = Task(pipeline="mine.py:half", output_shape=(3, 16, 16), low=-1.0)
    state = {"weights": build("fc", task, hidden=8).state_dict(), "best_weights": None}
    torch.save(state, tmp_path / "state.pt")
    names: dict[str, Any] = {}
    exec(from_checkpoint("fc", task, {"hidden": 8}, str(tmp_path / "state.pt")), names)
    assert names["network"](torch.rand(2, 3, 32, 32)).shape == (2, 3, 16, 16)
    lines = from_weights("fc", "w.safetensors", task)
    assert lines.endswith("# (N, 3, 32, 32) uint8 → (N, 3, 16, 16)")


def test_code_of_a_persons_own_is_named_in_the_lines() -> None:
    lines = from_weights("mine.py:Tiny", "w.safetensors", STUDY)
    assert "load_network('w.safetensors', find('mine.py:Tiny'))" in lines
