import json
import math
import re
from typing import Any

import pytest

from trainables.errors import UsageError
from trainables.hyperparameters import (
    KNOWN,
    Asked,
    Parameter,
    corners,
    label,
    parsed,
    problem_of,
    said_of,
    text,
    training_values,
    values_of,
)

LOG = Parameter(1e-4, 1e-2, log=True)
SPACE = {"learning_rate": LOG, "dropout": Parameter(0.0, 0.5), "hidden": Parameter(128)}


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("learning_rate", 1e-3, ""),
        ("learning_rate", 0.0, "> 0"),
        ("learning_rate", math.inf, "≤ 1e+30"),
        ("learning_rate", math.nan, "> 0"),
        ("dropout", 0.0, ""),
        ("dropout", 0.999, ""),
        ("dropout", 1.0, "< 1"),
        ("dropout", -0.1, "≥ 0"),
        ("patience", 1, ""),
        ("patience", 0, "≥ 1"),
        ("patience", 1_000_001, "≤ 1e+06"),
        ("weight_decay", 0.0, ""),
        ("weight_decay", -1e-9, "≥ 0"),
    ],
)
def test_a_value_that_makes_no_sense_breaks_a_limit(name: str, value: float, limit: str) -> None:
    assert KNOWN[name].broken_limit(value) == limit


def test_each_is_printed_in_its_own_style() -> None:
    values = {"learning_rate": 1.884e-3, "dropout": 0.25, "patience": 7, "slope": 0.12345}
    values |= {"hidden": 4096.0, "kind": "relu", "deep": True}
    texts = [text(name, value) for name, value in values.items()]
    assert texts == ["1.88e-03", "0.250", "7", "0.123", "4096", "relu", "true"]
    assert label("weight_decay") == "Weight decay"


@pytest.mark.parametrize(
    ("parameter", "kind", "is_fixed", "in_words"),
    [
        (LOG, float, False, "0.0001 to 0.01 (log)"),
        (Parameter(2, 10), int, False, "2 to 10"),
        (Parameter(0, 0.5), float, False, "0 to 0.5"),
        (Parameter(choices=(64, 128, 256)), int, False, "64, 128 or 256"),
        (Parameter(choices=("relu", "gelu")), str, False, "relu or gelu"),
        (Parameter(choices=(True, False)), bool, False, "true or false"),
        (Parameter(128), int, True, "128"),
        (Parameter("relu"), str, True, "relu"),
        (Parameter(3, 3), int, True, "3"),
        (Parameter(choices=[1, 2.5]), float, False, "1 or 2.5"),
    ],
)
def test_what_a_hyperparameter_may_be_is_the_same_after_its_way_through_json(
    parameter: Parameter, kind: type, is_fixed: bool, in_words: str
) -> None:
    assert (parameter.kind, parameter.is_fixed, parameter.in_words) == (kind, is_fixed, in_words)
    assert parameter.problem == ""
    again = Parameter.from_plain(json.loads(json.dumps(parameter.to_plain())))
    assert again == parameter
    assert (
        list(map(type, again.values))
        == list(map(type, parameter.values))
        == [kind] * len(parameter.values)
    )


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        (Parameter(), "values of one type must be given, but got None"),
        (Parameter(2, 1), "low ≤ high must hold, but got 2 and 1"),
        (Parameter(0.0, 1.0, log=True), "low > 0 must hold on a logarithmic scale, but got 0.0"),
        (Parameter(math.nan, 1.0), "finite numbers must be given"),
        (Parameter(1.0, math.inf), "finite numbers must be given"),
        (Parameter("a", "b"), "low and high are numbers, but got 'a' and 'b'"),
        (Parameter(False, True), "low and high are numbers, but got False and True"),
        (Parameter(choices=(1, "a")), "values of one type must be given, but got 1 and 'a'"),
        (Parameter(choices=([1],)), "values of one type must be given, but got [1]"),
        (Parameter(choices=(1, 1)), "each choice must be given once, but got 1 and 1"),
        (Parameter(1, 2, choices=(1,)), "either a range or choices must be given, but got both"),
    ],
)
def test_what_no_hyperparameter_may_be_is_told(parameter: Parameter, problem: str) -> None:
    assert problem_of("hidden", parameter).startswith(f"hidden: {problem}")


