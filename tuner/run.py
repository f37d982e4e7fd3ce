"""The command: search a network's hyperparameters, evaluate the best, write the tables.

    python -m tuner.run --model fc
    python -m tuner.run --model separable --data photos --samples 4 --max-epochs 3   # a minute

Exit status: 0 when the search came to its end, 1 when it failed, 2 for a mistake on the command
line, 130 after Ctrl-C.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from analysis.console import Console, command_text
from analysis.tables.bucket import TakenError, sending
from trainables.errors import FAILED, INTERRUPTED, command, complain
from tuner import interrupts
from tuner.arguments import from_command_line
from tuner.cluster import connect, quiet, reachable
from tuner.cluster.growth import Growth, growth, wait_for_nodes
from tuner.cluster.nodes import nodes
from tuner.plan import Plan, check_early, load, make_plan, worker_resources
from tuner.settings import SearchConfig
from tuner.storage.claim import claim_run
from tuner.storage.experiment import UNWRITABLE
from tuner.storage.run_storage import RunStorage


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    started = time.monotonic()
    with interrupts.noted():
        config = from_command_line(sys.argv[1:] if arguments is None else arguments)
        resume = command_text("tuner.run", "--resume", config.name, storage=config.storage)
        try:
            with ExitStack() as stack:
                return _run(config, started, resume, stack)
        except connect.RayStartError as error:
            complain(error)
        except TakenError as taken:
            complain(f"{taken}; when that search has ended, type {resume}")
        return FAILED


def _run(config: SearchConfig, started: float, resume: str, stack: ExitStack) -> int:
    console = Console()
    plan, confirm = _prepare(config, console, stack)
    from tuner import search_run  # here, since PyTorch and Tune take seconds

    try:
        with sending(config.storage, config.name, console, confirm):
            return search_run.run(plan, console, started)
    except KeyboardInterrupt:
        console.line(f"Interrupted. What is finished is kept; go on with: {resume}")
        return INTERRUPTED
    except (OSError, EOFError) as error:
        complain(_broken_off(error, config.storage, resume))
        return FAILED


def _prepare(
    config: SearchConfig, console: Console, stack: ExitStack
) -> tuple[Plan, Callable[[], None]]:
    """Do everything that may turn out to be impossible: see that the search can work, and claim it.

    Returns the plan, and a function that raises TakenError once another machine has the run.
    Raises UsageError where the search can't work.
    """
    check_early(config)
    storage = RunStorage(config.storage, config.name)
    confirm = claim_run(storage, console, stack, resumes=config.resume is not None)
    quiet.prepare_environment(config.verbose)
    if config.address:
        reachable.check_reachable(config.address)
    background = stack.enter_context(ThreadPoolExecutor(1))
    loading = background.submit(load, config)  # while Ray's processes start
    stack.callback(connect.stop)
    if config.address:
        connect.join(config.address, model=config.model, verbose=config.verbose)
    else:
        groups = config.workers_per_trial > 1
        connect.start(console, dashboard=groups, verbose=config.verbose)
    interrupts.take_sigterm()
    interrupts.check()
    grows = growth() if config.address else Growth()
    if config.wait_for_nodes is not None:
        wait_for_nodes(
            config.wait_for_nodes,
            config.wait_sec,
            lambda there: worker_resources(config, there),
            grows,
            console,
        )
    return make_plan(config, storage, loading.result(), nodes(), grows), confirm


def _broken_off(error: OSError | EOFError, storage: str, resume: str) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code not in UNWRITABLE:
        return f"the search can't go on ({error}); when that is mended, type {resume}"
    cure = "make it writable again" if code == errno.EROFS else "make room there"
    return (
        f"the search can't go on, since --storage {storage} can't be written "
        f"({os.strerror(code)}): {cure}, then type {resume}"
    )


if __name__ == "__main__":
    sys.exit(main())
