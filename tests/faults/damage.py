"""Tables and weights of which bytes are changed: read as they were, or refused in one sentence."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from analysis.tables.files import read_file
from tests.analysis.made_runs import make_run
from tests.faults.outcomes import Outcomes
from trainables.errors import UsageError
from trainables.networks.registry import build
from trainables.networks.weights import SavedNetwork, load_network, save_network

LONGEST_SENTENCE = 2000
AS_IT_WAS, REFUSED = "data as it was", "one sentence"


def flip(data: bytearray, chance: random.Random) -> None:
    """One bit."""
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwrite(data: bytearray, chance: random.Random) -> None:
    """A few bytes with others."""
    start = chance.randrange(len(data))
    length = min(chance.randint(1, 16), len(data) - start)
    data[start : start + length] = chance.randbytes(length)


def cut(data: bytearray, chance: random.Random) -> None:
    """The end, as a copy that was broken off."""
    del data[chance.randrange(len(data)) :]


def blank(data: bytearray, chance: random.Random) -> None:
    """A block of zeros, as a file system leaves after a crash."""
    start = chance.randrange(len(data))
    end = min(start + 512, len(data))
    data[start:end] = bytes(end - start)


def double(data: bytearray, chance: random.Random) -> None:
    """A piece of it, once more."""
    start = chance.randrange(len(data))
    data[start:start] = data[start : start + chance.randint(1, 256)]


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flip,) * 4,  # the least of all is what hides best
    overwrite,
    cut,
    blank,
    double,
)


def alter(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return what was done, and the other bytes."""
    changed = bytearray(data)
    change = chance.choice(CHANGES)
    change(changed, chance)
    return change.__name__, bytes(changed)


def try_tables(count: int, chance: random.Random, outcomes: Outcomes) -> None:
    """Alter a table of a run so often, and read it."""
    with tempfile.TemporaryDirectory() as directory:
        make_run(Path(directory), "run", trials=4, epochs=3)
        paths = sorted(Path(directory).glob("tables/*/run=run/*.parquet"))
        whole = {path: (path.read_bytes(), read_file(path, path.stem)) for path in paths}
        for _ in range(count):
            path = chance.choice(paths)
            data, content = whole[path]
            _try(
                "altered table",
                path,
                alter(data, chance),
                lambda path=path: read_file(path, path.stem),
                lambda found, content=content: _same_table(found, content),
                outcomes,
            )
            path.write_bytes(data)


def try_weights(count: int, chance: random.Random, outcomes: Outcomes) -> None:
    """Alter a weights file so often, and load it."""
    network = build("separable").eval()
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    inputs = images.to(torch.float32) / 255
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "best.safetensors"
        save_network(path, network.state_dict(), SavedNetwork("separable", {}, {"run": "run"}))
        data = path.read_bytes()
        with torch.inference_mode():
            expected = network(inputs)
            for _ in range(count):
                _try(
                    "altered weights",
                    path,
                    alter(data, chance),
                    lambda: load_network(path)(inputs),
                    lambda found: torch.equal(found, expected),
                    outcomes,
                )


def _try(
    kind: str,
    path: Path,
    altered: tuple[str, bytes],
    read: Callable[[], Any],
    is_as_it_was: Callable[[Any], bool],
    outcomes: Outcomes,
) -> None:
    change, data = altered
    path.write_bytes(data)
    try:
        found = read()
    except UsageError as error:
        sentence = str(error)
        if "\n" in sentence or len(sentence) > LONGEST_SENTENCE or path.name not in sentence:
            outcomes.problem(kind, f"{change} of {path.name}: no sentence: {sentence[:200]!r}")
        else:
            outcomes.add(kind, REFUSED)
    except Exception as error:
        outcomes.problem(kind, f"{change} of {path.name}: {error!r}"[:300])
    else:
        if is_as_it_was(found):
            outcomes.add(kind, AS_IT_WAS)
        else:
            outcomes.problem(kind, f"{change} of {path.name}: other values, in silence")


def _same_table(found: pa.Table, content: pa.Table) -> bool:
    return bool(found.equals(content))
