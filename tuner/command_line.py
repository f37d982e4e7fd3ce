"""The command line of a search: flags, over a file's settings or those of an earlier run."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainables.errors import UsageError, prog
from trainables.settings_fields import add_flags, flag, given
from tuner.settings import SETTINGS, SearchConfig
from tuner.settings_sources import SOURCES, earlier_run, of_file, of_run

EXAMPLES = """examples:
  python -m tuner.run --model separable
  python -m tuner.run --model cnn --samples 32 --gpus-per-trial 0.25 --address auto
  python -m tuner.run --config search.toml --samples 64
  python -m tuner.run --resume fc-20260101-120000"""


def parser() -> argparse.ArgumentParser:
    """Return the parser. A flag that is not given leaves no trace, for `--resume`."""
    parser = argparse.ArgumentParser(
        prog=prog("tuner.run"),
        description="Search the hyperparameters with which a small network replaces the pipeline.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    add_flags(parser, {**SETTINGS, **SOURCES})
    return parser


def from_command_line(arguments: Sequence[str]) -> SearchConfig:
    """Return the search that a command line asks for, on top of the earlier run that it resumes.

    Raises UsageError with one sentence for what makes no sense, and SystemExit as argparse does.
    """
    return from_typed(given(parser().parse_args(arguments)))


def from_typed(typed: Mapping[str, Any]) -> SearchConfig:
    """Return the search that settings ask for, SOURCES among them.

    Raises UsageError with one sentence for what makes no sense.

    Args:
        typed: Values by name, as `given` returns them.
    """
    flags = {name: value for name, value in typed.items() if name not in SOURCES}
    sources = [f"{flag(name)} {typed[name]}" for name in SOURCES if name in typed]
    if "resume" in flags:
        if sources:
            raise UsageError(
                f"--resume {flags['resume']} and {' and '.join(sources)}: a run goes on with its "
                f"own settings; leave {' and '.join(one.split()[0] for one in sources)} out"
            )
        return _resumed(SearchConfig.from_flat(flags), flags)
    if len(sources) > 1:
        raise UsageError(f"{' and '.join(sources)}: both say what the settings are; give one")
    others: dict[str, Any] = {}
    origin = "file"
    if "config" in typed:
        others = of_file(typed["config"])
    elif "like" in typed:
        origin = "run"
        others = of_run(typed["like"], flags.get("storage", SETTINGS["storage"].default), flags)
    origins = {**dict.fromkeys(others, origin), **dict.fromkeys(flags, "flag")}
    config = SearchConfig.from_flat({**others, **flags})
    return replace(config, origins=origins).named()


def _resumed(asked: SearchConfig, typed: dict[str, Any]) -> SearchConfig:
    name = asked.resume or ""
    row, began = earlier_run("--resume", name, asked.storage)
    earlier = began.flat()
    samples = earlier["samples"] or 0
    if typed.get("samples", samples) < samples:
        raise UsageError(
            f"--resume {name} --samples {typed['samples']}: the run has {samples} trials; give "
            f"more, or leave --samples out"
        )
    changes = {key: value for key, value in typed.items() if SETTINGS[key].may_change}
    changed = [
        f"{flag(key)} was {_said(earlier[key])}, is {_said(value)}"
        for key, value in typed.items()
        if key not in changes and value != earlier[key]
    ]
    if changed:
        raise UsageError(
            f"--resume {name} with other settings: {'; '.join(changed)}: leave them out to go on, "
            f"or start a new run without --resume"
        )
    lasting = {"name": name, "timeout": None, "trace": None, "storage": asked.storage}
    lasting["pairs" if earlier["pairs"] else "data"] = row["data"]
    config = SearchConfig.from_flat({**earlier, **lasting, **changes})
    return replace(config, origins=dict.fromkeys(typed, "flag"))


def _said(value: Any) -> str:
    """Return a setting as it is typed, several values with spaces between."""
    if value is None:
        return "not given"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