@pytest.mark.parametrize(
    ("name", "parameter", "problem"),
    [
        ("learning_rate", Parameter(0.0), "learning_rate > 0 must hold, but got 0.0"),
        ("dropout", Parameter(0.0, 1.0), "dropout < 1 must hold, but got 1.0"),
        ("dropout", Parameter("much"), "dropout is a number, but got much"),
        ("patience", Parameter(0.5, 2.5), "patience is a whole number, but got 0.5 to 2.5"),
        (
            "schedule",
            Parameter(choices=("cosine", "linear")),
            "schedule is constant, cosine or one-cycle, but got linear",
        ),
        ("schedule", Parameter(3), "schedule is constant, cosine or one-cycle, but got 3"),
        ("schedule", Parameter(choices=("one-cycle", "cosine")), ""),
        ("a b", Parameter(1), "'a b' is no name of an argument"),
        ("_rank", Parameter(1), "'_rank' is no name of an argument"),
    ],
)
def test_what_those_that_mean_the_same_everywhere_may_not_be_is_told(
    name: str, parameter: Parameter, problem: str
) -> None:
    assert problem_of(name, parameter) == problem


@pytest.mark.parametrize("plain", [{}, {"low": 1}, {"choices": 3}, {"choices": [[]]}, {
    "low": 2, "high": 1, "scale": "linear"
}])  # fmt: skip
def test_what_describes_no_hyperparameter_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"describes no hyperparameter|must (hold|be given)"):
        Parameter.from_plain(plain)


@pytest.mark.parametrize(
    ("setting", "parameter"),
    [
        ("hidden=32:512:log", Parameter(32, 512, log=True)),
        ("hidden=32:512", Parameter(32, 512)),
        ("hidden=64,128,256", Parameter(choices=(64, 128, 256))),
        ("hidden=128", Parameter(128)),
        ("hidden=128:128", Parameter(128)),
        ("slope=0:1e-1", Parameter(0.0, 0.1)),
        ("slope=1,2.5", Parameter(choices=(1.0, 2.5))),
        ("kind=relu,gelu", Parameter(choices=("relu", "gelu"))),
        ("deep=true,false", Parameter(choices=(True, False))),
    ],
)
def test_a_setting_is_a_range_choices_or_one_value(setting: str, parameter: Parameter) -> None:
    assert parsed(setting) == parameter
    Asked({}, (setting,)).check()


@pytest.mark.parametrize("values", ["64,128,64", "1,1.0", "relu,relu"])
def test_a_value_that_is_named_twice_is_told(values: str) -> None:
    with pytest.raises(UsageError, match=f"--set hidden={values}: name each value once"):
        parsed(f"hidden={values}")


FORM = "write NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=A,B,C or NAME=VALUE"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("hidden",), FORM),
        (("=3",), FORM),
        (("hidden=",), FORM),
        (("hidden=1:2:3",), FORM),
        (("hidden=1:2:log:4",), FORM),
        (("hidden=1,,2",), FORM),
        (("hidden=:2",), FORM),
        (("hidden=512:32",), "hidden: low ≤ high must hold, but got 512 and 32"),
        (("hidden=0:32:log",), "hidden: low > 0 must hold on a logarithmic scale"),
        (("hidden=a:b",), "hidden: low and high are numbers, but got 'a' and 'b'"),
        (("hidden=nan:1",), "hidden: finite numbers must be given"),
        (("learning_rate=fast",), "learning_rate is a number"),
        (("learning_rate=0:1",), "learning_rate > 0 must hold, but got 0.0"),
        (("patience=2.5",), "patience is a whole number"),
        (("schedule=1e-3",), "schedule is constant, cosine or one-cycle, but got 1e-3"),
        (("hidden=1", "hidden=2"), " twice: say once what hidden is to be"),
        (("learning_rate=1",), " and --learning-rate: say once what learning_rate is to be"),
    ],
)
def test_a_setting_that_makes_no_sense_for_any_network_is_told(
    settings: tuple[str, ...], told: str
) -> None:
    ranges = {"learning_rate": (1.0, 1.0)} if told.startswith(" and") else {}
    with pytest.raises(UsageError, match=f"^--set {settings[0]}(: | )?{re.escape(told.lstrip())}"):
        Asked(ranges, settings).check()


