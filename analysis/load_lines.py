"""The lines of Python that load a trial's network, for every page that shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.tables.parameters import read_space
from analysis.tables.task_columns import task_of
from trainables.hyperparameters import chosen_of, values_of
from trainables.own_code import is_own
from trainables.tasks import STUDY, Task


def loading(networks: Path, run: Mapping[Any, Any], trial: pd.Series) -> tuple[str, str]:
    """Return lines that load a trial's network, and a remark; without lines it says why.

    Args:
        networks: The storage's directory of weights.
        run: The row of `runs`.
        trial: A row of trials as `wide` returns them.
    """
    weights = networks / f"run={trial.run}" / f"trial-{trial.trial:04}.safetensors"
    task = task_of(run)
    if weights.exists():
        return from_weights(trial.model, str(weights), task), ""
    if isinstance(trial.checkpoint, str):
        state = str(Path(trial.checkpoint) / "state.pt")
        lines = from_checkpoint(trial.model, task, _chosen(run, trial), state)
        return lines, "Only finalists have a weights file; this is the trial's last checkpoint."
    return "", "It has no checkpoint yet, from which its network could be loaded."


def from_weights(model: str, weights: str, task: Task) -> str:
    """Return lines that load a file of weights, and run the network.

    Args:
        model: Name of the network.
        weights: The file.
        task: What the network was trained for.
    """
    taken, made = (
        "(N, " + ", ".join(map(str, shape)) + ")" for shape in (task.input_shape, task.output_shape)
    )
    own, given = "", ""
    if is_own(model):  # a weights file must not choose what code runs
        own, given = "from trainables.networks.registry import find\n", f", find({model!r})"
    return (
        f"{own}from trainables.networks.weights import load_network\n\n"
        f"network = load_network({weights!r}{given})\n"
        f"outputs = network(images.float() / 255)  # {taken} uint8 → {made}"
    )


def from_checkpoint(model: str, task: Task, chosen: Mapping[str, Any], state: str) -> str:
    """Return lines that load a trial's checkpoint.

    Args:
        model: Name of the network.
        task: What it was trained for.
        chosen: Arguments of the network.
        state: The checkpoint's file.
    """
    arguments = "".join(f", {name}={value!r}" for name, value in chosen.items())
    imported = ""
    if task != STUDY:
        arguments, imported = f", {task}{arguments}", "from trainables.tasks import Task\n"
    return (
        f"import torch\nfrom trainables.networks.registry import build\n{imported}\n"
        f"state = torch.load({state!r}, weights_only=True)\n"
        f"network = build({model!r}{arguments})\n"
        f'network.load_state_dict(state["best_weights"] or state["weights"])'
    )


def _chosen(run: Mapping[Any, Any], trial: pd.Series) -> dict[str, Any]:
    """Return the arguments of a trial's network."""
    space = read_space(run["space"], trial.model)
    # In the column of several runs, one's whole numbers may have become another's fractions
    said = {
        name: parameter.kind(trial[name])
        for name, parameter in space.items()
        if parameter.kind is not None and name in trial and pd.notna(trial[name])
    }
    return chosen_of(values_of(space, said))
