"""Curves of trials that were trained in full, for schedulers and searchers to be replayed on.

A recording is one file: 128 random draws of a network's own space, and of each the validation loss
after every epoch. Early stopping is off while it is made, so that any patience can be replayed.
"""

import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from analysis.tables.parameters import read_space, space_text
from analysis.tables.provenance import code_version, cpu_model, versions
from trainables.atomic_write import atomic_write
from trainables.data.loading import load
from trainables.hyperparameters import (
    Asked,
    Parameter,
    said_of,
    training_values,
    values_of,
)
from trainables.networks.base import may_start_at_map, space_of
from trainables.networks.registry import find
from trainables.start_map import start_map
from trainables.training.loop import Training, TrainingConfig
from tuner.trials.space import Space

DIRECTORY = Path(__file__).parent / "results" / "searchers"
CONFIGURATIONS = 128
SEED = 0
VALIDATION_IMAGES = 500
ABOUT = b"recording"  # key of the file's metadata


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What the trials of a recording have in common.

    Attributes:
        model: The network.
        pipeline: What it replaces.
        images: To train on; 500 others validate.
        side: Of the images, in pixels.
        max_epochs: Of every trial.
        batch_size: Images an update. With so few images it is smaller than in a search, so that an
            epoch has as many updates.
        settings: Texts of `--set`.
    """

    model: str
    pipeline: str
    images: int
    side: int
    max_epochs: int
    batch_size: int
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model}-{self.pipeline}"


RECORDINGS = (
    Recording(model="fc", pipeline="study", images=2560, side=32, max_epochs=12, batch_size=64),
    Recording(model="kron", pipeline="gamma", images=1024, side=16, max_epochs=8, batch_size=32),
    Recording(
        model="separable", pipeline="study", images=2048, side=32, max_epochs=20, batch_size=64
    ),
    Recording(model="fc", pipeline="rotate", images=2048, side=16, max_epochs=12, batch_size=64),
    Recording(model="can", pipeline="sobel", images=256, side=16, max_epochs=6, batch_size=16),
)


@dataclass(frozen=True)
class Curves:
    """A recording as it is replayed.

    Attributes:
        name: Of the recording.
        space: What is searched: hyperparameters that are not fixed.
        chosen: The values of each trial, by name.
        losses: Of each trial, one an epoch; shorter where it diverged, which ends with NaN.
        epoch_sec: Of each trial, the median epoch, in seconds.
    """

    name: str
    max_epochs: int
    space: dict[str, Parameter]
    chosen: list[dict[str, Any]]
    losses: list[list[float]]
    epoch_sec: list[float]


def record(recording: Recording, data: str, directory: Path, count: int) -> Iterator[str]:
    """Train what is not recorded yet; the file has each trial as soon as it is trained.

    Yields a line for each.

    Args:
        recording: What to train.
        data: Images, as `--data` takes them.
        directory: Where the file lies, or is made.
        count: Trials that it has in the end.
    """
    path = directory / f"{recording.name}.parquet"
    rows = pq.read_table(path).to_pylist() if path.exists() else []
    if len(rows) >= count:
        return
    size = (recording.side, recording.side)
    used = load(data, recording.images, pipeline=recording.pipeline, size=size)
    space = Space.of(space_of(find(recording.model)), Asked(settings=recording.settings))
    validation = used.validation.first(min(VALIDATION_IMAGES, len(used.validation)))
    start = start_map(used).products if may_start_at_map(space.parameters) else None
    for number in range(len(rows), count):
        drawn = space.draw(SEED, number)
        values = values_of(space.parameters, said_of(drawn))
        config = TrainingConfig(
            model=recording.model,
            task=used.task,
            max_epochs=recording.max_epochs,
            seed=space.seed(SEED, drawn),
            batch_size=recording.batch_size,
            **training_values({**values, "patience": recording.max_epochs}),
        )
        training = Training(config, used.train, validation, device=torch.device("cpu"), start=start)
        history = list(training.epochs())
        searched = {
            name: values[name] for name, one in space.parameters.items() if not one.is_fixed
        }
        losses = [epoch.validation_loss for epoch in history]
        seconds = statistics.median(epoch.train_sec + epoch.validation_sec for epoch in history)
        rows.append({**searched, "losses": losses, "epoch_sec": seconds})
        _write(path, rows, recording, space)
        done = f"{recording.name} {number + 1}/{count}"
        yield f"{done}: {seconds:.2f} s an epoch, loss {losses[-1]:.2e}"


def _write(path: Path, rows: list[dict[str, Any]], recording: Recording, space: Space) -> None:
    about = {
        **asdict(recording),
        "space": space_text(space.parameters),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "commit": code_version()[0],
        "versions": versions(),
    }
    content = pa.Table.from_pylist(rows)
    place = content.schema.get_field_index("losses")
    content = content.set_column(
        place, "losses", content.column("losses").cast(pa.list_(pa.float32()))
    )
    with atomic_write(path) as aside:
        pq.write_table(
            content.replace_schema_metadata({ABOUT: json.dumps(about)}), aside, compression="zstd"
        )


def read(path: Path) -> Curves:
    """Read a recording."""
    content = pq.read_table(path)
    about = json.loads(content.schema.metadata[ABOUT])
    space = {name: one for name, one in read_space(about["space"]).items() if not one.is_fixed}
    rows = content.to_pylist()
    return Curves(
        name=path.stem,
        max_epochs=about["max_epochs"],
        space=space,
        chosen=[{name: row[name] for name in space} for row in rows],
        losses=[
            [loss if math.isfinite(loss) else math.nan for loss in row["losses"]] for row in rows
        ],
        epoch_sec=[row["epoch_sec"] for row in rows],
    )
