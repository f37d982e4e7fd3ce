"""The command line of `python -m tuner.run`, and how it meets a run that goes on."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from analysis.tables.bucket import local_directory
from analysis.tables.files import rows_of
from trainables.errors import UsageError, known_runs, prog
from trainables.settings_fields import add_flags, flag, given
from tuner.settings import SETTINGS, SearchConfig

EXAMPLES = """examples:
  python -m tuner.run --model separable
  python -m tuner.run --model cnn --samples 32 --gpus-per-trial 0.25 --address auto
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
    add_flags(parser, SETTINGS)
    return parser


def from_command_line(arguments: Sequence[str]) -> SearchConfig:
    """Return the search that a command line asks for, on top of the earlier run that it resumes.

    Raises UsageError with one sentence for what makes no sense, and SystemExit as argparse does.
    """
    typed = given(parser().parse_args(arguments))
    config = SearchConfig.from_flat(typed)
    if config.resume is not None:
        return _resumed(config, typed)
    if config.name:
        return config
    model = config.model.rpartition(":")[2].lower().strip("_")
    return replace(config, name=f"{model}-{datetime.now():%Y%m%d-%H%M%S}")


def _resumed(asked: SearchConfig, typed: dict[str, Any]) -> SearchConfig:
    name = asked.resume or ""
    tables = local_directory(asked.storage, name) / "tables"
    rows = rows_of(tables, "runs", name)
    if not rows:
        known = known_runs(tables.glob("runs/run=*"), "leave --resume out to start one")
        raise UsageError(f"--resume {name}: there is no such run in {asked.storage}; {known}")
    earlier = SearchConfig.from_json(rows[0]["config"]).flat()
    changes = {key: value for key, value in typed.items() if SETTINGS[key].may_change}
    changed = [
        f"{flag(key)} was {earlier[key]}, is {value}"
        for key, value in typed.items()
        if key not in changes and value != earlier[key]
    ]
    if changed:
        raise UsageError(
            f"--resume {name} with other settings: {'; '.join(changed)}: leave them out to go on, "
            f"or start a new run without --resume"
        )
    return SearchConfig.from_flat({**earlier, "timeout": None, "storage": asked.storage, **changes})
