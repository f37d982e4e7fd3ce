"""The search: which network and which hyperparameters replace the pipeline.

    from tuner import search

    result = search(pipeline=my_compose, data="photos/", model="kron", samples=32)

These names are imported when they are asked for: commands import parts of this package alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.errors import UsageError
    from tuner.api.run_result import Result
    from tuner.api.search_call import search
    from tuner.api.search_process import SearchError

__all__ = ["Result", "SearchError", "UsageError", "search"]
PLACES = {
    "Result": "tuner.api.run_result",
    "SearchError": "tuner.api.search_process",
    "UsageError": "trainables.errors",
    "search": "tuner.api.search_call",
}


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)
