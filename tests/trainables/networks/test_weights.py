import json
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from trainables.errors import UsageError
from trainables.hyperparameters import Parameter
from trainables.networks.fc import FC
from trainables.networks.registry import build
from trainables.networks.separable import Separable
from trainables.networks.weights import (
    HEADER,
    SavedNetwork,
    load_network,
    read_header,
    save_network,
)
from trainables.tasks import STUDY, Task

FACTS = {"run": "a-run", "trial": 3, "epoch": 7, "validation_loss": 0.125, "note": "größer ≥ 0.95"}


class Own(nn.Module):
    space: ClassVar = {"dropout": Parameter(0.0, 0.5)}

    def __init__(self, task: Task, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layer = nn.Conv2d(3, 1, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(self.dropout(images))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "network.safetensors"


def save(path: Path, model: str = "separable", **chosen: Any) -> dict[str, torch.Tensor]:
    weights = (Own(STUDY, 0.0) if ":" in model else build(model)).state_dict()
    save_network(path, weights, SavedNetwork(model, chosen, FACTS))
    return weights


def test_a_file_tells_what_it_holds_and_where_it_comes_from(path: Path) -> None:
    save(path, "fc", dropout=0.25)
    assert read_header(path) == SavedNetwork("fc", {"dropout": 0.25}, FACTS)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_dropout_of_a_file_is_that_of_the_network(path: Path) -> None:
    save(path, "cnn", dropout=0.25)
    assert {layer.p for layer in load_network(path).modules() if isinstance(layer, nn.Dropout)} == {
        0.25
    }


@pytest.mark.parametrize(
    ("model", "chosen"), [("fc", {"dropout": 0.25}), ("fc", {}), ("separable", {})]
)
def test_a_file_of_an_older_version_says_its_dropout_only(
    path: Path, model: str, chosen: dict[str, float]
) -> None:
    weights = build(model, **chosen).state_dict()
    header = json.dumps({"model": model, "dropout": chosen.get("dropout", 0.0), "facts": FACTS})
    path.parent.mkdir()
    save_file(weights, path, {HEADER: header})
    assert read_header(path) == SavedNetwork(model, chosen, FACTS)
    loaded = load_network(path)
    assert all(torch.equal(weights[name], one) for name, one in loaded.state_dict().items())


def test_all_that_was_chosen_of_a_network_is_kept(path: Path) -> None:
    network = build("cnn", channels=3, depth=2).eval()
    chosen = {"dropout": 0.0, "channels": 3, "depth": 2}
    save_network(path, network.state_dict(), SavedNetwork("cnn", chosen, {}))
    assert read_header(path).chosen == chosen
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_network(path)(images), network(images))


def test_weights_laid_out_for_convolutions_are_read_back_in_order(path: Path) -> None:
    network = build("cnn").to(memory_format=torch.channels_last).eval()
    save_network(path, network.state_dict(), SavedNetwork("cnn", {}, {}))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(load_network(str(path))(images), network(images))


def test_a_save_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    kept = save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(Exception, match="File too large"):
            save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(load_network(path).rows, kept["rows"])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def text_file(path: Path) -> None:
    path.write_text("not safetensors")


def someone_elses(path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, path)


def cut_off(path: Path) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:-4])


def misfit(path: Path) -> None:
    save_network(path, build("fc").state_dict(), SavedNetwork("separable", {}, {}))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (text_file, "can't be read as a safetensors file"),
        (cut_off, "can't be read as a safetensors file"),
        (lambda path: None, "can't be read as a safetensors file"),
        (someone_elses, "has no transform_tuner header"),
        (misfit, "don't fit separable"),
    ],
)
def test_a_foreign_file_is_refused_by_name(
    path: Path, write: Callable[[Path], None], message: str
) -> None:
    path.parent.mkdir()
    write(path)
    with pytest.raises(ValueError, match=message) as error:
        load_network(path)
    assert str(path) in str(error.value)


def test_a_network_of_your_own_is_loaded_when_its_class_is_passed(path: Path) -> None:
    weights = save(path, "my.package:Own", dropout=0.25)
    with pytest.raises(
        ValueError, match=r"holds my\.package:Own: pass that class, load_network\(path, network="
    ):
        load_network(path)
    loaded = load_network(path, network=Own)
    assert isinstance(loaded, Own)
    assert loaded.dropout.p == 0.25
    assert torch.equal(loaded.layer.weight, weights["layer.weight"])


def test_the_wrong_class_is_refused(path: Path) -> None:
    save(path, "my.package:Own")
    with pytest.raises(ValueError, match=r"don't fit my\.package:Own"):
        load_network(path, network=FC)


