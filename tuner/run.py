"""The command: search a network's hyperparameters, evaluate the best, write the tables.

    python -m tuner.run --model fc
    python -m tuner.run --model separable --data photos --samples 4 --max-epochs 3   # a minute on a laptop

Exit status: 0 when the search came to its end, 1 when it failed, 2 for a mistake on the command line,
130 after Ctrl-C.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from analysis.commands import command_text
from analysis.console import Console
from analysis.tables.bucket import TakenError, sending
from trainables.command_line import complain
from tuner import interrupts, plan, preflight
from tuner.arguments import from_command_line
from tuner.cluster import joining, ray_cluster
from tuner.settings import SearchConfig
from tuner.storage.experiment import UNWRITABLE
from tuner.storage.lease import Lease

if TYPE_CHECKING:
    from trainables.data.examples import Splits
    from trainables.losses.vgg16 import Vgg16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    started = time.monotonic()
    try:
        with interrupts.noted():
            return _run(sys.argv[1:] if arguments is None else arguments, started)
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str], started: float) -> int:
    console = Console()
    try:
        config = from_command_line(arguments)
    except ValueError as error:
        complain(error)
        return 2
    try:
        with ExitStack() as stack:
            return _search(config, console, stack, started)
    except TakenError as taken:
        complain(f"{taken}; when that search has ended, type {_resume(config)}")
        return 1


def _search(config: SearchConfig, console: Console, stack: ExitStack, started: float) -> int:
    try:
        search = _prepare(config, console, stack, started)
    except ValueError as error:
        complain(error)
        return 2
    try:
        return search()
    except KeyboardInterrupt:
        console.line(f"Interrupted. What is finished is kept; go on with: {_resume(config)}")
        return 130
    except (OSError, EOFError) as error:
        complain(_broken_off(error, config))
        return 1


def _prepare(
    config: SearchConfig, console: Console, stack: ExitStack, started: float
) -> Callable[[], int]:
    """Everything that may turn out to be impossible. Raises ValueError with the sentence to print."""
    preflight.check_wandb(config)
    preflight.check_waiting(config)
    preflight.check_sources(config)
    confirm = _take_run(config, console, stack)
    ray_cluster.prepare_environment(config.verbose)
    if config.address:
        joining.knock(config.address)
    background = stack.enter_context(ThreadPoolExecutor(1))
    loading = background.submit(
        _load, config
    )  # PyTorch, images and VGG16, while Ray's processes start
    ray_cluster.start(
        config.address,
        model=config.model,
        dashboard=config.workers_per_trial > 1,
        verbose=config.verbose,
    )
    stack.callback(ray_cluster.stop)
    interrupts.take_sigterm()
    interrupts.check()
    from tuner import search_run

    growth = ray_cluster.growth() if config.address else ray_cluster.Growth()
    preflight.wait_for_nodes(config, growth, console)
    planned = plan.plan(config, loading.result(), ray_cluster.nodes(), growth)

    def search() -> int:
        with sending(config.storage, config.name, console, confirm):
            return search_run.run(planned, console, started)

    return search


def _take_run(config: SearchConfig, console: Console, stack: ExitStack) -> Callable[[], None]:
    """Hold the run until `stack` ends; what raises TakenError once another machine has it. Raises ValueError."""
    run, resumes = config.run_storage, config.resume is not None
    preflight.check_storage(run, resumes=resumes)
    stack.enter_context(preflight.lock_run(run))
    if not run.experiment.is_in_bucket:
        return lambda: None
    interrupts.take_sigterm()  # so that the lease is given back
    lease = stack.enter_context(Lease(run, console))
    preflight.check_storage(
        run, resumes=resumes
    )  # again, with what the one that had the run has sent since
    return lease.confirm


def _load(config: SearchConfig) -> "tuple[Vgg16 | None, Splits]":
    from trainables.data.loading import load

    # VGG16 first, since it takes less time to say that there is none
    return plan.load_vgg16(config), load(config.data)


def _broken_off(error: OSError | EOFError, config: SearchConfig) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code not in UNWRITABLE:
        return f"the search can't go on ({error}); when that is mended, type {_resume(config)}"
    cure = "make it writable again" if code == errno.EROFS else "make room there"
    return (
        f"the search can't go on, since --storage {config.storage} can't be written ({os.strerror(code)}): "
        f"{cure}, then type {_resume(config)}"
    )


def _resume(config: SearchConfig) -> str:
    return command_text("tuner.run", "--resume", config.name, storage=config.storage)


if __name__ == "__main__":
    sys.exit(main())
