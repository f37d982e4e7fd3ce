"""By a clock that goes on by a second whenever it is read: each call that is timed lasts one."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from trainables import profile
from trainables.data.examples import Examples
from trainables.profile import PARTS, REST, time_epochs, timed_parts
from trainables.training.loop import Training, TrainingConfig

CPU = torch.device("cpu")


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(profile, "time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))


def training(train: Examples, images: int, model: str = "fc", batch_size: int = 4) -> Training:
    chosen = {} if model == "separable" else {"dropout": 0.2}
    settings = {"learning_rate": 1e-3, "max_epochs": 1, "seed": 3, "batch_size": batch_size}
    config = TrainingConfig(model=model, chosen=chosen, **settings)
    examples = Examples(train.images[:images], train.targets[:images])
    return Training(config, examples, examples, device=CPU)


def epoch(trained: Training) -> None:
    trained.train_epoch(1)
    trained._validate()


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize(
    ("model", "images", "batch_size", "passes", "updates"),
    [
        ("fc", 10, 4, 3, 3),
        ("separable", 8, 8, 1, 1),
        ("cnn", 70, 256, 3, 1),
    ],  # a slice of the cnn is 32
)
def test_each_part_is_timed_at_each_pass_and_what_validation_calls_belongs_to_validation(
    train: Examples, model: str, images: int, batch_size: int, passes: int, updates: int
) -> None:
    trained = training(train, images, model, batch_size)
    with timed_parts(trained) as part_sec:
        epoch(trained)
    assert tuple(part_sec) == PARTS
    assert list(part_sec.values()) == [passes, passes, passes, passes, updates, 1]


@pytest.mark.usefixtures("ticking")
def test_nothing_is_timed_before_and_after(train: Examples) -> None:
    trained = training(train, 8)
    timed = timed_parts(trained)
    epoch(trained)
    with timed as part_sec:
        pass
    epoch(trained)
    assert set(part_sec.values()) == {0}


def test_a_training_gives_the_same_numbers_while_it_is_timed(train: Examples) -> None:
    plain, timed = training(train, 40), training(train, 40)
    expected = plain.train_epoch(1), plain._validate()
    with timed_parts(timed):
        assert (timed.train_epoch(1), timed._validate()) == expected
    for mine, theirs in zip(plain.gradients.parameters, timed.gradients.parameters, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.usefixtures("ticking")
def test_a_recorded_update_is_set_aside_while_parts_are_timed(train: Examples) -> None:
    trained = training(train, 8)
    recorded: list[int] = []

    def replayed(
        function: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor
    ) -> torch.Tensor:
        recorded.append(len(batch))
        return function(batch)

    trained.graph = replayed
    with timed_parts(trained) as part_sec:
        epoch(trained)
        assert recorded == []
    assert part_sec["optimiser"] == 2
    epoch(trained)
    assert recorded == [4, 4]


@pytest.mark.usefixtures("ticking")
def test_epochs_are_timed_alone_and_in_parts_that_with_the_rest_add_up(train: Examples) -> None:
    trained = training(train, 10)
    alone, parted = time_epochs(trained, 3)
    assert alone == [1, 1, 1]  # the clock was read at both ends only
    assert len(parted) == 3
    for part_sec in parted:
        assert tuple(part_sec) == (*PARTS, REST)
        # 16 calls are timed: 32 readings between the first and the last
        assert sum(part_sec.values()) == 33
        assert part_sec[REST] == 33 - 16


@pytest.mark.usefixtures("ticking")
def test_the_epoch_that_warms_up_is_not_timed(
    train: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, numbers = training(train, 8), []
    plain = trained.train_epoch
    monkeypatch.setattr(
        trained, "train_epoch", lambda number: numbers.append(number) or plain(number)
    )
    alone, parted = time_epochs(trained, 2)
    assert numbers == [1, 2, 3, 4, 5]
    assert len(alone) + len(parted) == 4
