"""What is said of how far a search's best network sees."""

from collections.abc import Callable
from typing import Any

import pytest
import ray

from analysis.console import Console
from tests.trainables.affine_pipelines import map_of
from tests.tuner.simulated_tune import simulated
from trainables.errors import UsageError
from trainables.hyperparameters import COLUMNS
from trainables.networks.base import space_of
from trainables.networks.receptive_field import Sight
from trainables.networks.registry import find
from trainables.pipelines.study import reference
from trainables.tasks import STUDY
from tuner.cluster.nodes import WorkerResources
from tuner.progress.lines import print_sight
from tuner.trials import finalists
from tuner.trials.finalists import look

TRIAL = dict.fromkeys(COLUMNS) | {"parameters": "{}"}
OWN = "tests.tuner.own_networks:Picky"
RESOURCES = WorkerResources(cpus=1, gpus=0, memory_gib=0)


def seen(model: str) -> Sight | str:
    parameters = space_of(find(model))
    return look({**TRIAL, "model": model}, parameters, STUDY, RESOURCES, map_of(reference, STUDY))


def test_a_network_of_the_project_is_looked_at_here_and_a_persons_own_in_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def in_a_worker(function: Callable[..., Any], given: Any, _: WorkerResources) -> list[Any]:
        calls.append(given[0][0])
        return [function(*one) for one in given]

    monkeypatch.setattr(finalists, "_call_in_processes", in_a_worker)
    assert seen("separable") == Sight(1.0, 32, 32)
    assert calls == []
    assert seen(OWN) == Sight(1.0, 32, 32)  # though it looks every value up
    assert calls == [OWN]


def test_what_a_persons_code_raises_in_a_worker_is_told_as_it_tells_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        mistake = UsageError("--metric my.py:f raises ValueError: boom")
        raise ray.exceptions.RayTaskError("f", "its traceback", mistake).as_instanceof_cause()

    with simulated(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "get", fail)
        with pytest.raises(OSError, match=r"^--metric my.py:f raises ValueError: boom$"):
            finalists._call_in_processes(print, [()], RESOURCES)


def test_a_network_that_ends_the_worker_leaves_it_unknown_and_the_search_complete(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dies(*_: object) -> None:
        raise OSError("the worker died\nand more")

    monkeypatch.setattr(finalists, "_call_in_processes", dies)
    print_sight(Console(), OWN, seen(OWN))
    assert capsys.readouterr().out == f"How far {OWN} sees is unknown: the worker died.\n"


@pytest.mark.parametrize(
    ("sight", "line"),
    [
        (Sight(1.0, 32, 32), ""),
        (Sight(0.04, 13, 9), "cnn sees 13 × 9 input pixels around each output pixel: 96.0 % of"),
    ],
)
def test_only_a_network_that_sees_too_little_is_told_of(
    sight: Sight, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_sight(Console(), "cnn", sight)
    said = capsys.readouterr().out
    assert said.startswith(line)
    assert bool(said) == bool(line)
