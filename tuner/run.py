"""The command: search a network's hyperparameters, evaluate the best, write the tables.

    python -m tuner.run --model fc
    python -m tuner.run --model separable --data photos --samples 4 --max-epochs 3   # a minute

Exit status: 0 when the search came to its end, 1 when it failed, 2 for a mistake on the command
line, 130 after Ctrl-C or SIGTERM.
"""

from tuner import interrupts

if __name__ == "__main__":  # before the other imports, which take a second where much else runs
    interrupts.end_early()

import atexit
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from analysis.console import Console, command_text
from analysis.tables.bucket import TakenError, sending
from trainables.errors import FAILED, INTERRUPTED, UsageError, command, complain
from trainables.pipelines.catalogue import LIST, listed, started
from trainables.training.try_out import TryOut
from tuner import trace
from tuner.background import Background
from tuner.cluster import auth_token, connect, local_ray, watch
from tuner.cluster.nodes import Growth, Node, WorkerResources, growth, nodes, wait_for_nodes
from tuner.command_line import from_command_line
from tuner.planning.capacity import worker_resources
from tuner.planning.early_checks import check_early
from tuner.planning.plan import Plan, make_plan
from tuner.planning.while_ray_starts import load
from tuner.settings import SearchConfig
from tuner.storage.claim import claim_run
from tuner.storage.run_storage import UNWRITABLE, RunStorage


@command(interrupts.EARLY_END)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    started = time.monotonic()
    with interrupts.noted():
        config = from_command_line(sys.argv[1:] if arguments is None else arguments)
        if config.pipeline == LIST:
            print(listed())
            return 0
        resume = command_text("tuner.run", "--resume", config.name, storage=config.storage)
        try:
            with _traced(config.trace), ExitStack() as stack:
                return _run(config, started, resume, stack)
        except local_ray.RayStartError as error:
            interrupts.check()  # or it started no more because of that
            complain(error)
        except TakenError as taken:
            complain(f"{taken}; when that search has ended, type {resume}")
        return FAILED


@contextmanager
def _traced(path: str | None) -> Iterator[None]:
    """Write the trace of the block, where one is asked for; a file that fails costs a line.

    After a mistake on the command line nothing is written.
    """
    if path is None:
        yield
        return
    trace.check(path)
    trace.begin()
    is_mistake = False
    try:
        yield
    except UsageError:
        is_mistake = True
        raise
    finally:
        if not is_mistake:
            _write_trace(path)


def _write_trace(path: str) -> None:
    try:
        trace.write(Path(path))
    except OSError as error:
        Console().line(f"--trace {path} was not written: {error.strerror}", style="yellow")


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
    # First, so that it is left last; it starts its thread when it gets work
    background = stack.enter_context(Background(interrupts.EARLY_END))
    connect.prepare_environment(config.verbose)  # a bucket's threads read the environment
    if not config.address:
        local_ray.prepare_environment(dashboard=config.workers_per_trial > 1)
    pipeline = stack.enter_context(started(config.pipeline))  # it imports PyTorch meanwhile
    with console, trace.span("names and images"):
        images = check_early(config, console.progress)
    storage = RunStorage(config.storage, config.name)
    confirm = claim_run(storage, console, stack, resumes=config.resume is not None)
    if config.address:
        connect.check_reachable(config.address)
    if warning := auth_token.warning():
        console.line(warning, style="yellow")
    network = stack.enter_context(
        TryOut(
            config.model,
            losses=config.own_losses,
            metrics=config.own_metrics,
            precision=config.precision,
            asked=config.asked,
        )
    )
    # While Ray's processes start
    loading = background.start(_load, config, images, pipeline, network, console.progress)
    stack.callback(trace.span("Ray's end")(connect.stop))
    ray = watch.Joined() if config.address else watch.Children()
    stack.enter_context(watch.Watch(ray.missing, lambda name: _end(name, storage, console)))
    with console, trace.span("Ray's start"):
        console.progress("starting Ray")
        if config.address:
            connect.join(config.address, own=config.own_names, verbose=config.verbose)
        else:
            local_ray.start(console, dashboard=config.workers_per_trial > 1, verbose=config.verbose)
    interrupts.check()
    grows = growth() if config.address else Growth()
    if config.wait_for_nodes is not None:

        def worker_on(there: Sequence[Node]) -> WorkerResources:
            if loading.done():
                loading.result()  # raises what can't work, which nobody has to wait for
            return worker_resources(config, there)

        wait_for_nodes(config.wait_for_nodes, config.wait_sec, worker_on, grows, console)
    with console, trace.span("waiting for images and networks"):
        loaded = loading.result()
    with trace.span("the plan"):
        return make_plan(config, storage, loaded, nodes(), grows), confirm


def _load(*arguments: Any) -> Any:
    """Call `load`, then import what the search needs: Ray's processes still start meanwhile."""
    loaded = load(*arguments)
    with trace.span("imports for the search"):
        import tuner.search_run  # noqa: F401
    return loaded


def _end(process: str, storage: RunStorage, console: Console) -> None:
    """End this process, since one of Ray's has: none of its threads gets an answer any more."""
    console.close()
    again = "type the command again"
    if storage.rows("runs"):
        again = command_text("tuner.run", "--resume", storage.name, storage=storage.storage)
        again = f"what is finished is kept; go on with: {again}"
    complain(f"the search can't go on, since Ray's process {process} has ended; {again}")
    os._exit(FAILED)


def _broken_off(error: OSError | EOFError, storage: str, resume: str) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code not in UNWRITABLE:
        return f"the search can't go on ({error}); when that is mended, type {resume}"
    cure = "make it writable again" if code == errno.EROFS else "make room there"
    return (
        f"the search can't go on, since --storage {storage} can't be written "
        f"({os.strerror(code)}): {cure}, then type {resume}"
    )


def leave(status: int) -> NoReturn:
    """End this process, whose work is done: Python would take its modules apart for 1.5 s first."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
