"""What the documentation says of the code is what the code says: tables, commands, links."""

import argparse
import re
import shlex
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from analysis import aggregate
from analysis.atlas import __main__ as atlas
from analysis.audit import __main__ as audit
from analysis.dashboard import __main__ as dashboard
from analysis.report import __main__ as report
from analysis.timing import __main__ as timing
from docs.generate import BLOCK, TABLES, filled
from tests.paths import ROOT
from trainables import export, profile
from tuner import command_line
from tuner.atlas import __main__ as searches
from tuner.command import COMMANDS

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
PARSERS = {
    "tuner.run": command_line.parser,
    "tuner.atlas": searches.parser,
    "analysis.timing": timing.parser,
    "analysis.dashboard": dashboard.parser,
    "analysis.report": report.parser,
    "analysis.aggregate": aggregate.parser,
    "analysis.atlas": atlas.parser,
    "analysis.audit": audit.parser,
    "trainables.export": export.parser,
    "trainables.profile": profile.parser,
}
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TYPED = re.compile(
    r"(?:^|&& |  )(?:python -m (?P<module>[\w.]+)|transform-tuner (?P<name>\w+))(?P<rest>[^\n]*)",
    re.MULTILINE,
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@BY_NAME
def test_the_generated_tables_are_those_of_the_code(page: Path) -> None:
    assert page.read_text() == filled(page.read_text()), "type: make docs"


def test_every_table_of_the_code_is_on_one_page() -> None:
    found = Counter(name for page in PAGES for name in BLOCK.findall(page.read_text()))
    assert found == Counter(list(TABLES))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@BY_NAME
def test_links_lead_to_files_and_headings_that_there_are(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        path, _, heading = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


@BY_NAME
def test_commands_in_the_documentation_can_be_typed(page: Path) -> None:
    for module, rest in typed(page.read_text()):
        parser = PARSERS.get(module)
        if parser is None:
            assert find_spec(module), module
        elif "--help" not in rest:
            parse(parser(), rest)


def test_every_command_is_shown() -> None:
    modules = {module for page in PAGES for module, _ in typed(page.read_text())}
    assert modules >= PARSERS.keys()


def test_a_command_with_a_flag_that_there_is_not_would_be_found() -> None:
    (command,) = typed("```\nray exec 'cd there && python -m tuner.run --modle fc' # so\n```\n")
    assert command == ("tuner.run", ["--modle", "fc"])
    with pytest.raises(AssertionError, match="modle"):
        parse(PARSERS[command[0]](), command[1])


def parse(parser: argparse.ArgumentParser, rest: list[str]) -> None:
    try:
        parser.parse_args(rest)
    except SystemExit:
        raise AssertionError(f"{parser.prog} {shlex.join(rest)}") from None


def typed(page: str) -> list[tuple[str, list[str]]]:
    """The modules of all commands within ``` and ```, each with its arguments."""
    found = []
    for fence in FENCE.findall(page):
        for command in TYPED.finditer(fence.replace("\\\n", " ")):
            module = command["module"] or COMMANDS[command["name"]][0].removesuffix(".__main__")
            rest = command["rest"]
            if rest.count("'") % 2:  # it stands within quotes
                rest = rest.rpartition("'")[0]
            found.append((module, shlex.split(rest, comments=True)))
    return found


def headings(page: Path) -> set[str]:
    """The anchors of a page, as they are made of its headings."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("#")]
    words = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()) for line in lines]
    return {line.replace(" ", "-") for line in words}
