"""The best trials against the test split, beside floors and ceiling, and their weights on disk."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ray
import torch

from analysis.quality.scores import Measured, evaluate, sample_rows
from analysis.quality.spread import over_trainings
from analysis.tables.files import Row
from trainables.atomic_write import atomic_write
from trainables.baselines import ceilings, floors
from trainables.data.examples import Examples, Splits
from trainables.errors import first_line, last_line
from trainables.hyperparameters import Parameter, chosen_of, said_of, values_of
from trainables.linear import AffineMap
from trainables.networks.base import EndToEnd, habits_of, parameter_count
from trainables.networks.receptive_field import Sight, sight
from trainables.networks.registry import NETWORKS, build, find
from trainables.networks.weights import SavedNetwork, save_network
from trainables.pipelines.calling import CHUNK
from trainables.tasks import Task
from trainables.training.precision import Precision
from tuner.cluster.nodes import WorkerResources
from tuner.storage import checkpoints
from tuner.storage.run_storage import BEST_FILE, Experiment, RunStorage

SAVED_FACTS = ("trial", "seed", "loss", "best_epoch", "best_validation_loss")


# Where a trial's checkpoints lie, its task, its row, and the arguments of its network
Given = tuple[Experiment, Task, Row, dict[str, Any]]
# The weights of a trial, and its rows of the tables scores and samples
Evaluated = tuple[dict[str, torch.Tensor], list[Row], list[Row]]


def evaluate_finalists(
    run: RunStorage,
    best: list[Row],
    trials: list[Row],
    parameters: Mapping[str, Parameter],
    resources: WorkerResources,
    data: Splits,
    affine: AffineMap | None,
) -> list[Row]:
    """Evaluate finalists and their repeats; write their weights and the tables.

    Args:
        run: Where the checkpoints lie, and where tables and networks go.
        best: Rows of the finalists, the best first.
        trials: Rows of all trials, repeats among them.
        parameters: What each hyperparameter may be.
        resources: What each worker of a trial has.
        data: Training targets are for the floors, the test split is what all are measured on.
        affine: The pipeline as its own map; None where it has none.

    Returns:
        The rows of the scores table: finalists, repeats, floors and ceiling.
    """
    numbers = {row["trial"] for row in best}
    rows = best + [row for row in trials if row["repeat_of"] in numbers]
    chosen = [chosen_of(values_of(parameters, said_of(row))) for row in rows]
    given = [(run.experiment, data.task, *both) for both in zip(rows, chosen, strict=True)]
    evaluated = _evaluate_all(given, resources, data.test)
    scores, samples = [], []
    for row, own, (weights, measured, images) in zip(rows, chosen, evaluated, strict=True):
        # Here, since where a trial was evaluated may be another machine
        facts = {"run": run.name, **{name: row[name] for name in SAVED_FACTS}}
        saved = SavedNetwork(row["model"], own, facts, data.task)
        save_network(run.weights(row["trial"]), weights, saved)
        scores += measured
        samples += images
    scores = over_trainings(scores)
    baselines = {
        "floor": floors(data, affine),
        "ceiling": ceilings(data.task, data.test, affine),
    }
    for kind, subjects in baselines.items():
        for name, outputs in subjects.items():
            scores += evaluate(Measured(name, kind), outputs, "test", data.test, data.task)[0]
    run.publish("scores", [{"run": run.name, **row} for row in scores])
    run.publish("samples", [{"run": run.name, **row} for row in samples])
    # A copy, so that it can be sent to somebody by itself
    with atomic_write(run.networks / BEST_FILE) as aside:
        shutil.copyfile(run.weights(best[0]["trial"]), aside)
    return scores


def look(
    trial: Row,
    parameters: Mapping[str, Parameter],
    task: Task,
    resources: WorkerResources,
    affine: AffineMap,
) -> Sight | str:
    """Return how far a trial's network sees, whatever its weights; or why that is unknown.

    Args:
        trial: Its row.
        parameters: What each hyperparameter may be.
        task: What it is built for.
        resources: What each worker of a trial has.
        affine: The pipeline as its own map.
    """
    chosen = chosen_of(values_of(parameters, said_of(trial)))
    given = (trial["model"], chosen, task, resources, affine)
    if _may_run_here(trial["model"], resources):
        return _look(*given)
    try:
        seen: Sight | str = _call_in_processes(_look, [given], resources)[0]
    except OSError as error:  # it is but a remark, and the search is complete
        return first_line(error)
    return seen


def _look(
    model: str,
    chosen: dict[str, Any],
    task: Task,
    resources: WorkerResources,
    affine: AffineMap,
) -> Sight | str:
    network = build(model, task, **chosen).to(_device(resources))
    return sight(network, task, affine) or "no change of its input changes its output"


def _evaluate_all(
    given: list[Given], resources: WorkerResources, test: Examples
) -> list[Evaluated]:
    if _may_run_here(given[0][2]["model"], resources):
        return [_evaluate(one, test) for one in given]
    images, targets = ray.put(test.images.numpy()), ray.put(test.targets.numpy())
    calls = [(one, resources, images, targets) for one in given]
    try:
        return _call_in_processes(_evaluate_as_a_trial, calls, resources)
    except OSError as error:
        raise OSError(f"the finalists can't be evaluated: {error}") from error


def _evaluate_as_a_trial(
    given: Given, resources: WorkerResources, images: Any, targets: Any
) -> Evaluated:
    torch.set_num_threads(resources.threads)
    Precision("float32", "").set_products()
    test = Examples(torch.tensor(images), torch.tensor(targets))
    return _evaluate(given, test.to(_device(resources)))


def _may_run_here(model: str, resources: WorkerResources) -> bool:
    """Whether this process may run the network: one of this project, where trials have no GPU.

    It does so with every core, and there is no process to wait for.
    """
    return model in NETWORKS and not resources.gpus


def _call_in_processes(
    function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], resources: WorkerResources
) -> list[Any]:
    """Call a function in processes that have what a worker of a trial has.

    Raises OSError where the network raises there, or ends its process.
    """
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(function)
    references = [task.remote(*arguments) for arguments in calls]
    try:
        return list(ray.get(references))
    except ray.exceptions.RayError as error:
        raise OSError(last_line(error)) from error


def _device(resources: WorkerResources) -> torch.device:
    return torch.device("cuda" if resources.gpus else "cpu")


def _evaluate(given: Given, test: Examples) -> Evaluated:
    """Load a trial's best weights and measure them on the test split."""
    experiment, task, row, chosen = given
    weights = best_weights(experiment, row["trial"])
    network = build(row["model"], task, **chosen)
    network.load_state_dict(weights)
    device = test.images.device
    run = EndToEnd(network, habits_of(find(row["model"])).slice_size(device)).eval().to(device)
    measured = Measured(
        subject=f"trial {row['trial']}",
        kind="trial",
        trial=row["trial"],
        repeat_of=row["repeat_of"],
        parameters=parameter_count(network),
    )

    rows, values = evaluate(measured, map(run, test.images.split(CHUNK)), "test", test, task)
    return weights, rows, sample_rows(measured, run, test, values["cosine"], task)


def best_weights(experiment: Experiment, number: int) -> dict[str, torch.Tensor]:
    """Return the weights of a trial's best epoch, from its newest checkpoint.

    Raises OSError when no checkpoint of it can be read.
    """
    state, _ = checkpoints.newest(experiment, experiment.checkpoints(number))
    if state is None:
        raise OSError(f"no checkpoint of trial {number} in {experiment.root} can be read")
    # There are none beside the last epoch's where that is the best
    weights: dict[str, torch.Tensor] = state["best_weights"] or state["weights"]
    return weights
