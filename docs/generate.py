"""Write the tables of flags, columns and files in docs/ anew from the code; `make docs`.

    python -m docs.generate

A table stands between `<!-- NAME -->` and `<!-- end -->`, where NAME is one of TABLES. A test
compares what stands there with what the code says now.
"""

import argparse
import ast
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from analysis import aggregate
from analysis.atlas import __main__ as atlas
from analysis.audit import __main__ as audit
from analysis.dashboard import __main__ as dashboard
from analysis.report import __main__ as report
from analysis.tables import schema
from analysis.tables.schema import TABLES as COLUMNS
from analysis.timing.timing_settings import SETTINGS as TIMING
from trainables import export, profile
from trainables.pipelines.catalogue import PIPELINES
from trainables.settings_fields import Setting, flag
from tuner.atlas import __main__ as searches
from tuner.settings import SETTINGS as SEARCH
from tuner.settings_sources import SOURCES

DOCS = Path(__file__).parent
NOTEBOOK = DOCS.parent / "examples" / "search.ipynb"
BLOCK = re.compile(r"<!-- (?P<name>[^\n]+) -->\n.*?<!-- end -->", re.DOTALL)
DEFAULT = re.compile(r"^(?P<meaning>.*?) ?\(default: (?P<default>.*)\)$", re.DOTALL)

TYPE_NAMES = {
    schema.TEXT: "text",
    schema.NAME: "text",
    schema.INT32: "int32",
    schema.INT64: "int64",
    schema.FLOAT: "float64",
    schema.BOOL: "true or false",
    schema.MOMENT: "time in UTC",
    schema.PNG: "bytes",
}


def flag_rows(settings: Mapping[str, Setting]) -> list[str]:
    """Return the Markdown table of all flags, line by line, for the documentation.

    A last column says which may change when a run goes on, where any may.
    """
    heads = ["flag", "default", "what it does"]
    resumable = any(one.may_change for one in settings.values())
    if resumable:
        heads.append("with `--resume`")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, one in settings.items():
        flags = ", ".join(f"`{part}`" for part in (one.short, flag(name)) if part)
        cells = [flags, one.shown_default, one.meaning]
        if resumable:
            cells.append("may change" if one.may_change else "")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def parser_rows(parser: argparse.ArgumentParser) -> list[str]:
    """Return the Markdown table of a parser's arguments, line by line."""
    rows = ["| argument | default | what it does |", "|---|---|---|"]
    for action in parser._actions:  # argparse has no public list of them
        if isinstance(action, argparse._HelpAction):
            continue
        names = action.option_strings or [str(action.metavar)]
        text = parser._get_formatter()._expand_help(action)
        found = DEFAULT.match(text)
        meaning, default = (found["meaning"], found["default"]) if found else (text, "")
        if action.choices:
            meaning = f"{', '.join(action.choices)}: {meaning}".removesuffix(": ")
        rows.append(f"| {', '.join(f'`{name}`' for name in names)} | {default} | {meaning} |")
    return rows


def columns_markdown(table: str) -> str:
    """Return the table's columns as a table in Markdown, for the documentation."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in COLUMNS[table]:
        kind = TYPE_NAMES[column.type] + (", or null" if column.nullable else "")
        lines.append(f"| `{column.name}` | {kind} | {column.unit} | {column.meaning} |")
    return "\n".join(lines)


def gallery_rows() -> list[str]:
    """Return the Markdown table of the pipelines that have a name, line by line."""
    rows = ["| `--pipeline` | kind | what it does |", "|---|---|---|"]
    for name, one in PIPELINES.items():
        rows.append(f"| `{name}` | {one.kind} | {one.words} |")
    return rows


def notebook_cells(path: Path) -> str:
    """Return the cells of a notebook: text as it is, code between fences."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts)


def package_rows(package: str) -> list[str]:
    """Return the Markdown table of a package: its own files, then its rooms with their files."""
    directory = DOCS.parent / package
    rows = ["| file or room | what lies there |", "|---|---|"]
    for path in sorted(directory.glob("[!_]*.py")):
        rows.append(f"| [{path.name}](../{package}/{path.name}) | {_first_line(path)} |")
    for init in sorted(directory.glob("*/__init__.py")):
        room = init.parent.name
        files = ", ".join(f"`{path.stem}`" for path in sorted(init.parent.glob("[!_]*.py")))
        rows.append(f"| [{room}/](../{package}/{room}) | {_first_line(init)} {files} |")
    return rows


def _first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def _columns(table: str) -> Callable[[], str]:
    return lambda: columns_markdown(table)


TABLES: dict[str, Callable[[], str]] = {
    "flags of tuner.run": lambda: "\n".join(flag_rows({**SEARCH, **SOURCES})),
    "flags of analysis.timing": lambda: "\n".join(flag_rows(TIMING)),
    "flags of analysis.dashboard": lambda: "\n".join(parser_rows(dashboard.parser())),
    "flags of analysis.report": lambda: "\n".join(parser_rows(report.parser())),
    "flags of tuner.atlas": lambda: "\n".join(parser_rows(searches.parser())),
    "flags of analysis.atlas": lambda: "\n".join(parser_rows(atlas.parser())),
    "flags of analysis.aggregate": lambda: "\n".join(parser_rows(aggregate.parser())),
    "flags of analysis.audit": lambda: "\n".join(parser_rows(audit.parser())),
    "flags of trainables.export": lambda: "\n".join(parser_rows(export.parser())),
    "flags of trainables.profile": lambda: "\n".join(parser_rows(profile.parser())),
    "cells of examples/search.ipynb": lambda: notebook_cells(NOTEBOOK),
    "pipelines": lambda: "\n".join(gallery_rows()),
    "files of trainables": lambda: "\n".join(package_rows("trainables")),
    "files of analysis": lambda: "\n".join(package_rows("analysis")),
    "files of tuner": lambda: "\n".join(package_rows("tuner")),
    **{f"columns of {table}": _columns(table) for table in COLUMNS},
}


def filled(page: str) -> str:
    """Return the page with every table as the code has it. Raises KeyError for one without code."""
    return BLOCK.sub(
        lambda block: f"<!-- {block['name']} -->\n{TABLES[block['name']]()}\n<!-- end -->", page
    )


def main() -> None:
    """Write every page of docs/ that is out of date."""
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text()
        if filled(page) != page:
            path.write_text(filled(page))
            print(path)


if __name__ == "__main__":
    main()
