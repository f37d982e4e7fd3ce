"""The command `transform-tuner`: every command of the project under one name.

    transform-tuner run --model fc      # the same as python -m tuner.run --model fc

Exit status: that of the sub-command, 2 where there is none of that name.
"""

import os
import sys
from importlib import import_module

from trainables.errors import UsageError, command
from tuner import interrupts

COMMANDS = {
    "run": ("tuner.run", "search a network's hyperparameters, evaluate the best"),
    "atlas": ("tuner.atlas.__main__", "answer for many pipelines which networks replace them"),
    "task": ("trainables.task", "say what is known of a pipeline without a search"),
    "timing": ("analysis.timing.__main__", "time networks against the pipeline that they replace"),
    "dashboard": ("analysis.dashboard.__main__", "show the tables of runs in a browser"),
    "report": ("analysis.report.__main__", "write one run as a page that can be cited"),
    "aggregate": ("analysis.aggregate", "collect the tables of many runs into one data set"),
    "audit": ("analysis.audit.__main__", "say whether a scheduler throws the best trial away"),
    "export": ("trainables.export", "export a trained network as ONNX or a torch.export program"),
    "profile": ("trainables.profile", "show where an epoch's time goes"),
}
HELP = "\n".join(
    [
        "usage: transform-tuner COMMAND …    (transform-tuner COMMAND --help: its flags)\n",
        *(f"  {name:<11}{what}" for name, (_, what) in COMMANDS.items()),
    ]
)


@command()
def main() -> int:
    """Run the sub-command that `sys.argv` names; return the exit status."""
    name, *arguments = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(HELP)
        return 0
    if name not in COMMANDS:
        asked = f"there is no command {name!r}" if name else "no command was given"
        raise UsageError(f"{asked}: give one of {', '.join(COMMANDS)}")
    if name == "run":
        interrupts.end_early()
    # As after `python -m`: the arguments are the sub-command's own, and modules of a person's own
    # (--model package.module:Class) are found in the directory where it is typed
    sys.argv = [f"transform-tuner {name}", *arguments]
    sys.path.insert(0, os.getcwd())
    # Only what is asked for: PyTorch, Ray or Altair cost seconds
    module = import_module(COMMANDS[name][0])
    status: int = module.main()
    if name == "run":
        module.leave(status)
    return status
