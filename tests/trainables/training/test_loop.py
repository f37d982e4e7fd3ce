import io
import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tests.trainables import made_up
from trainables.data.examples import Examples, as_float
from trainables.goal import Goal
from trainables.losses.loss_settings import Perceptual
from trainables.losses.perceptual import PerceptualLoss
from trainables.losses.vgg16_weights import Vgg16
from trainables.metrics import metric_registry
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.tasks import STUDY
from trainables.training.loop import EpochRecord, Training, TrainingConfig
from trainables.training.precision import Precision
from trainables.training.schedules import CONSTANT, FALLING, SCHEDULES
from trainables.training.workers import Workers

CPU = torch.device("cpu")
TIMINGS = {"train_sec", "validation_sec", "images_per_sec"}
FC = TrainingConfig(model="fc", learning_rate=1e-3, max_epochs=3, seed=5, batch_size=64)
SEPARABLE = replace(FC, model="separable", learning_rate=1e-2)
PERCEPTUAL = replace(
    SEPARABLE,
    learning_rate=0.1,
    max_epochs=4,
    batch_size=10,
    loss="perceptual",
    perceptual=Perceptual(layers=(0, 2), layer_weights=(1.0, 0.5), size=32),
)
STANDSTILL = replace(SEPARABLE, learning_rate=1e-12, max_epochs=9, patience=3)


def without_timings(records: Iterable[EpochRecord]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in asdict(r).items() if name not in TIMINGS} for r in records
    ]


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.fixture(scope="module")
def vgg() -> Vgg16:
    return made_up.vgg16(2)


@pytest.fixture
def start(train: Examples, validation: Examples, vgg: Vgg16):
    few = [e.first(24) for e in (train, validation)]  # VGG16 is slow

    def start(config: TrainingConfig) -> Training:
        examples = few if config.loss == "perceptual" else [train, validation]
        return Training(config, *examples, device=CPU, vgg=vgg)

    return start


def test_a_training_gives_a_record_per_epoch_and_a_reason_with_the_last(start) -> None:
    training = start(FC)
    records = list(training.epochs())
    assert [record.epoch for record in records] == [1, 2, 3]
    assert [record.stop_reason for record in records] == ["", "", "max_epochs"]
    assert training.history == records
    assert list(training.epochs()) == []
    assert all(record.images_per_sec == 256 / record.train_sec for record in records)


@pytest.mark.parametrize(
    "config", [replace(FC, chosen={"dropout": 0.5}), SEPARABLE], ids=["fc", "separable"]
)
def test_the_seed_decides_the_numbers(start, config: TrainingConfig) -> None:
    records = without_timings(start(config).epochs())
    torch.rand(7)
    assert without_timings(start(config).epochs()) == records
    other = without_timings(start(replace(config, seed=6)).epochs())
    assert all(a["train_loss"] != b["train_loss"] for a, b in zip(records, other, strict=True))


def test_dropout_changes_training_and_not_validation(start) -> None:
    standing = replace(FC, learning_rate=1e-12, max_epochs=1)
    plain, dropping = (
        next(start(replace(standing, chosen={"dropout": dropout})).epochs())
        for dropout in (0.0, 0.5)
    )
    assert dropping.train_loss != plain.train_loss
    assert dropping.validation_loss == pytest.approx(plain.validation_loss, rel=1e-6)


def test_every_epoch_shows_all_images_once_in_an_order_of_its_own(start, train: Examples) -> None:
    training = start(FC)
    shown: list[Tensor] = []
    training.network.register_forward_pre_hook(
        lambda network, args: shown.append(args[0]) if network.training else None
    )
    list(training.epochs())
    first, second, third = torch.cat(shown).sum(dim=(1, 2, 3)).split(len(train))
    assert torch.equal(first.sort().values, as_float(train.images).sum(dim=(1, 2, 3)).sort().values)
    assert torch.equal(first.sort().values, second.sort().values)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_dropout_is_drawn_anew_for_every_epoch_and_worker(
    train: Examples, validation: Examples
) -> None:
    same_image = Examples(
        train.images[:1].expand(64, -1, -1, -1), train.targets[:1].expand(64, -1, -1, -1)
    )
    config = replace(FC, learning_rate=1e-12, chosen={"dropout": 0.5})
    workers = [Workers(rank=rank, count=1) for rank in range(2)]
    trainings = [Training(config, same_image, validation, device=CPU, workers=w) for w in workers]
    assert len({record.train_loss for training in trainings for record in training.epochs()}) == 6


