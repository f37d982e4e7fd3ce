"""Copies that overlap, with streams that are only names: what is computed, and what waits."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from analysis.timing import overlapped
from analysis.timing.overlapped import Bus, Overlapped

CPU = torch.device("cpu")


class NamedStream:
    """Stands for a CUDA stream, and keeps what waits in the order in which it was asked to."""

    waits: list[str]

    def __init__(self, name: str) -> None:
        self.name = name

    def wait_stream(self, other: "NamedStream") -> None:
        self.waits.append(f"{self.name} for {other.name}")

    def synchronize(self) -> None:
        self.waits.append(f"host for {self.name}")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names = iter(("incoming", "outgoing"))
    monkeypatch.setattr(NamedStream, "waits", [], raising=False)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: NamedStream(next(names)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: NamedStream("computing"))
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    return NamedStream.waits


def test_results_of_all_pieces_lie_in_their_places(
    waits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlapped, "PIECE_IMAGES", 2)
    sizes = []

    def double(images: Tensor) -> Any:
        sizes.append(len(images))
        return images.float() * 2

    images, results = torch.arange(5, dtype=torch.uint8), torch.zeros(5)
    Overlapped(double, CPU)(images, results)
    assert results.tolist() == [0, 2, 4, 6, 8]
    assert sizes == [2, 2, 1]


def test_each_piece_is_computed_after_it_came_and_goes_back_after_that(
    waits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlapped, "PIECE_IMAGES", 1)
    Overlapped(torch.Tensor.float, CPU)(torch.zeros(2, dtype=torch.uint8), torch.zeros(2))
    piece = ["computing for incoming", "outgoing for computing"]
    assert waits == [*piece, *piece, "host for outgoing"]


def test_the_bus_copies_both_ways_and_the_host_waits_for_both(waits: list[str]) -> None:
    bus = Bus(torch.ones(3, dtype=torch.uint8), torch.ones(3), CPU)
    bus.copy()
    assert waits == ["host for incoming", "host for outgoing"]
