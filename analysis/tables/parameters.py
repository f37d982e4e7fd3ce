"""What a run searched, as its tables have it: one column a hyperparameter, and its space.

trials = wide(read(Path("results/tables"), "trials"))
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from analysis.tables.schema import TABLES
from trainables.errors import UsageError
from trainables.hyperparameters import COLUMNS, Parameter, Value

if TYPE_CHECKING:
    import pandas as pd

# What data frames of trials are given beside the columns of the table
ADDED = (
    *("series", "state", "ending", "data_name", "task_name"),
    *("rule", "objective", "rank_by", "threshold"),
)
TAKEN = {column.name for column in TABLES["trials"]} - set(COLUMNS) | set(ADDED)


def check_names(space: Mapping[str, Parameter]) -> None:
    """Raise UsageError for a hyperparameter that could have no column of its own."""
    for name in space:
        if name in TAKEN:
            raise UsageError(
                f"a hyperparameter can't be called {name}, as another column of the trials is: "
                f"rename that argument of the network"
            )


def space_text(space: Mapping[str, Parameter]) -> str:
    """Return the column `space` of `runs` from what each hyperparameter may be."""
    return json.dumps({name: parameter.to_plain() for name, parameter in space.items()})


def spaces_text(spaces: Mapping[str, Mapping[str, Parameter]]) -> str:
    """Return the same of a search of several networks, of which one alone may fit."""
    texts = {network: space_text(space) for network, space in spaces.items()}
    return json.dumps({network: json.loads(text) for network, text in texts.items()})


def read_spaces(text: str) -> dict[str, dict[str, Parameter]]:
    """Read the column `space` of `runs`, by network; one that was asked for by name is under "".

    Raises ValueError where it describes none.
    """
    plain = json.loads(text)
    try:
        values = [value for space in plain.values() for value in space.values()]
        by_network = bool(values) and all(isinstance(value, dict) for value in values)
        return {
            network: {name: Parameter.from_plain(one) for name, one in space.items()}
            for network, space in (plain if by_network else {"": plain}).items()
        }
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{text!r:.80} describes no hyperparameters") from error


def read_space(text: str, model: str = "") -> dict[str, Parameter]:
    """Read the column `space` of `runs`: that of a network, or what covers those of all.

    Raises ValueError where it describes none.
    """
    spaces = read_spaces(text)
    return spaces[model] if model in spaces else _covering(spaces.values())


def _covering(spaces: Iterable[Mapping[str, Parameter]]) -> dict[str, Parameter]:
    """Return each hyperparameter of any of these spaces, as one axis of a chart has it."""
    found: dict[str, Parameter] = {}
    for space in spaces:
        for name, parameter in space.items():
            found[name] = parameter.beside(found[name]) if name in found else parameter
    return found


def read_parameters(text: str) -> dict[str, Value]:
    """Read the column `parameters` of `trials`. Raises ValueError where it holds no values."""
    plain = json.loads(text)
    if not (isinstance(plain, dict) and all(isinstance(one, Value) for one in plain.values())):
        raise ValueError(f"{text!r:.80} holds no hyperparameters")
    return plain


def wide(trials: "pd.DataFrame", runs: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return trials with a column for each hyperparameter that a run searched or was set to.

    Args:
        trials: Rows of the table, of any number of runs.
        runs: Rows of `runs`: with them, a trial of a run that held such a hyperparameter fixed has
            that value; without them, null.

    Returns:
        The same rows. In the place of `parameters` are those columns, in the order of the alphabet.
        Whole numbers stay whole where a trial of another network has none: such a column is Int64.
    """
    import pandas as pd

    said = [read_parameters(text) if isinstance(text, str) else {} for text in trials.parameters]
    names = sorted({name for one in said for name in one})
    texts = {} if runs is None else dict(zip(runs.run.astype(str), runs.space, strict=True))

    @cache
    def fixed(run: str, model: str) -> dict[str, Any]:
        space = read_space(texts[run], model) if run in texts else {}
        return {name: one.values[0] for name, one in space.items() if one.is_fixed}

    trained = zip(trials.run.astype(str), trials.model.astype(str), said, strict=True)
    rows = [{**fixed(run, model), **one} for run, model, one in trained]
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    own = list(trials.columns)
    place = own.index("parameters")
    found = pd.DataFrame(columns, trials.index)
    return pd.concat([trials[own[:place]], found, trials[own[place + 1 :]]], axis=1)


def _column(values: list[Any]) -> Any:
    """Return values as a column of a data frame, which by itself makes floats beside nulls."""
    import pandas as pd

    kinds = {type(value) for value in values}
    return pd.array(values, "Int64") if kinds == {int, type(None)} else values


def shown_space(runs: "pd.DataFrame", trials: "pd.DataFrame") -> dict[str, Parameter]:
    """Return what the hyperparameters of these runs may be, of all runs together.

    Args:
        runs: Rows of `runs`.
        trials: As `wide` returns them: what has no column there is left out.

    Returns:
        By name: COLUMNS first, the others in the order of the alphabet.
    """
    found = _covering(map(read_space, runs.space))
    others = sorted(set(found) - set(COLUMNS))
    return {name: found[name] for name in (*COLUMNS, *others) if name in found and name in trials}


def distribution(parameter: Parameter) -> Any:
    """Return what a hyperparameter may be as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    low, high, log = parameter.low, parameter.high, parameter.log
    if not parameter.is_numeric or parameter.choices:
        return CategoricalDistribution(parameter.values)
    if parameter.kind is int:
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
