"""The process in which `tuner.search` searches: the command, which ends with who asked for it.

python -m tuner.api.child --model fc
"""

from tuner import interrupts

if __name__ == "__main__":  # as in tuner.run
    interrupts.end_early()

import os
import signal
import threading

from analysis.console import mark_progress
from tuner import run


def main() -> int:
    """Run the command with the arguments of this process; return the exit status."""
    threading.Thread(target=_end_with_asker, daemon=True).start()
    mark_progress()
    return run.main()


def _end_with_asker() -> None:
    """End as after SIGTERM, so that the run can go on, once who asked for it has ended."""
    os.read(0, 1)  # which gets nothing but its end
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # nobody reads them, and a line that can't be written is an error
        os.dup2(nowhere, stream)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    run.leave(main())