@pytest.mark.parametrize(
    "config",
    [
        replace(FC, chosen={"dropout": 0.3}, learning_rate=0.02, max_epochs=4),
        replace(FC, chosen={"dropout": 0.3}, max_epochs=4, early_stopping="window"),
        replace(SEPARABLE, learning_rate=0.1, max_epochs=4),
        STANDSTILL,
        replace(STANDSTILL, early_stopping="window"),
        replace(SEPARABLE, learning_rate=0.1, max_epochs=4, schedule="cosine"),
        replace(FC, chosen={"dropout": 0.3}, max_epochs=4, schedule="one-cycle"),
        PERCEPTUAL,
    ],
    ids=[
        "dropout-best",
        "dropout-window",
        "separable",
        "standstill-best",
        "standstill-window",
        "cosine",
        "one-cycle",
        "perceptual",
    ],
)
def test_a_resumed_training_gives_the_numbers_of_an_uninterrupted_one(
    start, config: TrainingConfig
) -> None:
    whole = start(config)
    states = [through_a_file(whole.state_dict()) for _ in whole.epochs()]
    assert len(states) == 4
    for state in [through_a_file(start(config).state_dict()), *states]:
        resumed = start(config)
        torch.rand(3)
        resumed.load_state_dict(state)
        assert len(list(resumed.epochs())) == 4 - len(state["history"])
        assert without_timings(resumed.history) == without_timings(whole.history)
        assert resumed.best_epoch == whole.best_epoch
        assert equal(resumed.network.state_dict(), whole.network.state_dict())
        assert equal(resumed.best_weights, whole.best_weights)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [("constant", "early_stopping"), ("cosine", "max_epochs"), ("one-cycle", "max_epochs")],
)
def test_a_training_whose_rate_is_to_fall_is_not_stopped_before(
    start, schedule: str, reason: str
) -> None:
    *_, last = start(replace(STANDSTILL, schedule=schedule)).epochs()
    assert last.stop_reason == reason
    assert (last.epoch < STANDSTILL.max_epochs) == (schedule == "constant")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_update_has_the_rate_that_its_schedule_says(start, schedule: str) -> None:
    training = start(replace(SEPARABLE, batch_size=100, schedule=schedule))
    seen: list[float] = []
    step = training.optimizer.step

    def noted(gradients: list[Tensor]) -> None:
        seen.append(float(training.optimizer.learning_rate))
        step(gradients)

    training.optimizer.step = noted  # type: ignore[method-assign]
    list(training.epochs())
    updates = 3 * 3  # 256 images are three batches, the last of them smaller
    if schedule == CONSTANT:
        assert seen == [1e-2] * updates  # no rounding on the way
        return
    share = FALLING[schedule]
    assert seen == pytest.approx([1e-2 * share(update, updates) for update in range(updates)])


def test_the_best_weights_are_those_of_the_epoch_with_the_lowest_loss(
    start, validation: Examples
) -> None:
    training = start(replace(SEPARABLE, learning_rate=0.1, max_epochs=5))
    losses = [record.validation_loss for record in training.epochs()]
    assert training.best_epoch == losses.index(min(losses)) + 1 < 5
    training.network.load_state_dict(training.best_weights)
    loss = mse_loss(training.network(as_float(validation.images)), validation.targets)
    assert loss.item() == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize("rank_by", ["mse", "psnr", "cosine"])
def test_the_best_weights_are_those_of_the_epoch_that_is_best_by_what_is_ranked_by(
    start, validation: Examples, rank_by: str
) -> None:
    goal = Goal(rank_by=rank_by, higher_is_better=rank_by != "mse", threshold=0.9)
    config = replace(FC, learning_rate=0.02, max_epochs=6, goal=goal)
    if goal.has_score:
        config = replace(config, metric=rank_by)
    training = start(config)
    seen = []
    for record in training.epochs():
        with torch.no_grad():
            outputs = training.network(as_float(validation.images))
        cosines = cosine_similarity(outputs, validation.targets)
        assert record.validation_accuracy == pytest.approx(cosine_accuracy(cosines, 0.9))
        expected = None
        if goal.has_score:
            metric = metric_registry.find(rank_by)
            expected = pytest.approx(
                metric.measure(outputs, validation.targets, STUDY).mean().item()
            )
        assert record.validation_score == expected
        seen.append({k: v.clone() for k, v in training.network.state_dict().items()})
    best = goal.best_epoch(vars(record) for record in training.history)["epoch"]
    assert training.best_epoch == best
    assert equal(training.best_weights, seen[best - 1])


def test_a_metric_that_is_not_ranked_by_is_not_computed(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_registry, "find", None)
    assert [record.validation_score for record in start(SEPARABLE).epochs()] == [None] * 3


