"""The best trials against the test split, beside floors and ceiling, and their weights on disk."""

import shutil
from dataclasses import dataclass
from typing import Any

import ray
import torch

from analysis.quality.accuracy import Measured, evaluate, sample_rows, with_repeats
from analysis.tables.files import Row
from trainables.atomic_write import atomic_write
from trainables.baselines import ceiling, floors
from trainables.data.examples import Examples
from trainables.networks.base import EndToEnd, parameter_count
from trainables.networks.registry import build, find
from trainables.networks.weights import SavedNetwork, save_network
from trainables.training.precision import Precision
from tuner.cluster.nodes import WorkerResources
from tuner.storage import checkpoints
from tuner.storage.experiment import Experiment
from tuner.storage.run_storage import BEST_FILE, RunStorage

SAVED_FACTS = ("trial", "seed", "loss", "best_epoch", "best_validation_loss")


@dataclass(frozen=True)
class Evaluated:
    """What the test split says of one trial, and its weights."""

    weights: dict[str, torch.Tensor]
    accuracy: list[Row]
    samples: list[Row]


def evaluate_finalists(
    run: RunStorage,
    best: list[Row],
    trials: list[Row],
    resources: WorkerResources,
    train_targets: torch.Tensor,
    test: Examples,
) -> list[Row]:
    """Evaluate finalists and their repeats; write their weights and the tables.

    Args:
        run: Where the checkpoints lie, and where tables and networks go.
        best: Rows of the finalists, the best first.
        trials: Rows of all trials, repeats among them.
        resources: What each worker of a trial has: on a GPU where it has one, else here.
        train_targets: (N, 1, 28, 28) float32, for the floors.
        test: Images of the test split with their targets.

    Returns:
        The rows of the accuracy table: finalists, repeats, floors and ceiling.
    """
    numbers = {row["trial"] for row in best}
    rows = best + [row for row in trials if row["repeat_of"] in numbers]
    evaluated = _evaluate_all(run.experiment, rows, resources, test)
    for row, one in zip(rows, evaluated, strict=True):
        _save(run, row, one.weights)
    accuracy = with_repeats([row for one in evaluated for row in one.accuracy])
    accuracy += _baselines(train_targets, test)
    run.publish("accuracy", [{"run": run.name, **row} for row in accuracy])
    samples = [row for one in evaluated for row in one.samples]
    run.publish("samples", [{"run": run.name, **row} for row in samples])
    # A copy, so that it can be sent to somebody by itself
    with atomic_write(run.networks / BEST_FILE) as aside:
        shutil.copyfile(run.weights(best[0]["trial"]), aside)
    return accuracy


def _evaluate_all(
    experiment: Experiment, rows: list[Row], resources: WorkerResources, test: Examples
) -> list[Evaluated]:
    """On GPUs where trials have them; else here, with every core and no process to wait for."""
    if not resources.gpus:
        return [_evaluate(experiment, row, test) for row in rows]
    images, targets = ray.put(test.images.numpy()), ray.put(test.targets.numpy())
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(_evaluate_on_gpu)
    references = [task.remote(experiment, row, images, targets) for row in rows]
    evaluated: list[Evaluated] = ray.get(references)
    return evaluated


def _evaluate_on_gpu(experiment: Experiment, row: Row, images: Any, targets: Any) -> Evaluated:
    Precision("float32", "").set_products()
    test = Examples(torch.tensor(images), torch.tensor(targets))
    return _evaluate(experiment, row, test.to(torch.device("cuda")))


def _evaluate(experiment: Experiment, row: Row, test: Examples) -> Evaluated:
    """Load a trial's best weights and measure them on the test split."""
    weights = best_weights(experiment, row["trial"])
    network = build(row["model"], dropout=row["dropout"] or 0.0)
    network.load_state_dict(weights)
    device = test.images.device
    run = EndToEnd(network, find(row["model"]).defaults.slice_size(device)).eval().to(device)
    measured = Measured(
        subject=f"trial {row['trial']}",
        kind="trial",
        trial=row["trial"],
        repeat_of=row["repeat_of"],
        parameters=parameter_count(network),
    )

    rows, cosines = evaluate(measured, run, "test", test)
    return Evaluated(weights, rows, sample_rows(measured, run, test, cosines))


def _save(run: RunStorage, row: Row, weights: dict[str, torch.Tensor]) -> None:
    """Write weights here: where a trial was evaluated may be another machine."""
    facts = {"run": run.name, **{name: row[name] for name in SAVED_FACTS}}
    saved = SavedNetwork(row["model"], row["dropout"] or 0.0, facts)
    save_network(run.weights(row["trial"]), weights, saved)


def best_weights(experiment: Experiment, number: int) -> dict[str, torch.Tensor]:
    """Return the weights of a trial's best epoch, from its newest checkpoint.

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