@pytest.mark.parametrize("network", [None, Own])
def test_loading_never_executes_code_that_the_file_names(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: type[nn.Module] | None
) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "named_in_a_file.py").write_text(f"open({str(marker)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    save(path, "named_in_a_file:Own")
    if network is None:
        with pytest.raises(ValueError, match="pass that class"):
            load_network(path)
    else:
        load_network(path, network=network)
    assert not marker.exists()
    assert "named_in_a_file" not in sys.modules


class Shared(Separable):
    """Two of its weights are one tensor."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.again = self.rows


def test_a_tensor_that_has_two_names_is_saved_under_both(path: Path) -> None:
    network = Shared(STUDY)
    save_network(path, network.state_dict(), SavedNetwork("my:Shared", {}, {}))
    assert torch.equal(load_network(path, Shared).again, network.rows)


class Needy(Separable):
    def __init__(self, task: Task, needed: int) -> None:
        super().__init__(task)


def test_a_class_that_can_not_be_built_is_told_in_one_sentence(path: Path) -> None:
    save_network(path, Separable(STUDY).state_dict(), SavedNetwork("my:Needy", {}, {}))
    with pytest.raises(ValueError, match=r"my:Needy can't be built: TypeError: .* 'needed'$"):
        load_network(path, Needy)


def without_digest(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        header = file.metadata()[HEADER]
    save_file(load_file(path), path, {HEADER: header})


def test_a_flipped_bit_gives_the_weights_as_they_were_or_one_sentence(path: Path) -> None:
    """Every 23rd bit of the header, and some of the numbers."""
    weights = save(path)
    whole = path.read_bytes()
    numbers = (int.from_bytes(whole[:8], "little") + 8) * 8
    some = random.Random(0).sample(range(numbers, len(whole) * 8), 30)
    refusals = []
    for bit in (*range(0, numbers, 23), *some):
        path.write_bytes(flipped(whole, bit))
        try:
            loaded = load_network(path).state_dict()
            assert read_header(path) == SavedNetwork("separable", {}, FACTS)
            assert all(torch.equal(loaded[name], weights[name]) for name in weights)
        except UsageError as error:
            refusals.append(str(error))
    assert len(refusals) > 60
    assert all(text.startswith(f"{path} ") and "\n" not in text for text in refusals)


def flipped(whole: bytes, bit: int) -> bytes:
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_changed_number_is_told_as_damage(path: Path) -> None:
    save(path)
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, len(whole) * 8 - 100))
    for read in (load_network, read_header):
        with pytest.raises(UsageError, match="is damaged: its sha256 is not that of its content"):
            read(path)


def test_weights_of_older_versions_are_loaded_with_a_line_that_says_so(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = save(path)
    load_network(path)
    assert not caplog.messages
    without_digest(path)
    assert torch.equal(load_network(path).rows, weights["rows"])
    (line,) = caplog.messages
    assert line.startswith(f"{path} has no sha256 of its weights, as an older transform-tuner ")


HEADERS = [
    '{"dropout": 0}',
    "[" * 100_000,
    "7",
    '{"model": ["fc"], "dropout": 0, "facts": {}}',
    '{"model": "fc", "dropout": "x", "facts": {}}',
    '{"model": "fc", "dropout": NaN, "facts": {}}',
    '{"model": "fc", "dropout": 7, "facts": {}}',
    '{"model": "fc", "dropout": 0, "facts": 3}',
    '{"model": "fc", "chosen": [], "facts": {}}',
    '{"model": "fc", "chosen": {"hidden": [3]}, "facts": {}}',
    '{"model": "fc", "chosen": {"a b": 3}, "facts": {}}',
    '{"model": "fc", "chosen": {"hidden": NaN}, "facts": {}}',
    '{"model": "two\\nlines", "dropout": 0, "facts": {}}',
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_nobody_wrote_is_refused(path: Path, header: str) -> None:
    path.parent.mkdir()
    save_file({"weight": torch.zeros(1)}, path, {HEADER: header})
    with pytest.raises(UsageError, match="has a header of another version"):
        load_network(path)


STARTS = [
    b"a",
    b"root:x:0:0:root\n",
    b"PK\3\4" + bytes(40),
    b"\x80\2}q\0.",
    b"\x28" + bytes(7) + b'{"__metadata__":{"config":"[[[[[' + bytes(9),
]


def test_whatever_is_no_weights_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path, luck = tmp_path / "a.safetensors", random.Random(0)
    for start in STARTS * 20:
        data = bytearray(start)
        for _ in range(luck.randrange(3)):
            data[luck.randrange(len(data))] = luck.randrange(256)
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"a\.safetensors can't be read as a safetensors file"):
            load_network(path)
