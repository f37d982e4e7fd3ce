"""Reports of made-up runs with blank figures: drawing takes long, and is tested elsewhere."""

import io
import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from PIL import Image

from analysis.charts.drawing import for_paper
from analysis.console import Console
from analysis.report.writing import write
from analysis.tables.files import publish, rows_of
from tests.analysis.made_runs import make_auto_run, timing_rows

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="560" height="400">'
    '<rect width="560" height="400" fill="white"></rect><text x="9" y="20" fill="#000">1</text>'
    "</svg>"
)


class Undrawn(Executor):
    """Makes figures without drawing them.

    Those with a mark that is `refused` can't be drawn.
    """

    def __init__(self, refused: str = "") -> None:
        self.refused = refused

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        made: Future[Any] = Future()
        if fn is not for_paper:
            made.set_result(fn(*args, **kwargs))
        elif self.refused and f"'{self.refused}'" in str(args):
            made.set_exception(ValueError("SVG has an invalid size\nin line 7"))
        else:
            made.set_result({"svg": SVG.encode(), "pdf": b"%PDF-", "png": _png()})
        return made


def write_report(storage: Path, run: str = "r", form: str = "html", refused: str = "") -> Path:
    """Write a run's report to `out` in its storage, with blank figures; return its path."""
    tables = storage / "tables"
    (row,) = rows_of(tables, "runs", run)
    with Undrawn(refused) as pool:
        return write(str(storage), tables, row, storage / "out", form, pool, Console())


def make_wide_run(storage: Path, name: str = "wide") -> None:
    """Publish a run whose tables have all columns that a report can have, and strange names."""
    make_auto_run(storage, name, trials=24)
    tables = storage / "tables"
    (run,) = rows_of(tables, "runs", name)
    config = {"model": "auto", "loss": "mse", "scheduler": "asha", "grace_epochs": 2}
    run["config"] = json.dumps(config | {"reduction_factor": 3.0})
    run["pipeline"] = "my_transforms.py:half_&_blur"
    publish(tables, "runs", name, [run])
    scores = rows_of(tables, "scores", name)
    own = [row | {"metric": "50%_edges"} for row in scores if row["metric"] == "ssim"]
    ends = [row | {"low": row["value"] - 0.001, "high": row["value"] + 0.001} for row in scores]
    publish(tables, "scores", name, [*ends, *own])
    timings = timing_rows(name)
    publish(tables, "timings", name, [row | _called(row) for row in timings])
    card = {"run": name, "parameters": 1795, "flops_per_image": 113_664, "bytes_per_image": 6208}
    card |= {"weight_bytes": 7180, "receptive_height": 3, "receptive_width": 3}
    blind = {"receptive_height": None, "receptive_width": None}
    cards = [card | {"subject": "separable"}, card | {"subject": "trial 0"} | blind]
    publish(tables, "cards", name, cards)


def _called(row: dict[str, Any]) -> dict[str, Any]:
    """Return what single calls of a series are known by."""
    if row["batch_size"] != 1:
        return {}
    return {"calls": 700, "p50_sec": 1.4e-4, "p90_sec": 2e-4, "p99_sec": 1.5e-3}


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()
