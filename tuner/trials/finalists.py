"""The best trials against the test split, beside the floors and the ceiling, and their weights on disk."""

import shutil
from dataclasses import dataclass
from typing import Any

import ray
import torch

from analysis.quality.accuracy import Measured, evaluate, sample_rows, with_repeats
from analysis.tables.files import Row
from analysis.tables.ranking import finalists
from trainables.atomic_write import atomic_write
from trainables.baselines import ceiling, floors
from trainables.data.examples import Examples
from trainables.networks.base import parameter_count
from trainables.networks.end_to_end import EndToEnd
from trainables.networks.registry import build, find
from trainables.networks.weights import SavedNetwork, save_network
from trainables.training.precision import Precision
from tuner.cluster.nodes import WorkerResources
from tuner.settings import SearchConfig
from tuner.storage import checkpoints
from tuner.storage.experiment import Experiment
from tuner.storage.run_storage import BEST_FILE, RunStorage


@dataclass(frozen=True)
class Evaluated:
    """What the test split says of one trial, and its weights."""

    weights: dict[str, torch.Tensor]
    accuracy: list[Row]
    samples: list[Row]


def evaluate_finalists(
    config: SearchConfig,
    trials: list[Row],
    resources: WorkerResources,
    train_targets: torch.Tensor,
    test: Examples,
) -> list[Row]:
    """Evaluate finalists and their repeats where trials run, floors and ceiling here; publish the tables.

    Returns the rows of the accuracy table, best finalist first.
    """
    best = finalists(trials, config.finalists)
    numbers = {row["trial"] for row in best}
    repeats = [row for row in trials if row["repeat_of"] in numbers]
    rows = _baselines(train_targets, test)
    evaluated = _evaluate_all(config, best + repeats, resources, test)
    for row, one in zip(best + repeats, evaluated, strict=True):
        _save(config, row, one.weights)
    accuracy = with_repeats([row for one in evaluated for row in one.accuracy])
    run = config.run_storage
    run.publish("accuracy", [{"run": run.name, **row} for row in accuracy + rows])
    samples = [row for one in evaluated for row in one.samples]
    run.publish("samples", [{"run": run.name, **row} for row in samples])
    _mark_best(run, best[0]["trial"])
    return accuracy + rows


def _evaluate_all(
    config: SearchConfig, rows: list[Row], resources: WorkerResources, test: Examples
) -> list[Evaluated]:
    """On GPUs where trials have them; else here, with every core and no process to wait for."""
    if not resources.gpus:
        return [_evaluate(config, row, test) for row in rows]
    images, targets = ray.put(test.images.numpy()), ray.put(test.targets.numpy())
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(_evaluate_on_gpu)
    evaluated: list[Evaluated] = ray.get(
        [task.remote(config, row, images, targets) for row in rows]
    )
    return evaluated


def _evaluate_on_gpu(config: SearchConfig, row: Row, images: Any, targets: Any) -> Evaluated:
    device = torch.device("cuda")
    Precision("float32", "").set_products()
    return _evaluate(
        config, row, Examples(torch.tensor(images).to(device), torch.tensor(targets).to(device))
    )


def _evaluate(config: SearchConfig, row: Row, test: Examples) -> Evaluated:
    """Load a trial's best weights and measure them on the test split."""
    weights = best_weights(config.run_storage.experiment, row["trial"])
    network = build(config.model, dropout=row["dropout"] or 0.0)
    network.load_state_dict(weights)
    device = test.images.device
    run = EndToEnd(network, find(config.model).defaults.slice_size(device)).eval().to(device)
    measured = Measured(
        subject=f"trial {row['trial']}",
        kind="trial",
        trial=row["trial"],
        repeat_of=row["repeat_of"],
        parameters=parameter_count(network),
    )

    rows, cosines = evaluate(measured, run, "test", test)
    return Evaluated(weights, rows, sample_rows(measured, run, test, cosines))


def _save(config: SearchConfig, row: Row, weights: dict[str, torch.Tensor]) -> None:
    """As safetensors, by the driver: where a trial was evaluated may be another machine."""
    facts = {
        name: row[name] for name in ("trial", "seed", "loss", "best_epoch", "best_validation_loss")
    }
    saved = SavedNetwork(config.model, row["dropout"] or 0.0, {"run": config.name, **facts})
    save_network(config.run_storage.weights(row["trial"]), weights, saved)


def best_weights(experiment: Experiment, number: int) -> dict[str, torch.Tensor]:
    """The weights of a trial's best epoch, from its newest checkpoint.

    Raises OSError when no checkpoint of it can be read.
    """
    state = checkpoints.newest(experiment, experiment.checkpoints(number)).state
    if state is None:
        raise OSError(f"no checkpoint of trial {number} in {experiment.root} can be read")
    best: dict[str, torch.Tensor] | None = state["best_weights"]
    weights: dict[str, torch.Tensor] = state["weights"] if best is None else best
    return weights


def _baselines(train_targets: torch.Tensor, test: Examples) -> list[Row]:
    kinds = {"floor": floors(train_targets), "ceiling": ceiling()}
    rows = []
    for kind, subjects in kinds.items():
        for name, run in subjects.items():
            rows += evaluate(Measured(name, kind), run, "test", test)[0]
    return rows


def _mark_best(run: RunStorage, trial: int) -> None:
    """Copy the best trial's weights, so that they can be sent to somebody by themselves."""
    with atomic_write(run.networks / BEST_FILE) as aside:
        shutil.copyfile(run.weights(trial), aside)
