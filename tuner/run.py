"""The command: search a network's hyperparameters, evaluate the best, write the tables.

    python -m tuner.run --model fc
    python -m tuner.run --model separable --data photos --samples 4 --max-epochs 3   # a minute on a laptop

Exit status: 0 when the search came to its end, 1 when it failed, 2 for a mistake on the command line,
130 after Ctrl-C.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from analysis.bucket import sending
from analysis.console import Console, complain
from tuner import cluster, joining, preflight
from tuner.arguments import from_command_line
from tuner.config import SearchConfig

if TYPE_CHECKING:
    from tuner.data import Data


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    started = time.monotonic()
    console = Console()
    with ExitStack() as stack:
        try:
            config = from_command_line(sys.argv[1:] if arguments is None else arguments)
            session = _prepare(config, console, stack, started)
        except ValueError as error:
            complain(error)
            return 2
        except KeyboardInterrupt:
            return 130
        return _run(session, config, console)


def _prepare(config: SearchConfig, console: Console, stack: ExitStack, started: float) -> Callable[[], int]:
    """Everything that may turn out to be impossible. Raises ValueError with the sentence to print."""
    preflight.check_wandb(config)
    preflight.check_waiting(config)
    preflight.check_storage(config)
    stack.enter_context(preflight.lock_run(config))
    cluster.prepare_environment(config.verbose)
    if config.address:
        joining.knock(config.address)
    background = stack.enter_context(ThreadPoolExecutor(1))
    loading = background.submit(_load, config)  # PyTorch and the images, while Ray's processes start
    cluster.start(config.address, model=config.model, dashboard=config.workers_per_trial > 1, verbose=config.verbose)
    stack.callback(cluster.stop)
    signal.signal(signal.SIGTERM, _as_interrupt)  # Tune saves its state on SIGINT only
    from tuner import session

    growth = cluster.growth() if config.address else cluster.Growth()
    preflight.wait_for_nodes(config, growth, console)
    plan = session.plan(config, loading.result(), cluster.nodes(), growth)
    return lambda: session.run(plan, console, started)


def _load(config: SearchConfig) -> "Data":
    from tuner import data

    return data.load(config.data)


def _run(session: Callable[[], int], config: SearchConfig, console: Console) -> int:
    resume = f"python -m tuner.run --resume {config.name}"
    if config.storage != "results":
        resume += f" --storage {shlex.quote(config.storage)}"
    try:
        with sending(config.storage, config.name, console):
            return session()
    except KeyboardInterrupt:
        console.line(f"Interrupted. What is finished is kept; go on with: {resume}")
        return 130
    except (OSError, EOFError) as error:
        complain(f"the search can't go on ({error}); when that is mended, type {resume}")
        return 1


def _as_interrupt(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
