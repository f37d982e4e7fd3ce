"""Settings declared once: flag, help, default and check come from there, and tables of docs/.

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        passes: int = setting(30, "timed passes per series", least=2)

    SETTINGS = declared(Settings)

Without PyTorch, whose import takes 2 s.
"""

import argparse
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from trainables.errors import UsageError

# What a setting of a type may be, in a file too, and how sentences call it
TYPES: Mapping[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    bool: ((bool,), "true or false"),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is declared of one setting.

    Attributes:
        help: What it does, without its choices and its default.
        default: Its value where the flag is not given. None stands for what `default_text` says.
        group: The heading under which `--help` lists it; empty for none.
        default_text: How the default is shown, where that is not the value itself.
        choices: The words that it may be; empty where it may be others.
        least: The lowest number allowed.
        above: It must be greater than this.
        below: It must be less than this.
        may_change: Whether `--resume` takes another value than the run began with.
        type: Of one value, which is bool for a flag that takes none. `declared` reads it off the
            field.
        nargs: How many values the flag takes, as argparse has it; None for one.
        repeated: Whether the flag takes one value and may be given several times.
        metavar: How `--help` calls the values.
        short: A second, short flag.
    """

    help: str
    default: Any = None
    group: str = ""
    default_text: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    below: float | None = None
    may_change: bool = False
    type: type = str
    nargs: int | str | None = None
    repeated: bool = False
    metavar: str | tuple[str, ...] | None = None
    short: str = ""

    @property
    def shown_default(self) -> str:
        """The default as it is printed."""
        is_number = isinstance(self.default, float)
        return self.default_text or (f"{self.default:g}" if is_number else str(self.default))

    @property
    def meaning(self) -> str:
        """What it does, its choices first."""
        if not self.choices:
            return self.help
        return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}: {self.help}"

    def check(self, name: str, value: Any) -> None:
        """Raise UsageError with one sentence where the setting `name` can't have this value.

        Of several values each is checked. None is not, where it stands for the default.
        """
        if value is None and self.default is None:
            return
        values = value if self.nargs is not None or self.repeated else (value,)
        if not isinstance(values, tuple) or self.nargs not in (None, "+", len(values)):
            count = f" of {self.nargs}" if isinstance(self.nargs, int) else ""
            raise UsageError(f"{flag(name)} {value!r}: give a list{count}")
        for one in values:
            self._check_one(name, one)

    def _check_one(self, name: str, value: Any) -> None:
        types, words = TYPES[self.type]
        is_flag = isinstance(value, bool)  # which Python takes for a whole number too
        has_type = isinstance(value, types) and is_flag == (self.type is bool)
        if not has_type:
            raise UsageError(f"{flag(name)} {value!r}: give {words}")
        if value == "" and self.default != "" and not self.repeated:
            raise UsageError(f"{flag(name)} '': the text is empty; give one, or leave it out")
        if self.choices and value not in self.choices:
            raise UsageError(f"{flag(name)} {value}: choose one of {', '.join(self.choices)}")
        limits = (
            ("≥", operator.ge, self.least),
            (">", operator.gt, self.above),
            ("<", operator.lt, self.below),
        )
        for sign, holds, limit in limits:
            if limit is not None and not (holds(value, limit) and abs(value) < math.inf):
                raise UsageError(f"{flag(name)} {sign} {limit} must hold, but got {value}")


def setting(default: Any, help: str, **more: Any) -> Any:
    """Declare a field of a dataclass as a setting; `more` is what else `Setting` takes."""
    return field(default=default, metadata={"setting": Setting(help=help, default=default, **more)})


def declared(settings: type) -> Mapping[str, Setting]:
    """Return what a dataclass declares of each setting, by name, in the order of its fields.

    A field of type `int | None` or `tuple[int, ...]` gives its setting the type int, and of a tuple
    the flag takes several values. A field may stand for several settings: a mapping by name is then
    in its metadata, as `settings`.
    """
    hints = get_type_hints(settings)
    found: dict[str, Setting] = {}
    for one in fields(settings):
        found.update(one.metadata.get("settings", {}))
        if "setting" not in one.metadata:
            continue
        value = hints[one.name]
        if NoneType in get_args(value):
            value = get_args(value)[0]
        made: Setting = one.metadata["setting"]
        if get_origin(value) is not tuple:
            found[one.name] = replace(made, type=value)
        else:
            nargs = None if made.repeated else "+"
            found[one.name] = replace(made, type=get_args(value)[0], nargs=nargs)
    return found


def flag(name: str) -> str:
    """Return the command-line flag of a setting: `--batch-size` for `batch_size`."""
    return "--" + name.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser, settings: Mapping[str, Setting]) -> None:
    """Add the flag of each setting, under the heading of its group."""
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for name, one in settings.items():
        if one.group not in groups:
            groups[one.group] = parser.add_argument_group(one.group)
        flags = [part for part in (one.short, flag(name)) if part]
        text = f"{one.meaning} (default: {one.shown_default})".replace("%", "%%")
        if one.type is bool:
            groups[one.group].add_argument(*flags, action="store_true", help=text)
            continue
        groups[one.group].add_argument(
            *flags,
            action="append" if one.repeated else "store",
            type=one.type,
            nargs=one.nargs,
            metavar=one.metavar,
            help=text,
        )


def as_flags(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a command line that gives these values, by setting."""
    flags = []
    for name, value in values.items():
        one, typed = settings[name], value if isinstance(value, tuple) else (value,)
        if one.type is bool:
            flags += [flag(name)] if value else []
        elif one.nargs is None:
            flags += [part for text in map(str, typed) for part in _with_value(name, text)]
        else:
            flags += [flag(name), *map(str, typed)]
    return flags


def _with_value(name: str, text: str) -> list[str]:
    """Return a flag with a value, which may look like a flag itself."""
    return [f"{flag(name)}={text}"] if text.startswith("-") else [flag(name), text]


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the values that were typed, by setting: lists as tuples.

    The parser is one with `argument_default=argparse.SUPPRESS`, so that a flag that was not given
    leaves no trace.
    """
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(options).items()
    }
