"""The best trials against the test split, beside floors and ceiling, and their weights on disk."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ray
import torch

from analysis.quality.scores import Measured, evaluate, sample_rows
from analysis.quality.spread import over_trainings
from analysis.tables.files import Row
from trainables import own_code
from trainables.atomic_write import atomic_write
from trainables.baselines import Outputs, ceilings, floors
from trainables.data.examples import Examples, Splits
from trainables.errors import UsageError, first_line, last_line
from trainables.hyperparameters import Parameter, chosen_of, said_of, values_of
from trainables.linear import AffineMap
from trainables.metrics.metric_registry import MetricSet
from trainables.networks.base import EndToEnd, habits_of, parameter_count
from trainables.networks.receptive_field import Sight, sight
from trainables.networks.registry import NETWORKS, build, find
from trainables.networks.weights import SavedNetwork, save_network
from trainables.pipelines.calling import CHUNK
from trainables.tasks import Task
from trainables.training.precision import Precision
from tuner.cluster.nodes import WorkerResources
from tuner.cluster.object_store import put_in_store
from tuner.storage import checkpoints
from tuner.storage.run_storage import BEST_FILE, Experiment, RunStorage

SAVED_FACTS = ("trial", "seed", "loss", "best_epoch", "best_validation_loss")


# Where a trial's checkpoints lie, its task, its row, the arguments of its network, and the metrics
Given = tuple[Experiment, Task, Row, dict[str, Any], MetricSet]
# The weights of a trial, and its rows of the tables scores and samples
Evaluated = tuple[dict[str, torch.Tensor], list[Row], list[Row]]


def evaluate_finalists(
    run: RunStorage,
    best: list[Row],
    trials: list[Row],
    parameters: Mapping[str, Mapping[str, Parameter]],
    resources: WorkerResources,
    data: Splits,
    affine: AffineMap | None,
    metrics: MetricSet,
    nearest: AffineMap | None = None,
) -> list[Row]:
    """Evaluate finalists and their repeats; write their weights and the tables.

    Args:
        run: Where the checkpoints lie, and where tables and networks go.
        best: Rows of the finalists, the best first.
        trials: Rows of all trials, repeats among them.
        parameters: What each hyperparameter may be, by network.
        resources: What each worker of a trial has.
        data: Training targets are for the floors, the test split is what all are measured on.
        affine: The pipeline as its own map; None where it has none.
        metrics: What all are measured with.
        nearest: The best affine map of a pipeline that has none of its own; None to find it.

    Returns:
        The rows of the scores table: finalists, repeats, floors and ceiling.
    """
    numbers = {row["trial"] for row in best}
    rows = best + [row for row in trials if row["repeat_of"] in numbers]
    chosen = [chosen_of(values_of(parameters[row["model"]], said_of(row))) for row in rows]
    # Where trials run, which is in another directory
    found = [{**row, "model": own_code.absolute(row["model"])} for row in rows]
    given = [
        (run.experiment, data.task, *both, metrics) for both in zip(found, chosen, strict=True)
    ]
    # Once for all that is measured elsewhere
    stored = None
    if metrics.own or not _may_run_here(best[0]["model"], resources):
        test = data.test
        stored = put_in_store({"images": test.images, "targets": test.targets})
    evaluated = _evaluate_all(given, resources, data.test, stored)
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
        "floor": floors(data, affine, nearest),
        "ceiling": ceilings(data.task, data.test, affine),
    }
    for kind, subjects in baselines.items():
        for name, outputs in subjects.items():
            what = Measured(name, kind)
            scores += _evaluate_outputs(what, outputs, data, resources, metrics, stored)
    run.publish("scores", [{"run": run.name, **row} for row in scores])
    run.publish("samples", [{"run": run.name, **row} for row in samples])
    # A copy, so that it can be sent to somebody by itself
    with atomic_write(run.networks / BEST_FILE) as aside:
        shutil.copyfile(run.weights(best[0]["trial"]), aside)
    return scores


def _evaluate_outputs(
    what: Measured,
    outputs: Outputs,
    data: Splits,
    resources: WorkerResources,
    metrics: MetricSet,
    stored: Any,
) -> list[Row]:
    """Measure a floor or a ceiling: in another process where code of a person's own is called."""
    if not metrics.own:
        return _scores(what, outputs, data.test, data.task, metrics)
    made = torch.cat([part.float() for part in outputs]).numpy()
    calls = [(what, made, data.task, metrics, resources, stored)]
    rows: list[Row] = _call_in_processes(_scores_elsewhere, calls, resources)[0]
    return rows


def _scores_elsewhere(
    what: Measured,
    outputs: Any,
    task: Task,
    metrics: MetricSet,
    resources: WorkerResources,
    stored: Any,
) -> list[Row]:
    test = _set_up(resources, stored)
    parts = (part.to(test.targets.device) for part in torch.tensor(outputs).split(CHUNK))
    return _scores(what, parts, test, task, metrics)


def _scores(
    what: Measured, outputs: Outputs, test: Examples, task: Task, metrics: MetricSet
) -> list[Row]:
    return evaluate(what, outputs, "test", test, task, metrics.load())[0]


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
    given = (own_code.absolute(trial["model"]), chosen, task, resources, affine)
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
    given: list[Given], resources: WorkerResources, test: Examples, stored: Any
) -> list[Evaluated]:
    if stored is None:
        return [_evaluate(one, test) for one in given]
    calls = [(one, resources, stored) for one in given]
    try:
        return _call_in_processes(_evaluate_as_a_trial, calls, resources)
    except OSError as error:
        raise OSError(f"the finalists can't be evaluated: {error}") from error


def _evaluate_as_a_trial(given: Given, resources: WorkerResources, stored: Any) -> Evaluated:
    return _evaluate(given, _set_up(resources, stored))


def _set_up(resources: WorkerResources, stored: Mapping[str, Any]) -> Examples:
    """Set a process up as a worker of a trial; return the test split on its device.

    Args:
        resources: What it has.
        stored: The split's images and targets, as NumPy has them.
    """
    torch.set_num_threads(resources.threads)
    Precision("float32", "").set_products()
    test = Examples(*(torch.tensor(stored[name]) for name in ("images", "targets")))
    return test.to(_device(resources))


def _may_run_here(model: str, resources: WorkerResources) -> bool:
    """Whether this process may run the network: one of this project, where trials have no GPU.

    It does so with every core, and there is no process to wait for.
    """
    return model in NETWORKS and not resources.gpus


def _call_in_processes(
    function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], resources: WorkerResources
) -> list[Any]:
    """Call a function in processes that have what a worker of a trial has.

    Raises OSError where a person's code raises there, or ends its process.
    """
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(function)
    references = [task.remote(*arguments) for arguments in calls]
    try:
        return list(ray.get(references))
    except ray.exceptions.RayError as error:
        mistake = getattr(error, "cause", None)  # of a person's own code, in a sentence
        said = str(mistake) if isinstance(mistake, UsageError) else last_line(error)
        raise OSError(said) from error


def _device(resources: WorkerResources) -> torch.device:
    return torch.device("cuda" if resources.gpus else "cpu")


def _evaluate(given: Given, test: Examples) -> Evaluated:
    """Load a trial's best weights and measure them on the test split."""
    experiment, task, row, chosen, metrics = given
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

    outputs = map(run, test.images.split(CHUNK))
    rows, values = evaluate(measured, outputs, "test", test, task, metrics.load())
    return weights, rows, sample_rows(measured, run, test, values, task)


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
