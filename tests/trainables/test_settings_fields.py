"""One declaration of a setting gives its flag, its check and its row in the documentation."""

import argparse
from dataclasses import dataclass, field

import pytest

from docs.generate import flag_rows
from trainables.errors import UsageError
from trainables.settings_fields import Setting, add_flags, declared, given, setting


@dataclass(frozen=True, kw_only=True)
class Made:
    name: str = setting("", "what it is called", default_text="the date", short="-n")
    passes: int = setting(30, "timed passes", least=2, may_change=True)
    rate: float | None = setting(None, "of learning", default_text="its own", above=0, below=1)
    sizes: tuple[int, ...] = setting((), "images a call", default_text="1 8", least=1)
    own: tuple[str, ...] = setting((), "yours", default_text="none", repeated=True)
    search: str = setting("random", "how to propose", choices=("random", "tpe"), group="search")
    verbose: bool = setting(False, "say more", default_text="off")
    ranges: dict[str, tuple[float, float]] = field(
        default_factory=dict,
        metadata={"settings": {"dropout": Setting(help="range", nargs=2, type=float)}},
    )
    inner: int = 3


SETTINGS = declared(Made)


def parsed(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    add_flags(parser, SETTINGS)
    return given(parser.parse_args(arguments))


def test_every_setting_has_a_flag_with_the_type_of_its_field() -> None:
    assert parsed(
        *("-n", "x", "--passes", "3", "--rate", "0.5", "--sizes", "1", "2", "--own", "a"),
        *("--own", "b", "--search", "tpe", "--verbose", "--dropout", "0", "0.5"),
    ) == {
        "name": "x",
        "passes": 3,
        "rate": 0.5,
        "sizes": (1, 2),
        "own": ("a", "b"),
        "search": "tpe",
        "verbose": True,
        "dropout": (0.0, 0.5),
    }
    assert list(SETTINGS) == [
        *("name", "passes", "rate", "sizes", "own", "search", "verbose", "dropout")
    ]


def test_a_flag_that_is_not_given_leaves_no_trace() -> None:
    assert parsed() == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("passes", 1, "--passes ≥ 2 must hold, but got 1"),
        ("rate", 0.0, "--rate > 0 must hold, but got 0.0"),
        ("rate", 1.0, "--rate < 1 must hold, but got 1.0"),
        ("rate", float("nan"), "--rate > 0 must hold, but got nan"),
        ("sizes", (1, 0), "--sizes ≥ 1 must hold, but got 0"),
        ("search", "grid", "--search grid: choose one of random, tpe"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_flag(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        SETTINGS[name].check(name, value)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("name", "value"),
    [("passes", 2), ("rate", None), ("rate", 0.5), ("sizes", ()), ("search", "tpe")],
)
def test_what_makes_sense_and_what_stands_for_the_default_is_taken(
    name: str, value: object
) -> None:
    SETTINGS[name].check(name, value)


def test_help_lists_meaning_choices_and_default_under_the_group() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, SETTINGS)
    text = " ".join(parser.format_help().split())
    assert "search: --search SEARCH random or tpe: how to propose (default: random)" in text
    assert "-n NAME, --name NAME what it is called (default: the date)" in text


def test_the_table_of_flags_has_a_row_for_each() -> None:
    rows = flag_rows(SETTINGS)
    assert rows[:4] == [
        "| flag | default | what it does | with `--resume` |",
        "|---|---|---|---|",
        "| `-n`, `--name` | the date | what it is called |  |",
        "| `--passes` | 30 | timed passes | may change |",
    ]
    assert len(rows) == 2 + len(SETTINGS)


def test_without_anything_that_may_change_there_is_no_column_for_it() -> None:
    assert flag_rows({"seed": SETTINGS["name"]})[0] == "| flag | default | what it does |"