def test_the_score_is_the_mean_over_images_that_have_one(start, tmp_path: Path) -> None:
    (tmp_path / "halves.py").write_text(
        "def half(outputs, targets):\n"
        "    dark = targets.flatten(1).mean(1) < 0.4\n"
        "    return dark.float().masked_fill(~dark, float('nan')) + 2\n"
        "def none(outputs, targets):\n"
        "    return targets.flatten(1).mean(1) * float('nan')\n"
    )
    for name, expected in (("half", 3.0), ("none", None)):
        config = replace(
            SEPARABLE, max_epochs=1, goal=Goal(rank_by=name), metric=f"{tmp_path}/halves.py:{name}"
        )
        training = start(config)
        (record,) = training.epochs()
        if expected is None:
            assert math.isnan(record.validation_score)
            assert training.best_epoch == 0
        else:
            assert record.validation_score == expected


def test_a_loss_of_ones_own_is_trained_and_told_as_its_mean(
    start, validation: Examples, tmp_path: Path
) -> None:
    (tmp_path / "absolute.py").write_text(
        "def error(outputs, targets):\n    return (outputs - targets).abs().flatten(1).mean(1)\n"
    )
    training = start(replace(SEPARABLE, loss=f"{tmp_path}/absolute.py:error"))
    records = list(training.epochs())
    assert records[-1].train_loss < 0.9 * records[0].train_loss
    outputs = training.network(as_float(validation.images))
    mean = (outputs - validation.targets).abs().mean().item()
    assert records[-1].validation_loss == pytest.approx(mean, rel=1e-5)


def test_a_training_that_diverges_says_so_and_stops(start) -> None:
    training = start(replace(SEPARABLE, learning_rate=1e20))
    (record,) = training.epochs()
    assert record.stop_reason == "diverged"
    assert not math.isfinite(record.validation_loss)
    assert (training.best_epoch, training.best_weights) == (0, {})


def test_an_epoch_that_diverged_is_never_best(start) -> None:
    good = start(SEPARABLE)
    next(good.epochs())
    training = start(replace(SEPARABLE, learning_rate=1e20))
    training.load_state_dict(through_a_file(good.state_dict()))
    (record,) = training.epochs()
    assert (record.epoch, record.stop_reason) == (2, "diverged")
    assert training.best_epoch == 1
    assert equal(training.best_weights, good.best_weights)
    restored = start(SEPARABLE)
    restored.load_state_dict(through_a_file(training.state_dict()))
    assert equal(restored.best_weights, good.best_weights)
    assert list(restored.epochs()) == []


def test_a_training_loss_that_overflows_is_never_best_though_validation_still_looks_fine(
    train: Examples, validation: Examples
) -> None:
    huge = Examples(train.images, train.targets + 1e20)
    training = Training(SEPARABLE, huge, validation, device=CPU)
    (record,) = training.epochs()
    assert math.isinf(record.train_loss)
    assert math.isfinite(record.validation_loss)
    assert (record.stop_reason, training.best_epoch) == ("diverged", 0)


@pytest.mark.parametrize("criterion", ["best", "window"])
@pytest.mark.parametrize("patience", [1, 3])
def test_a_standstill_is_stopped_early(start, criterion: str, patience: int) -> None:
    records = list(start(replace(STANDSTILL, early_stopping=criterion, patience=patience)).epochs())
    assert [record.stop_reason for record in records] == [""] * patience + ["early_stopping"]


@pytest.mark.parametrize(("criterion", "reason"), [("best", "early_stopping"), ("window", "")])
def test_the_criterion_is_the_one_asked_for(start, criterion: str, reason: str) -> None:
    config = replace(STANDSTILL, early_stopping=criterion, patience=2)
    training = start(config)
    first = next(training.epochs())
    losses = [
        factor * first.validation_loss for factor in (0.5, 1.5, 1.4)
    ]  # two epochs ago it was worse than now
    state = training.state_dict()
    state["history"] = [
        {**asdict(first), "epoch": i, "validation_loss": loss} for i, loss in enumerate(losses, 1)
    ]
    training.load_state_dict(state)
    record = next(training.epochs())
    assert (record.epoch, record.stop_reason) == (4, reason)


def test_the_records_hold_the_means_over_all_images_though_the_last_batch_is_smaller(
    start, train: Examples, validation: Examples
) -> None:
    training = start(replace(STANDSTILL, model="fc", max_epochs=1, batch_size=100))
    (record,) = training.epochs()
    outputs = training.network(as_float(train.images))
    assert record.train_loss == pytest.approx(mse_loss(outputs, train.targets).item(), rel=1e-5)
    outputs = training.network(as_float(validation.images))
    cosines = cosine_similarity(outputs, validation.targets)
    assert record.validation_loss == pytest.approx(
        mse_loss(outputs, validation.targets).item(), rel=1e-5
    )
    assert record.validation_cosine == pytest.approx(cosines.mean().item(), rel=1e-5)
    assert record.validation_accuracy == cosine_accuracy(cosines)


