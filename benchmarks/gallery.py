"""How exactly small networks do the pipelines of the gallery: one search for each, as a table.

    python -m benchmarks.gallery DATA STORAGE [PIPELINE:NETWORK ...]

DATA is CIFAR-10, as `--data` takes it. Without pairs all of SEARCHES are done, which takes hours on
2 cores. A search that STORAGE has already is not done again, so that the table can be made of what
there is. What is printed is the best trial of each search on the 10,000 test images; beside a warp
that of the best sum of as many Kronecker products.
"""

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from analysis.tables.files import rows_of
from analysis.tables.ranking import ranked
from analysis.tables.scored import by_subject
from trainables.data import sources
from trainables.data.loading import with_targets
from trainables.metrics import metric_registry
from trainables.pipelines.calling import CHUNK
from trainables.pipelines.catalogue import PIPELINES, started
from trainables.pipelines.own import own_map

COMMON = ("--timing", "none", "--wandb", "disabled", "--finalists", "1", "--images", "45000")
BUDGETS = {
    "separable": ("--samples", "4", "--max-epochs", "20", "--schedule", "cosine"),
    "kron": ("--samples", "2", "--max-epochs", "4"),
    "can": ("--samples", "2", "--max-epochs", "2", "--set", "channels=32"),
}
POINTWISE = ("--set", "terms=2", "--set", "width=32")
AFFINE = ("--set", "terms=2", "--set", "width=0", "--max-epochs", "2")
WARP = ("--set", "width=0", "--max-epochs", "3", "--set")
IN_BLOCKS = ("--set", "block=8", "--samples", "1", "--learning-rate", "2e-3", "3e-3", "--set")


@dataclass(frozen=True)
class Asked:
    """What a pipeline is searched with, and what its best network is to have.

    Attributes:
        networks: Each has a search of its own.
        more: Flags beside those of BUDGETS: what a person would set who knows the kind.
        share: Of the test images at cosine ≥ 0.99.
        psnr_db: Mean PSNR; None where nothing is asked.
    """

    networks: tuple[str, ...]
    more: tuple[str, ...]
    share: float
    psnr_db: float | None = None


SEARCHES = {
    "study": Asked(("separable", "kron"), AFFINE, 1.0, 60),
    "gamma": Asked(("kron",), POINTWISE, 0.999, 40),
    "sepia": Asked(("kron",), POINTWISE, 0.999, 40),
    "solarize": Asked(("kron",), POINTWISE, 0.99),
    "posterize": Asked(("kron",), (*POINTWISE, "--set", "activation=Tanh"), 0.99),
    "rotate": Asked(("kron",), (*WARP, "terms=32"), 0.99),
    "perspective": Asked(("kron",), (*WARP, "terms=8"), 0.99),
    "down-up": Asked(("kron",), AFFINE, 0.99),
    "blur": Asked(("kron",), AFFINE, 0.999, 40),
    "sharpen": Asked(("can",), (), 0.999, 40),
    "unsharp": Asked(("can",), (), 0.999, 40),
    "sobel": Asked(("can",), (), 0.999, 40),
    "equalize": Asked(("can",), (), 0.95),
    "autocontrast": Asked(("can",), (), 0.95),
    "median": Asked(("can",), (), 0.97, 32),
    "bilateral": Asked(("can",), (), 0.97, 32),
    "jpeg": Asked(("can",), (*IN_BLOCKS, "depth=2"), 0.97, 32),
    "clahe": Asked(("can",), (*IN_BLOCKS, "depth=3", "--max-epochs", "3"), 0.97, 32),
    "greyscale": Asked(("kron",), AFFINE, 1.0),
    "dither": Asked(("can",), (), 0.0),
}


def search(pipeline: str, model: str, data: str, storage: str) -> str:
    """Search a network for a pipeline where that is not done yet; return the run's name."""
    name = f"{pipeline}-{model}"
    rows = rows_of(Path(storage) / "tables", "runs", name)
    if not (rows and rows[0]["status"] == "finished"):
        asked = ["--pipeline", pipeline, "--model", model, "--data", data, "--name", name]
        command = [sys.executable, "-m", "tuner.run", "--storage", storage]
        command += ["--resume", name] if rows else [*asked, *COMMON, *BUDGETS[model]]
        if not rows and model != "separable":
            command += SEARCHES[pipeline].more
        subprocess.run(command, check=True, stdout=sys.stderr)
    return name


