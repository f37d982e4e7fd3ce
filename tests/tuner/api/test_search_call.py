"""`search` as a function: its settings, and what it refuses before a process starts."""

import inspect
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.made_runs import make_run
from tests.tuner.own_networks import Mine
from tests.tuner.test_arguments import STORED, store
from trainables.settings_fields import as_flags
from tuner import Result, UsageError, search
from tuner.api import search_call
from tuner.command_line import from_command_line
from tuner.settings import SETTINGS
from tuner.settings_sources import SOURCES


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Sequence[str]]:
    """The command lines that are started: in place of a search a run is made up."""
    lines: list[Sequence[str]] = []

    def follow(module: str, arguments: Sequence[str], shown: object) -> None:
        lines.append(arguments)
        config = from_command_line(arguments)
        make_run(Path(config.storage), config.name, trials=2, epochs=1, tested=False)

    monkeypatch.setattr(search_call, "follow", follow)
    monkeypatch.chdir(tmp_path)
    return lines


def test_importing_it_brings_neither_pytorch_nor_ray() -> None:
    code = (
        "import sys; from tuner import search; search.__signature__\n"
        "print([name for name in ('torch', 'ray', 'pandas', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_its_signature_and_help_have_every_setting_of_the_command() -> None:
    parameters = inspect.signature(search).parameters
    assert list(parameters) == [*SETTINGS, *SOURCES]
    assert {one.kind for one in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["samples"].annotation == "int | None"
    assert parameters["learning_rate"].annotation == "Sequence[float] | None"
    assert parameters["model"].annotation == "str | Callable"
    assert (parameters["seed"].default, parameters["search"].default) == (0, "tpe")
    for name, one in SETTINGS.items():
        assert f"\n        {name}: {one.meaning} (default: {one.shown_default})\n" in search.__doc__


def test_settings_are_typed_as_a_person_would(typed: list[Sequence[str]]) -> None:
    result = search(
        model="kron",
        pipeline="blur",
        image_size=48,
        learning_rate=[1e-4, 0.5],
        set="terms=1,8",
        start=["lr=1e-3", "lr=3e-3"],
        reduction_factor=4,
        samples=None,
        verbose=True,
        name="mine",
        storage=Path("kept"),
    )
    flags = (
        "--model kron --pipeline blur --image-size 48 --learning-rate 0.0001 0.5 --set terms=1,8 "
        "--start lr=1e-3 --start lr=3e-3 --reduction-factor 4.0 --verbose "
        "--name mine --storage kept"
    )
    assert typed == [flags.split()]
    assert (result.name, result.storage) == ("mine", "kept")


def test_numbers_and_arrays_of_numpy_are_typed_like_those_of_python(
    typed: list[Sequence[str]],
) -> None:
    search(
        samples=np.int64(3),
        seed=np.random.default_rng(0).integers(1, 2),
        reduction_factor=np.float32(2.5),
        learning_rate=np.array([0.25, 0.5]),
        image_size=(np.int64(20), np.int64(30)),
        verbose=np.bool_(True),
        schedule=["cosine", "one-cycle"],
        name="mine",
    )
    flags = (
        "--samples 3 --seed 1 --reduction-factor 2.5 --learning-rate 0.25 0.5 "
        "--image-size 20 30 --verbose "
        "--schedule cosine,one-cycle --name mine"
    )
    assert typed == [flags.split()]


def test_a_run_has_a_name_that_the_result_knows(typed: list[Sequence[str]]) -> None:
    result = search(model=Mine)
    assert result.name.startswith("mine-20")
    assert typed == [["--model", "tests.tuner.own_networks:Mine", "--name", result.name]]


def test_a_file_and_an_earlier_run_give_settings_as_on_the_command_line(
    typed: list[Sequence[str]], tmp_path: Path
) -> None:
    Path("search.toml").write_text("model = 'kron'\nstorage = 'kept'\nname = 'filed'")
    result = search(config="search.toml", pipeline=lambda image: image)
    assert (result.name, result.storage) == ("filed", "kept")
    assert [path.parent for path in Path().rglob("pipeline_*.py")] == [Path("kept/own")]
    store(tmp_path / "results", STORED)
    result = search(like="first", seed=3)
    assert typed[-1] == ["--like", "first", "--seed", "3", "--name", result.name]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"modle": "kron"}, "search: there is no setting modle; did you mean model?"),
        ({"max_epoch": 1}, "search: there is no setting max_epoch; did you mean max_epochs?"),
        (
            {"samples": "many", "pipeline": lambda image: image},
            "search: --samples 'many': give a whole number",
        ),
        ({"samples": 0}, "search: --samples ≥ 1 must hold, but got 0"),
        ({"data": ["a", "b"]}, "search: --data ['a', 'b']: give a text"),
        ({"pipeline": 3}, "search: pipeline is a int: give a name, or an object that can be"),
        ({"resume": "nope"}, "--resume nope: there is no such run in results"),
        ({"like": "nope"}, "--like nope: there is no such run in results"),
        ({"config": {"samples": 2}}, "search: --config {'samples': 2}: give a text"),
        ({"like": 3}, "search: --like 3: give a text"),
        ({"image_size": []}, "--image-size without a number: give height and width"),
        ({"config": "a.toml", "like": "b"}, "--config a.toml can't be read"),
        ({"grace_epochs": 3, "max_epochs": 2}, "--grace-epochs ≤ --max-epochs must hold"),
        ({"pipeline": "list"}, "search: pipeline='list' searches nothing"),
    ],
)
def test_a_mistake_is_a_usage_error_before_anything_starts(
    typed: list[Sequence[str]], settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as mistake:
        search(**settings)
    assert str(mistake.value).startswith(told)
    assert typed == []
    assert list(Path().iterdir()) == []


def test_flags_of_values_give_these_values() -> None:
    values = {"storage": "-x", "set": ("a=1", "-b=2"), "image_size": (1, 2), "verbose": False}
    flags = ["--storage=-x", "--set", "a=1", "--set=-b=2", "--image-size", "1", "2"]
    assert as_flags(SETTINGS, values) == flags


def test_a_mistake_of_the_command_and_its_end_come_from_the_process(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--data .*nowhere: there is no such directory"):
        search(data=tmp_path / "nowhere", storage=tmp_path, wandb="disabled")
    with pytest.raises(UsageError, match="has no run 'nope'"):
        Result("nope", tmp_path)