def test_a_perceptual_training_records_the_perceptual_loss_and_the_usual_accuracy(
    start, vgg: Vgg16
) -> None:
    config = replace(PERCEPTUAL, learning_rate=1e-12, max_epochs=1, batch_size=15)
    training = start(config)
    (record,) = training.epochs()
    loss = PerceptualLoss(
        config.perceptual, STUDY, vgg, precision=Precision("float32", ""), device=CPU
    )
    for examples, recorded in (
        (training.train, record.train_loss),
        (training.validation, record.validation_loss),
    ):
        outputs = training.network(as_float(examples.images))
        assert recorded == pytest.approx(
            loss(outputs, examples.targets).item() / len(examples), rel=1e-4
        )
    cosines = cosine_similarity(outputs, training.validation.targets)
    assert record.validation_cosine == pytest.approx(cosines.mean().item(), rel=1e-5)
    assert record.validation_accuracy == cosine_accuracy(cosines)


def test_a_perceptual_training_lowers_the_perceptual_loss(start) -> None:
    first, *_, last = start(replace(PERCEPTUAL, learning_rate=1e-2)).epochs()
    assert last.train_loss < 0.9 * first.train_loss


def operations(network: nn.Module, images: Tensor) -> list[str]:
    with torch.no_grad(), torch.autograd.profiler.profile() as profiler:
        network(images)
    return [event.name for event in profiler.function_events]


def test_the_loss_costs_nothing_once_the_network_is_trained(start) -> None:
    trainings = [
        start(replace(PERCEPTUAL, loss=loss, max_epochs=1)) for loss in ("mse", "perceptual")
    ]
    for training in trainings:
        next(training.epochs())
    plain, perceptual = trainings
    assert (
        perceptual.best_weights.keys()
        == plain.best_weights.keys()
        == plain.network.state_dict().keys()
    )
    shapes = [{name: v.shape for name, v in t.network.state_dict().items()} for t in trainings]
    assert shapes[0] == shapes[1]
    assert len(perceptual.gradients.parameters) == len(plain.gradients.parameters)
    images = as_float(plain.validation.images)
    ran = [operations(training.network, images) for training in trainings]
    assert ran[0] == ran[1] != []


def test_vgg16_is_no_part_of_the_state(start, vgg: Vgg16) -> None:
    training = start(PERCEPTUAL)
    next(training.epochs())
    file = io.BytesIO()
    torch.save(training.state_dict(), file)
    assert len(file.getvalue()) < vgg.tensors["features.2.weight"].nbytes


def test_images_of_a_pass_through_vgg16_are_kept_in_the_state(start) -> None:
    assert start(SEPARABLE).perceptual_batch is None
    training = start(PERCEPTUAL)
    assert training.perceptual_batch > 5
    training.perceptual.batch = 5
    next(training.epochs())
    resumed = start(PERCEPTUAL)
    resumed.load_state_dict(through_a_file(training.state_dict()))
    assert resumed.perceptual_batch == 5


def test_the_perceptual_loss_without_weights_is_refused(
    train: Examples, validation: Examples
) -> None:
    with pytest.raises(ValueError, match=r"the perceptual loss needs VGG16's weights: pass vgg="):
        Training(PERCEPTUAL, train, validation, device=CPU)


@pytest.mark.parametrize("batch_size", [1, 256, 1000])
def test_every_batch_size_trains(start, validation: Examples, batch_size: int) -> None:
    config = replace(SEPARABLE, batch_size=batch_size, max_epochs=1)
    (record,) = Training(config, validation, validation, device=CPU).epochs()
    assert math.isfinite(record.train_loss)


def test_images_and_targets_are_never_written_to(train: Examples, validation: Examples) -> None:
    examples = [Examples(e.images.clone(), e.targets.clone()) for e in (train, validation)]
    training = Training(replace(FC, chosen={"dropout": 0.3}), *examples, device=CPU)
    assert training.train.images.data_ptr() == examples[0].images.data_ptr()
    list(training.epochs())
    for mine, original in zip(examples, (train, validation), strict=True):
        assert torch.equal(mine.images, original.images)
        assert torch.equal(mine.targets, original.targets)


@pytest.mark.parametrize(("model", "images", "epochs"), [("fc", 256, 2), ("cnn", 16, 1)])
def test_bfloat16_comes_close_to_float32(
    train: Examples, validation: Examples, model: str, images: int, epochs: int
) -> None:
    records = {}
    for precision in ("float32", "bfloat16"):
        config = replace(
            FC, model=model, max_epochs=epochs, precision=precision, batch_size=images // 2
        )
        parts = [Examples(e.images[:images], e.targets[:images]) for e in (train, validation)]
        *_, records[precision] = Training(config, *parts, device=CPU).epochs()
    exact, rounded = records["float32"], records["bfloat16"]
    assert rounded.validation_cosine != exact.validation_cosine
    assert rounded.validation_cosine == pytest.approx(exact.validation_cosine, abs=0.01)
    assert rounded.validation_loss == pytest.approx(exact.validation_loss, rel=0.05)
