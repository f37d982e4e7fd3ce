"""The training loop: one record per epoch, and a state that goes on exactly where it was saved.

All randomness of an epoch is seeded from the trial's seed and the epoch's number. So the state
needs no generator's insides, and a resumed training gives the numbers of one that was never
interrupted.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from trainables.data.examples import Examples
from trainables.goal import USUAL, Goal
from trainables.linear import AffineMap
from trainables.losses import loss_registry
from trainables.losses.loss_registry import Loss
from trainables.losses.loss_settings import Perceptual
from trainables.losses.perceptual import PerceptualLoss
from trainables.losses.vgg16_weights import Vgg16
from trainables.metrics import metric_registry
from trainables.metrics.cosine import cosine_similarity
from trainables.networks.base import MAP, habits_of
from trainables.networks.registry import build, find
from trainables.tasks import STUDY, Task
from trainables.training import early_stopping
from trainables.training.adam import Adam
from trainables.training.cuda_graphs import CudaGraphStep
from trainables.training.gradients import Gradients
from trainables.training.precision import Precision, choose
from trainables.training.schedules import CONSTANT, FALLING
from trainables.training.seeds import derive_seed
from trainables.training.workers import Workers

VALIDATION_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One trial's settings. Limits are checked where they are typed: `hyperparameters`, settings.

    Attributes:
        model: As `networks.registry.find` takes it.
        task: What the network is built for.
        chosen: Arguments of the network's constructor, by name.
        weight_decay: As `Adam` takes it.
        schedule: One of `schedules.SCHEDULES`.
        patience: Epochs without improvement before early stopping, which only a constant schedule
            has.
        early_stopping: A key of `early_stopping.CRITERIA`.
        batch_size: Images per update, over all workers together.
        precision: As `precision.choose` takes it.
        loss: As `loss_registry.find` takes it.
        perceptual: What the perceptual loss is made of, where that is the loss.
        goal: What the best epoch is chosen by.
        metric: Where that is a metric: as `metric_registry.find` takes it.
        compiled: Whether the network trains through torch.compile.
    """

    model: str
    learning_rate: float
    max_epochs: int
    seed: int
    task: Task = STUDY
    chosen: Mapping[str, Any] = field(default_factory=dict)
    weight_decay: float = 0.0
    schedule: str = CONSTANT
    patience: int = 10
    early_stopping: str = "best"
    batch_size: int = 256
    precision: str = "auto"
    loss: str = "mse"
    perceptual: Perceptual = field(default_factory=Perceptual)
    goal: Goal = USUAL
    metric: str = ""
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch gave. Its losses are means, over images, of what is trained with."""

    epoch: int  # from 1
    train_loss: float
    validation_loss: float
    validation_accuracy: float  # fraction of images with cosine similarity ≥ the goal's threshold
    validation_cosine: float  # mean over the images
    train_sec: float
    validation_sec: float
    images_per_sec: float  # training only
    stop_reason: str = ""  # max_epochs, early_stopping, diverged; empty while training goes on
    validation_score: float | None = None  # mean of the goal's metric over the images that have it


class Training:
    """One network's training, which can be saved after any epoch and loaded into a new object.

    Args:
        config: The trial's settings.
        train: Images to train on; copied to the device where they are elsewhere.
        validation: Images that decide when to stop and which epoch was best.
        device: Where to train.
        workers: This process among those that train the network; None for alone.
        vgg: What the perceptual loss needs.
        start: The affine map that a network starts at whose hyperparameter `start` is `map`, as
            `start_map` finds it. Without one such a network starts as its constructor leaves it.

    Raises:
        ValueError: The loss is perceptual, and `vgg` is missing.
    """

    def __init__(
        self,
        config: TrainingConfig,
        train: Examples,
        validation: Examples,
        *,
        device: torch.device,
        workers: Workers | None = None,
        vgg: Vgg16 | None = None,
        start: AffineMap | None = None,
    ) -> None:
        self.config = config
        self.device = device
        self.workers = workers or Workers()
        self.train = train.to(device)
        self.validation = validation.to(device)
        self.history: list[EpochRecord] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        habits = habits_of(find(config.model))
        self.precision: Precision = choose(
            config.precision, pays=habits.reduced_precision, device=device
        )
        loss = _loss(config, vgg, device)
        self.perceptual = loss if isinstance(loss, PerceptualLoss) else None
        self._metric = metric_registry.find(config.metric) if config.goal.has_score else None
        slice_size = habits.slice_size(device)
        shard = len(self.workers.shard(torch.empty(config.batch_size)))
        memory_format = torch.channels_last if slice_size else self.precision.memory_format
        self.precision.set_products()
        torch.manual_seed(config.seed)
        network = build(config.model, config.task, **config.chosen)
        if start is not None and config.chosen.get("start") == MAP:
            cast(Any, network).start_at(start)
        self.network = network.to(device).to(memory_format=memory_format)
        self.gradients = Gradients(
            self.network,
            loss,
            self.precision,
            device,
            memory_format,
            config.task.output_shape,
            slice=slice_size,
            compiled=config.compiled,
            full_size=min(slice_size or shard, shard),
        )
        # A tensor, where it changes: a recorded step reads it anew each time
        self._rate: Tensor | None = None
        if config.schedule in FALLING:
            self._rate = torch.tensor(config.learning_rate, device=device)
        self.optimizer = Adam(
            self.gradients.parameters,
            learning_rate=config.learning_rate if self._rate is None else self._rate,
            weight_decay=config.weight_decay,
        )
        self.graph = CudaGraphStep() if graph_pays(config, device, self.workers) else None
        self._next_order: tuple[int, Tensor] | None = None

    @property
    def perceptual_batch(self) -> int | None:
        """Images of a pass through VGG16, halved whenever memory was short; None without VGG16."""
        return None if self.perceptual is None else self.perceptual.batch

    @property
    def graph_problem(self) -> str:
        """Why steps could not be recorded as a CUDA graph; empty where they were or need not be."""
        return self.graph.problem if self.graph else ""

    def epochs(self) -> Iterator[EpochRecord]:
        """Train on from the state; yields each epoch's record, the last with a stop reason."""
        while not (self.history and self.history[-1].stop_reason):
            epoch = len(self.history) + 1
            start = time.perf_counter()
            train_loss = self.train_epoch(epoch)
            trained = time.perf_counter()
            loss, accuracy, cosine, score = self._validate()
            record = EpochRecord(
                epoch=epoch,
                train_loss=train_loss,
                validation_loss=loss,
                validation_accuracy=accuracy,
                validation_cosine=cosine,
                validation_score=score if self._metric else None,
                train_sec=trained - start,
                validation_sec=time.perf_counter() - trained,
                images_per_sec=len(self.train) / (trained - start),
                stop_reason=self._stop_reason(epoch, train_loss, loss),
            )
            self._keep_if_best(record)
            self.history.append(record)
            yield record

    def train_epoch(self, epoch: int) -> float:
        """Go over the shuffled training images once; returns their mean loss.

        The loss is read from the device once. No record is left: `epochs` does that.
        """
        self.network.train()
        torch.manual_seed(derive_seed(self.config.seed, epoch, self.workers.rank))  # for dropout
        total = torch.zeros((), device=self.device)
        batches = self._order(epoch).split(self.config.batch_size)
        for number, batch in enumerate(batches, start=(epoch - 1) * len(batches)):
            self._set_rate(number, self.config.max_epochs * len(batches))
            replay = self.graph if len(batch) == self.config.batch_size else None
            total += replay(self._update, batch) if replay else self._update(batch)
        self._next_order = epoch + 1, self._shuffled(epoch + 1)  # while a GPU is still at work
        (total,) = self.workers.add_up([total])
        return float(total) / len(self.train)

    def _set_rate(self, update: int, updates: int) -> None:
        """Set the learning rate of an update, from 0, of the `updates` of the whole training."""
        if self._rate is not None:
            share = FALLING[self.config.schedule](update, updates)
            self._rate.fill_(self.config.learning_rate * share)

    def _update(self, batch: Tensor) -> Tensor:
        """Update from a batch's indices; returns the sum of the losses of this worker's images."""
        loss, gradients = self.gradients.of(self.train, self.workers.shard(batch), len(batch))
        self.optimizer.step(self.workers.add_up(gradients))
        return loss

    def _order(self, epoch: int) -> Tensor:
        ready, self._next_order = self._next_order, None
        return ready[1] if ready and ready[0] == epoch else self._shuffled(epoch)

    def _shuffled(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, epoch))
        order = torch.randperm(len(self.train), generator=generator)
        if self.device.type == "cpu":
            return order
        return order.pin_memory().to(self.device, non_blocking=True)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float, float, float]:
        """Return means over the validation images: loss, cosine accuracy, cosine and score.

        The score is NaN where no image has one, or none is asked for.
        """
        self.network.eval()
        indices = self.workers.shard(torch.arange(len(self.validation), device=self.device))
        sums = torch.zeros(5, dtype=torch.float64, device=self.device)
        size = self.gradients.slice or VALIDATION_BATCH
        for batch in indices.split(size) if len(indices) else ():
            images, targets = self.gradients.read(self.validation, batch)
            outputs = self.gradients.forward(images)
            cosines = cosine_similarity(outputs, targets)
            sums[0] += self.gradients.loss(outputs, targets)
            sums[1] += (cosines >= self.config.goal.threshold).sum()
            sums[2] += cosines.sum()
            if self._metric:
                values = self._metric.measure(outputs, targets, self.config.task)
                sums[3] += values.nansum(dtype=torch.float64)
                sums[4] += (~values.isnan()).sum()
        (sums,) = self.workers.add_up([sums])
        loss, accuracy, cosine, score, scored = sums.tolist()
        count = len(self.validation)
        return (
            loss / count,
            accuracy / count,
            cosine / count,
            score / scored if scored else math.nan,
        )

    def _stop_reason(self, epoch: int, train_loss: float, validation_loss: float) -> str:
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            return "diverged"
        losses = [record.validation_loss for record in self.history] + [validation_loss]
        waited = early_stopping.CRITERIA[self.config.early_stopping](losses, self.config.patience)
        # A rate that falls gains most in the last epochs, which patience would not wait for
        if waited and self.config.schedule not in FALLING:
            return "early_stopping"
        return "max_epochs" if epoch >= self.config.max_epochs else ""

    def _keep_if_best(self, record: EpochRecord) -> None:
        known = self.history[self.best_epoch - 1 : self.best_epoch]
        best = self.config.goal.best_epoch(vars(one) for one in (*known, record))
        if record.stop_reason != "diverged" and best is vars(record):
            self.best_epoch = record.epoch
            self.best_weights = {k: v.clone() for k, v in self.network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that training on needs; `torch.load(weights_only=True)` reads it back."""
        last_is_best = self.best_epoch == len(self.history)
        return {
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": [asdict(record) for record in self.history],
            "best_epoch": self.best_epoch,
            "best_weights": None if last_is_best else self.best_weights,
            "perceptual_batch": self.perceptual_batch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state of a training with the same configuration."""
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.best_epoch = state["best_epoch"]
        best = state["weights"] if state["best_weights"] is None else state["best_weights"]
        self.best_weights = {k: v.to(self.device) for k, v in best.items()}
        if self.perceptual is not None:  # how sums are rounded depends on the division into passes
            self.perceptual.batch = state["perceptual_batch"]


def graph_pays(config: TrainingConfig, device: torch.device, workers: Workers) -> bool:
    """Tell whether a training's whole batches are to be replayed as a CUDA graph.

    A process group's messages are not to be recorded.
    """
    alone = device.type == "cuda" and workers.count == 1
    return alone and habits_of(find(config.model)).cuda_graph


def _loss(config: TrainingConfig, vgg: Vgg16 | None, device: torch.device) -> Loss:
    more = {"settings": config.perceptual, "vgg": vgg} if config.loss == "perceptual" else {}
    return loss_registry.find(config.loss)(config.task, device, config.precision, **more)
