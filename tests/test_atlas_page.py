"""What the page about the atlas says follows from the table that is committed, line by line."""

import contextlib
import io
import re
from typing import Any

import pandas as pd
import pytest

from analysis.answer import IN_A_WORD
from tests.paths import ROOT
from trainables.pipelines.catalogue import PIPELINES

PAGE = (ROOT / "docs" / "atlas.md").read_text()
SHOWN = re.compile(r"^```python\n(?P<code>.*?)^```\n\n```text\n(?P<printed>.*?)^```$", re.S | re.M)
TABLE = "benchmarks/results/2026-11-28-atlas-cifar10.csv"


def test_what_the_lines_of_pandas_print_is_what_stands_below_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    shown = list(SHOWN.finditer(PAGE))
    assert len(shown) >= 5
    names: dict[str, Any] = {}
    for one in shown:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(one["code"], names)
        assert printed.getvalue() == one["printed"]


def test_the_committed_table_has_the_whole_gallery_and_no_other_answers_than_the_rules() -> None:
    cells = pd.read_csv(ROOT / TABLE)
    assert set(cells.pipeline) == set(PIPELINES)
    assert set(cells.answer) <= set(IN_A_WORD.values())
    assert not cells.duplicated(["pipeline", "network"]).any()
