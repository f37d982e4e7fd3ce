"""What a reader needs to trust a run: versions, commit, hardware, data."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from analysis.tables import Row
from tuner import cluster
from tuner.config import SearchConfig
from tuner.data import Data

PACKAGES = ("torch", "torchvision", "ray", "numpy", "pandas", "pyarrow", "optuna", "wandb", "transform-tuner")


def runs_row(config: SearchConfig, data: Data, earlier: Row | None) -> Row:
    """The row of the runs table at the start of a session; of an earlier one, what began it stays."""
    nodes = cluster.nodes()
    commit, dirty = code_version()
    row = {
        "run": config.name,
        "status": "running",
        "model": config.model,
        "pipeline": "reference",
        "command": " ".join(["python -m tuner.run", *sys.argv[1:]]),
        "config": config.to_json(),
        "seed": config.seed,
        "started_at": datetime.now(UTC),
        "ended_at": None,
        "sessions": 1,
        "commit": commit,
        "dirty": dirty,
        "versions": json.dumps(versions()),
        "host": platform.node(),
        "cpu_model": cpu_model(),
        "cpu_count": round(sum(node.cpus for node in nodes)),
        "gpu_model": cluster.gpu_model(),
        "gpu_count": round(sum(node.gpus for node in nodes)),
        "node_count": len(nodes),
        "memory_gib": sum(node.memory_gib for node in nodes),
        "data": config.data,
    }
    for split in (data.train.source, data.validation.source, data.test.source):
        row[f"{split.split}_images"] = len(split)
        row[f"{split.split}_fingerprint"] = split.fingerprint
    if earlier is not None:
        kept = {name: earlier[name] for name in ("command", "config", "started_at")}
        row |= {**kept, "sessions": earlier["sessions"] + 1}
    return row


def versions() -> dict[str, str]:
    """Python's and every package's that can change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_version() -> tuple[str | None, bool | None]:
    """Commit and whether the code differs from it; None when it is not run from a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not some other repository around a venv
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def cpu_model() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
