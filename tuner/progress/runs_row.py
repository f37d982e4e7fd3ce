"""The row of the runs table: what a reader needs to trust a run."""

import json
import platform
import sys
from datetime import UTC, datetime

from analysis.console import command_text
from analysis.tables.files import Row
from analysis.tables.provenance import code_version, cpu_model, versions
from trainables.data.examples import Splits
from tuner.cluster.nodes import nodes
from tuner.settings import SearchConfig


def runs_row(config: SearchConfig, data: Splits, earlier: Row | None) -> Row:
    """Return the row of the runs table at the start of a session.

    Args:
        config: The settings, complete.
        data: The images that are used.
        earlier: The row of the session before; what began the run stays.
    """
    up = nodes()
    commit, dirty = code_version()
    row = {
        "run": config.name,
        "status": "running",
        "model": config.model,
        "pipeline": "reference",
        "command": command_text("tuner.run", *sys.argv[1:]),
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
        "cpu_count": round(sum(node.cpus for node in up)),
        "gpu_model": ", ".join(sorted({node.gpu_model for node in up if node.gpu_model})) or None,
        "gpu_count": round(sum(node.gpus for node in up)),
        "node_count": len(up),
        "memory_gib": sum(node.memory_gib for node in up),
        "data": config.data,
    }
    for examples in (data.train, data.validation, data.test):
        row[f"{examples.split}_images"] = len(examples)
        row[f"{examples.split}_fingerprint"] = examples.fingerprint
    if earlier is not None:
        kept = {name: earlier[name] for name in ("command", "config", "started_at")}
        row |= {**kept, "sessions": earlier["sessions"] + 1}
    return row