def best_map_db(pipeline: str, data: str, terms: int) -> float:
    """Return the PSNR of the best sum of so many Kronecker products on the test images, in dB."""
    with started(pipeline) as process:
        splits = with_targets(sources.read(data), 2048, pipeline=pipeline, process=process)
    own = own_map(splits.task, splits.affine)
    if own is None:
        return math.nan
    nearest, test = own.as_terms(splits.train.images, terms), splits.test
    outputs = torch.cat([nearest(part) for part in test.images.split(CHUNK)])
    psnr = metric_registry.find("psnr").measure(outputs, test.targets, splits.task)
    return float(psnr.mean())


def found(name: str, data: str, storage: str) -> dict[str, Any]:
    """Return what the best trial of a run scored, beside its floors and its ceiling."""
    tables = Path(storage) / "tables"
    run, trials, scores = (rows_of(tables, table, name) for table in ("runs", "trials", "scores"))
    best = ranked(trials)[0]
    subjects = by_subject(scores)
    own = next(one for one in subjects if one["mse", None]["trial"] == best["trial"])
    at = {
        kind: [one["cosine", 0.99] for one in subjects if one["mse", None]["kind"] == kind]
        for kind in ("floor", "ceiling")
    }
    strict, psnr = own["cosine", 0.99], own.get(("psnr", None))
    chosen = json.loads(best["parameters"] or "{}")
    is_warp = SEARCHES[run[0]["pipeline"]].more[:-1] == WARP
    minutes = (run[0]["ended_at"] - run[0]["started_at"]).total_seconds() / 60
    return {
        "pipeline": run[0]["pipeline"],
        "kind": str(PIPELINES[run[0]["pipeline"]].kind),
        "network": best["model"],
        "images": strict["images"],
        "share_95": own["cosine", 0.95]["value"],
        "share_99": strict["value"],
        "share_99_low": strict["low"],
        "share_99_high": strict["high"],
        "psnr_db": psnr["value"] if psnr else None,
        "floor_99": max(row["value"] for row in at["floor"]),
        "ceiling_99": max(row["value"] for row in at["ceiling"]),
        "parameters": strict["parameters"],
        "trials": len([row for row in trials if row["repeat_of"] is None]),
        "minutes": minutes,
        "train_sec": best["train_sec"],
        "hyperparameters": {"learning_rate": best["learning_rate"], **chosen},
        "best_map_db": best_map_db(run[0]["pipeline"], data, chosen["terms"]) if is_warp else None,
        "cpu_model": run[0]["cpu_model"],
        "cores": run[0]["cpu_count"],
        "commit": run[0]["commit"],
    }


def line(row: dict[str, Any]) -> str:
    """Return a row of the table in Markdown."""
    asked = SEARCHES[row["pipeline"]]
    wanted = f"{100 * asked.share:g} %" + (f", {asked.psnr_db:g} dB" if asked.psnr_db else "")
    psnr = "–" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}"
    if row["best_map_db"] is not None:
        psnr += f" (map {row['best_map_db']:.1f})"
    interval = f"{100 * row['share_99_low']:.2f}, {100 * row['share_99_high']:.2f}"
    cells = [
        row["pipeline"],
        row["network"],
        f"{100 * row['share_95']:.2f} %",
        f"{100 * row['share_99']:.2f} % [{interval}]",
        psnr,
        f"{100 * row['floor_99']:.1f} %",
        f"{100 * row['ceiling_99']:.1f} %",
        f"{row['parameters']:,}",
        f"{row['minutes']:.0f}",
        wanted,
    ]
    return f"| {' | '.join(cells)} |"


def main(data: str, storage: str, *pairs: str) -> None:
    """Do what is not done, and print the table; the rows go to a file in the storage, too."""
    asked = [one.split(":") for one in pairs]
    asked = asked or [[name, model] for name, of in SEARCHES.items() for model in of.networks]
    names = [search(pipeline, model, data, storage) for pipeline, model in asked]
    rows = [found(name, data, storage) for name in names]
    head = "pipeline | network | ≥ 0.95 | ≥ 0.99 [95 %] | PSNR, dB | floor | ceiling | parameters"
    print(f"| {head} | minutes | asked |\n|{'---|' * 10}")
    print(*map(line, rows), sep="\n")
    text = json.dumps({"measured": f"{datetime.now():%Y-%m-%d}", "rows": rows}, indent=1)
    (Path(storage) / "gallery.json").write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
