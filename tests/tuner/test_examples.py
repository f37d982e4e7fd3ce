"""What lies in examples/ runs as it is."""

import ast
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.paths import ROOT
from tests.test_docs import PARSERS, parse, typed
from tests.tuner.conftest import Command

EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_command_of_an_example_can_be_typed_and_names_it(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    ((module, arguments),) = typed(f"```\n{said}\n```\n")
    parse(PARSERS[module](), arguments)
    assert any(one.startswith(f"examples/{path.name}:") for one in arguments)


def test_pipeline_network_and_metric_are_searched_together(
    command: Command, few_images: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    status, output = command.call(
        *("--name", "own", "--model", "examples/own_network.py:Filter"),
        *("--pipeline", "examples/own_pipeline.py:preprocess"),
        *("--metric", "examples/own_metric.py:worst_pixel", "--rank-by", "worst_pixel"),
        *("--samples", "2", "--max-epochs", "3", "--finalists", "1", *few_images),
    )
    assert status == 0, output
    scores = command.table("scores", "own")
    worst = scores[scores.metric == "worst_pixel"].groupby("kind").value.min()
    assert 0 < worst["ceiling"] < worst["trial"]
    assert not command.table("runs", "own").higher_is_better.any()


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "search.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=500, kernel_name="python3", resources=place)
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    values = [output["data"] for output in shown if output["output_type"] == "execute_result"]
    assert "<b>Can kron replace Compose? " in values[0]["text/html"]
    assert "torch.Size([8, 1, 24, 24])" in [value["text/plain"] for value in values]
    (page,) = tmp_path.glob("results/reports/kron-*/report.html")
    assert page.stat().st_size > 100_000
