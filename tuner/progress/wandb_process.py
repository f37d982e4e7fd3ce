"""The process behind tuner.progress.recorder: reads JSON lines, writes W&B runs, one per trial."""

import json
import sys
from typing import Any

import wandb


def main(run: str, mode: str, directory: str) -> None:
    """Serve until the pipe closes, then finish what is open."""
    runs: dict[int, Any] = {}
    for line in sys.stdin:
        message = json.loads(line)
        trial, values = message["trial"], message["values"]
        if message["what"] == "start" and trial not in runs:
            runs[trial] = _open(run, trial, mode, directory, values)
        elif message["what"] == "log":
            runs[trial].log(values, step=values["epoch"])
        elif message["what"] == "finish":
            runs[trial].summary.update(values)
            runs.pop(trial).finish()
    for open_run in runs.values():
        open_run.finish()


def _open(run: str, trial: int, mode: Any, directory: str, config: dict[str, Any]) -> Any:
    return wandb.init(
        project="transform-tuner",
        group=run,
        name=f"{run}-{trial:04d}",
        id=f"{run}-{trial:04d}",
        resume="allow" if mode == "online" else None,
        config=config,
        mode=mode,
        dir=directory,
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
