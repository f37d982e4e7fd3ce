"""`search`: a search as a function, with the settings of the command."""

import inspect
from pathlib import Path
from typing import Any

from trainables.errors import UsageError
from trainables.pipelines.catalogue import LIST
from trainables.settings_fields import Setting, as_flags
from tuner.api.lines_shown import shown_here
from tuner.api.own_objects import NAMED, named
from tuner.api.run_result import Result, resuming
from tuner.api.search_process import follow
from tuner.command_line import from_typed
from tuner.settings import SETTINGS
from tuner.settings_sources import SOURCES, checked, name_of, of_file
from tuner.storage.run_storage import RunStorage

EVERY = {**SETTINGS, **SOURCES}
OWN = "own"
"""Directory of the storage for objects that are given in place of names."""


def search(**settings: Any) -> Result:
    """Search, and return the result: `python -m tuner.run` as a function.

        result = search(pipeline=my_compose, data="photos/", model="kron", samples=32)
        result = search(resume=result.name, samples=64)

    Settings are those of the command, with underscores for hyphens; several values are a list, a
    tuple or an array. `pipeline`, `model`, `loss` and `metric` may be objects in place of names.
    The search runs in a process of its own, and its lines are shown while they come.

    Raises:
        UsageError: A setting makes no sense, or the search can't work.
        SearchError: The search failed.
        KeyboardInterrupt: It was interrupted. What is finished is kept, and a line says how to go
            on.

    Settings:
    """
    typed = _typed(settings)
    config = from_typed(typed)
    if config.pipeline == LIST:
        raise UsageError(
            f"search: pipeline={LIST!r} searches nothing; `python -m tuner.run --pipeline {LIST}` "
            f"prints which there are"
        )
    if config.resume is None:
        typed["name"] = config.name
    try:
        with shown_here() as shown:
            follow("tuner.api.child", as_flags(EVERY, typed), shown)
    except KeyboardInterrupt:
        if RunStorage(config.storage, config.name).rows("runs"):
            print(f"In Python: {resuming(config.name, config.storage)}")
        raise
    model = settings.get("model")
    return Result(config.name, config.storage, network=model if isinstance(model, type) else None)


def _typed(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as a command line gives them. Raises UsageError where it could not."""
    given = {
        name_of(key, EVERY, "search"): str(value) if isinstance(value, Path) else value
        for key, value in settings.items()
        if value is not None
    }
    plain = {
        name: checked(name, value, "search") for name, value in given.items() if name not in NAMED
    }
    # Only now, since it may write files
    own = _own_directory(plain)
    return {
        name: named(name, value, own) if name in NAMED else plain[name]
        for name, value in given.items()
    }


def _own_directory(typed: dict[str, Any]) -> Path:
    """Return where files of objects are kept: below the storage, or a bucket's copy here."""
    storage = SETTINGS["storage"].default
    if "config" in typed:
        storage = of_file(typed["config"]).get("storage", storage)
    return RunStorage(typed.get("storage", storage), "").directory / OWN


def _signature() -> inspect.Signature:
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=_type(name, one)
        )
        for name, one in EVERY.items()
    ]
    return inspect.Signature(parameters, return_annotation=Result)


def _type(name: str, one: Setting) -> str:
    """Return what a setting may be, as annotations have it."""
    text = one.type.__name__
    if one.nargs is not None or one.repeated:
        text = f"Sequence[{text}]"
        text = text if one.nargs == 2 else f"{text} | {one.type.__name__}"
    if name in NAMED:
        text += " | Callable"
    return text if one.default is not None else f"{text} | None"


def _described() -> str:
    """Return a line for each setting, for `help(search)`."""
    return "\n".join(
        f"        {name}: {one.meaning} (default: {one.shown_default})"
        for name, one in EVERY.items()
    )


search.__signature__ = _signature()  # type: ignore[attr-defined]
search.__doc__ = f"{(search.__doc__ or '').rstrip()}\n{_described()}\n"