def test_what_is_asked_for_stands_in_the_place_of_the_networks_own() -> None:
    asked = Asked({"learning_rate": (1e-3, 1e-3)}, ("hidden=32:64:log", "dropout=0,1e-1"))
    assert asked.of(SPACE, "fc") == {
        "learning_rate": Parameter(1e-3, 1e-3, log=True),
        "dropout": Parameter(choices=(0.0, 0.1)),
        "hidden": Parameter(32, 64, log=True),
    }
    assert asked.names == ("learning_rate", "hidden", "dropout")
    assert Asked.from_plain(json.loads(json.dumps(asked.to_plain()))) == asked
    text = {"kind": Parameter("relu"), "deep": Parameter(choices=(True, False))}
    assert Asked({}, ("kind=64", "deep=true")).of(text, "own") == {
        "kind": Parameter("64"),
        "deep": Parameter(True),
    }


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            "hiden=3",
            "fc has no hyperparameter 'hiden'; it has learning_rate, dropout, hidden, kind",
        ),
        ("hidden=0.5:2", "hidden is a whole number"),
        ("hidden=relu", "hidden is a whole number"),
        ("dropout=x", "dropout is a number"),
        ("kind=1:2", "kind: low and high are numbers, but got '1' and '2'"),
    ],
)
def test_what_the_network_does_not_have_is_told(setting: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        Asked({}, (setting,)).of({**SPACE, "kind": Parameter("relu")}, "fc")
    assert str(error.value) == f"--set {setting}: {told}"


def test_corners_have_both_ends_of_each_range_and_each_choice() -> None:
    space = {**SPACE, "kind": Parameter(choices=("a", "b", "c"))}
    found = list(corners(space))
    assert len(found) == 3
    for name, parameter in space.items():
        assert {one[name] for one in found} == set(parameter.values)


def test_a_row_says_what_was_drawn_and_the_space_what_was_fixed() -> None:
    row = {"learning_rate": 0.1, "dropout": None, "patience": 3, "parameters": '{"hidden": 64}'}
    assert said_of(row) == {"learning_rate": 0.1, "patience": 3, "hidden": 64}
    assert said_of({**row, "dropout": math.nan, "parameters": {"hidden": 64}}) == said_of(row)
    space = {name: Parameter(9) for name in ("learning_rate", "patience", "weight_decay", "depth")}
    space["schedule"] = Parameter("constant")
    values = values_of({**space, "hidden": Parameter(1, 99)}, said_of(row))
    assert values == {
        "learning_rate": 0.1,
        "patience": 3,
        "weight_decay": 9,
        "schedule": "constant",
        "depth": 9,
        "hidden": 64,
    }
    assert training_values(values) == {
        "learning_rate": 0.1,
        "patience": 3,
        "weight_decay": 9,
        "schedule": "constant",
        "chosen": {"depth": 9, "hidden": 64},
    }


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (Parameter(128), Parameter(32, 64, log=True), Parameter(32, 128, log=True)),
        (Parameter(0), Parameter(32, 64, log=True), Parameter(0, 64)),
        (Parameter(1, 3), Parameter(0.5, 2.5), Parameter(0.5, 3)),
        (Parameter("a"), Parameter(choices=("b", "a")), Parameter(choices=("a", "b"))),
        (Parameter(1), Parameter("a"), Parameter(choices=("1", "a"))),
        (LOG, LOG, LOG),
    ],
)
def test_one_axis_covers_what_two_runs_searched(
    one: Parameter, other: Parameter, both: Parameter
) -> None:
    assert one.beside(other) == both
