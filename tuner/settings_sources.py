"""Settings that are typed nowhere: of a file (--config), of an earlier run (--like), of Python."""

import json
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from analysis.tables import version_4
from analysis.tables.bucket import local_directory
from analysis.tables.files import Row, rows_of, table_path
from analysis.tables.schema import TABLES
from trainables.errors import UsageError, first_line, known_runs
from trainables.settings_fields import Setting, flag
from trainables.tasks import STUDY_NAME
from tuner.settings import ONLY_PERCEPTUAL, RUN, SETTINGS, USED_BY, SearchConfig

SOURCES = {
    "config": Setting(
        group=RUN,
        help="settings from a TOML file, under the names that flags have; a flag comes before it",
        default_text="none",
        metavar="FILE",
    ),
    "like": Setting(
        group=RUN,
        help="the settings of a run that is in --storage, for a new one; a flag comes before them",
        default_text="none",
        metavar="NAME",
    ),
}
"""What the command takes beside SETTINGS: where others come from."""
IN_FILES = tuple(name for name in SETTINGS if name != "resume")
IN_ONE_TEXT = ("loss", "metric", "schedule")
"""Settings whose flag takes several values with commas between: a list of them elsewhere."""
ONLY_THERE = ("name", "resume", "storage", "trace")
"""Settings of one run or one session, which no run like it has."""
EXCLUDES = {
    "pairs": ("data", "pipeline", "takes"),
    "data": ("pairs",),
    "pipeline": ("pairs", "takes"),
}
"""Settings that say what others of an earlier run said, by what is typed."""


def of_file(path: str) -> dict[str, Any]:
    """Read settings from a TOML file, by name, as flags would give them.

        model = "kron"
        learning-rate = [5e-4, 1e-2]
        set = ["terms=1,8", "width=32"]

    Raises UsageError with all that is wrong with it: it can't be read, a key is no setting, or a
    value is none of its setting's.
    """
    asked = f"--config {path}"
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(
            f"{asked} can't be read ({error.strerror}): give a file with lines such as samples = 32"
        ) from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or lists within lists
        raise UsageError(f"{asked} is no TOML file: {first_line(error)}; correct it") from error
    values: dict[str, Any] = {}
    mistakes = []
    for key, value in found.items():
        try:
            if isinstance(value, dict):
                raise UsageError(f"{asked}: [{key}]: settings have no headings: leave it out")
            name = name_of(key, IN_FILES, asked)
            if name in values:
                raise UsageError(f"{asked}: {key} is there twice, once with _ for -: leave one out")
            values[name] = checked(name, value, asked)
        except UsageError as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return values


def name_of(key: str, known: Collection[str], asked: str) -> str:
    """Return the setting that a key of a file, or an argument of Python, stands for.

    Raises UsageError where there is none, with the one that is nearest.

    Args:
        key: With hyphens or underscores.
        known: Settings that it may stand for.
        asked: What a sentence begins with.
    """
    name = key.replace("-", "_")
    if name in known:
        return name
    if name in (*SETTINGS, *SOURCES):
        raise UsageError(f"{asked}: {key} can't be in a file: type {flag(name)}")
    near = get_close_matches(name, known, n=1)
    cure = "python -m tuner.run --help lists all: a setting has the name of its flag"
    if near:
        cure = f"did you mean {near[0].replace('_', '-') if '-' in key else near[0]}?"
    raise UsageError(f"{asked}: there is no setting {key}; {cure}")


def checked(name: str, value: Any, asked: str) -> Any:
    """Return the value of a setting as its flag gives it: a tuple for several, 1.0 for 1.

    Raises UsageError where it is none of this setting's.

    Args:
        name: A name in SETTINGS or SOURCES.
        value: A text, number, true or false, or a list of them; one alone stands for a list of one.
            NumPy's will do.
        asked: What a sentence begins with.
    """
    one = {**SETTINGS, **SOURCES}[name]
    value = _of_python(value)
    is_list = isinstance(value, list | tuple)
    if is_list and name in IN_ONE_TEXT and all(isinstance(text, str) for text in value):
        value, is_list = ",".join(value), False
    values = list(map(_of_python, value)) if is_list else [value]
    if one.type is float:
        try:
            values = [float(number) if type(number) is int else number for number in values]
        except OverflowError:
            raise UsageError(f"{asked}: {flag(name)}: give a number below 1e308") from None
    taken = value if is_list else values[0]
    if one.nargs is not None or one.repeated:
        taken = tuple(values)
    try:
        one.check(name, taken)
    except UsageError as mistake:
        raise UsageError(f"{asked}: {mistake}") from None
    return taken


def _of_python(value: Any) -> Any:
    """Return NumPy's arrays as lists and its numbers as Python's; all else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def earlier_run(option: str, name: str, storage: str) -> tuple[Row, SearchConfig]:
    """Return the row of a run that is there, and its settings.

    Raises UsageError where there is no such run, or its tables are not sound.

    Args:
        option: The flag that names it.
        name: Its name.
        storage: As `--storage` has it.
    """
    otherwise = f"leave {option} out to start one"
    tables = local_directory(storage, name) / "tables"
    # All that a search goes on from, so that damage is told before Ray starts
    rows = {table: rows_of(tables, table, name) for table in TABLES}["runs"]
    if not rows:
        known = known_runs(tables.glob("runs/run=*"), otherwise)
        raise UsageError(f"{option} {name}: there is no such run in {storage}; {known}")
    if version_4.wrote_file(table_path(tables, "runs", name)):
        raise UsageError(
            f"{option} {name}: transform-tuner 0.1.0 began it: go on with that version, or start a "
            f"new run without {option}"
        )
    try:
        return rows[0], SearchConfig.from_run(json.loads(rows[0]["config"]))
    except UsageError as error:
        raise UsageError(
            f"{option} {name}: {table_path(tables, 'runs', name)}, column config: {error}; "
            f"put a sound copy in its place, or start a new run without {option}"
        ) from error


def of_run(name: str, storage: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that is there, for a new run: those that differ from defaults.

    What the run filled in for its machine, as its number of trials, is among them. Left out is what
    has no use beside what is typed.

    Args:
        name: Its name.
        storage: As `--storage` has it.
        typed: Settings that come before those of the run.
    """
    row, config = earlier_run("--like", name, storage)
    there = config.flat()
    there["pairs" if there["pairs"] else "data"] = row["data"]
    left_out = {*ONLY_THERE, *(name for one in typed for name in EXCLUDES.get(one, ()))}
    merged = {**there, **typed}
    for setting, (by, users) in USED_BY.items():
        if merged[by] not in users:
            left_out.add(setting)
    if "perceptual" not in merged["loss"].split(","):
        left_out.update(ONLY_PERCEPTUAL)
    if merged["pipeline"] == STUDY_NAME:
        left_out.add("takes")
    return {
        setting: value
        for setting, value in there.items()
        if setting not in left_out and value != SETTINGS[setting].default
    }
