"""What of a finished search can be timed, and what to type where it can't."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from analysis.tables.files import publish
from analysis.tables.schema import TABLES
from analysis.tables.task_columns import task_columns
from analysis.timing import runs
from analysis.timing.subjects import Finalist
from trainables.data.cache import CACHE_VARIABLE
from trainables.data.loading import load
from trainables.errors import UsageError
from trainables.networks.registry import build
from trainables.networks.weights import SavedNetwork, save_network
from trainables.tasks import STUDY

EMPTY = {
    pa.int32(): 0,
    pa.int64(): 0,
    pa.float64(): 0.0,
    pa.string(): "",
    pa.bool_(): False,
    pa.binary(): b"",
    pa.timestamp("us", tz="UTC"): datetime(2026, 1, 2, tzinfo=UTC),
}


def row(table: str, run: str, **facts: Any) -> dict[str, Any]:
    needed = {c.name: EMPTY[c.type] for c in TABLES[table] if not c.nullable and c.name != "run"}
    json = {c.name: "{}" for c in TABLES[table] if c.is_json and not c.nullable}
    json |= {name: "[]" for name in ("steps",) if name in json}
    return needed | json | {"run": run} | facts


def write_images(directory: Path, seed: int) -> None:
    for part, count in (("train", 4), ("test", 3)):
        (directory / part).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(directory / part / f"{seed}-{number}.png")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    write_images(tmp_path / "mine", seed=0)
    return str(tmp_path / "mine")


def finished(storage: Path, data: str, name: str = "a-run", model: str = "separable") -> None:
    splits = load(data)
    task = task_columns(splits.task, splits.probes)
    known = {"data": data, "test_fingerprint": splits.test.fingerprint}
    publish(
        storage / "tables",
        "runs",
        name,
        [row("runs", name, model=model, **task, **known)],
    )


def trained(storage: Path, trial: int, name: str = "a-run") -> str:
    path = storage / "networks" / f"run={name}" / f"trial-{trial:04d}.safetensors"
    save_network(
        path, build("separable").state_dict(), SavedNetwork("separable", {}, {"trial": trial})
    )
    return str(path)


def test_a_run_is_timed_on_its_own_test_images(tmp_path: Path, data: str) -> None:
    finished(tmp_path, data)
    data_of = runs.data_of(tmp_path, "a-run", None)
    images = data_of.test
    assert data_of.task == STUDY
    assert (images.split, len(images), images.fingerprint) == (
        "test",
        3,
        load(data).test.fingerprint,
    )


def test_an_unknown_run_is_refused_with_the_names_that_there_are(tmp_path: Path, data: str) -> None:
    for name in ("second", "first"):
        finished(tmp_path, data, name)
    known = "give one of first, second, or give another --storage"
    message = f"--run third: {tmp_path} has no such run; {known}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        runs.data_of(tmp_path, "third", None)


def test_where_there_is_no_run_at_all_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"^--run a-run: .* has no such run; there is none yet: give another --storage$",
    ):
        runs.data_of(tmp_path, "a-run", None)


def test_images_that_changed_since_the_run_are_refused(tmp_path: Path, data: str) -> None:
    finished(tmp_path, data)
    write_images(Path(data), seed=1)
    message = (
        f"--run a-run: {data} now holds other test images than when the run was made: "
        "bring those back"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        runs.data_of(tmp_path, "a-run", None)


def test_finalists_are_the_trained_networks_by_trial_without_confirmations(
    tmp_path: Path, data: str
) -> None:
    finished(tmp_path, data, model="auto")
    paths = {trial: trained(tmp_path, trial) for trial in (12, 3, 7, 20, 0)}
    trained(tmp_path, 5, name="another-run")
    models = {0: "tests.tuner.own_networks:Mine", 1: "fc", 3: "cnn", 7: "fc"}
    trials = [row("trials", "a-run", trial=trial, model=models[trial]) for trial in models]
    trials += [
        row("trials", "a-run", trial=20, repeat_of=0),
        row("trials", "a-run", trial=12, repeat_of=3),
    ]
    publish(tmp_path / "tables", "trials", "a-run", trials)
    assert runs.finalists(tmp_path, "a-run") == tuple(
        Finalist(trial, models[trial], paths[trial]) for trial in (0, 3, 7)
    )


def test_a_network_of_a_file_that_is_not_here_is_told_before_anything_is_timed(
    tmp_path: Path, data: str
) -> None:
    finished(tmp_path, data, model="blur.py:Blur")
    trained(tmp_path, 3)
    trials = [row("trials", "a-run", trial=3, model="blur.py:Blur")]
    publish(tmp_path / "tables", "trials", "a-run", trials)
    told = (
        "--run a-run: --model blur.py:Blur: there is no file 'blur.py'; correct the path, or type"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(told)}"):
        runs.finalists(tmp_path, "a-run")


def test_the_copy_of_the_best_network_is_not_a_second_finalist(tmp_path: Path, data: str) -> None:
    finished(tmp_path, data)
    path = Path(trained(tmp_path, 3))
    publish(tmp_path / "tables", "trials", "a-run", [row("trials", "a-run", trial=3, model="fc")])
    (path.parent / "best.safetensors").write_bytes(path.read_bytes())
    assert [finalist.trial for finalist in runs.finalists(tmp_path, "a-run")] == [3]


def test_a_run_without_finalists_says_how_to_finish_it(tmp_path: Path, data: str) -> None:
    finished(tmp_path, data)
    trained(tmp_path, 4)
    publish(tmp_path / "tables", "trials", "a-run", [row("trials", "a-run", trial=4, repeat_of=0)])
    message = (
        "--run a-run: it has no finalists yet; finish it with: python -m tuner.run --resume a-run"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        runs.finalists(tmp_path, "a-run")
