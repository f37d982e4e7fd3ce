"""How exactly small networks do the pipelines of the gallery: one search for each, as a table.

    python -m benchmarks.gallery DATA STORAGE [PIPELINE:NETWORK ...]

DATA is CIFAR-10, as `--data` takes it. Without pairs all of SEARCHES are done, which takes hours on
2 cores. A search that STORAGE has already is not done again, so that the table can be made of what
there is. What is printed is the best trial of each search on the 10,000 test images.
"""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.tables.files import rows_of
from analysis.tables.ranking import ranked
from analysis.tables.scored import by_subject
from trainables.pipelines.catalogue import PIPELINES

COMMON = ("--timing", "none", "--wandb", "disabled", "--finalists", "1", "--images", "45000")
BUDGETS = {
    "separable": ("--samples", "4", "--max-epochs", "20", "--schedule", "cosine"),
    "kron": ("--samples", "6", "--max-epochs", "8"),
    "can": ("--samples", "4", "--max-epochs", "6"),
}
# What each pipeline is searched with, and the share at cosine ≥ 0.99 and the PSNR in dB that its
# best network is to have
SEARCHES: dict[str, tuple[tuple[str, ...], float, float | None]] = {
    "study": (("separable", "kron"), 1.0, 60),
    "gamma": (("kron",), 0.999, 40),
    "sepia": (("kron",), 0.999, 40),
    "solarize": (("can",), 0.99, None),
    "posterize": (("can",), 0.99, None),
    "rotate": (("kron",), 0.99, None),
    "perspective": (("kron",), 0.99, None),
    "down-up": (("kron",), 0.99, None),
    "blur": (("kron",), 0.999, 40),
    "sharpen": (("can",), 0.999, 40),
    "unsharp": (("can",), 0.999, 40),
    "sobel": (("can",), 0.999, 40),
    "equalize": (("can",), 0.95, None),
    "autocontrast": (("can",), 0.95, None),
    "median": (("can",), 0.97, 32),
    "bilateral": (("can",), 0.97, 32),
    "jpeg": (("can",), 0.97, 32),
    "clahe": (("can",), 0.97, 32),
    "greyscale": (("kron",), 1.0, None),
    "dither": (("can",), 0.0, None),
}


def search(pipeline: str, model: str, data: str, storage: str) -> str:
    """Search a network for a pipeline where that is not done yet; return the run's name."""
    name = f"{pipeline}-{model}"
    rows = rows_of(Path(storage) / "tables", "runs", name)
    if not (rows and rows[0]["status"] == "finished"):
        asked = ["--pipeline", pipeline, "--model", model, "--data", data, "--name", name]
        command = [sys.executable, "-m", "tuner.run", "--storage", storage]
        command += ["--resume", name] if rows else [*asked, *COMMON, *BUDGETS[model]]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return name


def found(name: str, storage: str) -> dict[str, Any]:
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
        "hyperparameters": {"learning_rate": best["learning_rate"]}
        | json.loads(best["parameters"] or "{}"),
        "cpu_model": run[0]["cpu_model"],
        "cores": run[0]["cpu_count"],
        "commit": run[0]["commit"],
    }


def line(row: dict[str, Any]) -> str:
    """Return a row of the table in Markdown."""
    _, share, db = SEARCHES[row["pipeline"]]
    wanted = f"{100 * share:g} %" + (f", {db:g} dB" if db else "")
    psnr = "–" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}"
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
    asked = asked or [[name, model] for name, (models, *_) in SEARCHES.items() for model in models]
    names = [search(pipeline, model, data, storage) for pipeline, model in asked]
    rows = [found(name, storage) for name in names]
    head = "pipeline | network | ≥ 0.95 | ≥ 0.99 [95 %] | PSNR, dB | floor | ceiling | parameters"
    print(f"| {head} | minutes | asked |\n|{'---|' * 10}")
    print(*map(line, rows), sep="\n")
    text = json.dumps({"measured": f"{datetime.now():%Y-%m-%d}", "rows": rows}, indent=1)
    (Path(storage) / "gallery.json").write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
