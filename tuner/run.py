"""The command: search a network's hyperparameters, evaluate the best, write the tables.

    python -m tuner.run --model fc
    python -m tuner.run --model separable --data photos --samples 4 --max-epochs 3   # a minute

Exit status: 0 when the search came to its end, 1 when it failed, 2 for a mistake on the command
line, 130 after Ctrl-C or SIGTERM.
"""

from tuner import interrupts

if __name__ == "__main__":  # before the other imports, which take a second where much else runs
    interrupts.end_early()

import argparse
import atexit
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from analysis.console import Console, command_text
from analysis.tables import version_4
from analysis.tables.bucket import TakenError, local_directory, sending
from analysis.tables.files import rows_of, table_path
from analysis.tables.schema import TABLES
from trainables.errors import FAILED, INTERRUPTED, UsageError, command, complain, known_runs, prog
from trainables.pipelines.catalogue import LIST, listed, started
from trainables.settings_fields import add_flags, flag, given
from trainables.training.try_out import TryOut
from tuner import trace
from tuner.background import Background
from tuner.cluster import auth_token, connect, local_ray, watch
from tuner.cluster.nodes import Growth, Node, WorkerResources, growth, nodes, wait_for_nodes
from tuner.plan import Plan, check_early, load, make_plan, worker_resources
from tuner.settings import SETTINGS, SearchConfig
from tuner.storage.claim import claim_run
from tuner.storage.run_storage import UNWRITABLE, RunStorage

EXAMPLES = """examples:
  python -m tuner.run --model separable
  python -m tuner.run --model cnn --samples 32 --gpus-per-trial 0.25 --address auto
  python -m tuner.run --resume fc-20260101-120000"""


def parser() -> argparse.ArgumentParser:
    """Return the parser. A flag that is not given leaves no trace, for `--resume`."""
    parser = argparse.ArgumentParser(
        prog=prog("tuner.run"),
        description="Search the hyperparameters with which a small network replaces the pipeline.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    add_flags(parser, SETTINGS)
    return parser


def from_command_line(arguments: Sequence[str]) -> SearchConfig:
    """Return the search that a command line asks for, on top of the earlier run that it resumes.

    Raises UsageError with one sentence for what makes no sense, and SystemExit as argparse does.
    """
    typed = given(parser().parse_args(arguments))
    config = SearchConfig.from_flat(typed)
    if config.resume is not None:
        return _resumed(config, typed)
    if config.name:
        return config
    model = config.model.rpartition(":")[2].lower().strip("_")
    return replace(config, name=f"{model}-{datetime.now():%Y%m%d-%H%M%S}")


def _resumed(asked: SearchConfig, typed: dict[str, Any]) -> SearchConfig:
    name = asked.resume or ""
    tables = local_directory(asked.storage, name) / "tables"
    # All that the search goes on from, so that damage is told before Ray starts
    rows = {table: rows_of(tables, table, name) for table in TABLES}["runs"]
    if not rows:
        known = known_runs(tables.glob("runs/run=*"), "leave --resume out to start one")
        raise UsageError(f"--resume {name}: there is no such run in {asked.storage}; {known}")
    if version_4.wrote_file(table_path(tables, "runs", name)):
        raise UsageError(
            f"--resume {name}: transform-tuner 0.1.0 began it: go on with that version, or start a "
            f"new run without --resume"
        )
    try:
        earlier = SearchConfig.from_run(json.loads(rows[0]["config"])).flat()
    except UsageError as error:
        raise UsageError(
            f"--resume {name}: {table_path(tables, 'runs', name)}, column config: {error}; "
            "put a sound copy in its place, or start a new run without --resume"
        ) from error
    samples = earlier["samples"] or 0
    if typed.get("samples", samples) < samples:
        raise UsageError(
            f"--resume {name} --samples {typed['samples']}: the run has {samples} trials; give "
            f"more, or leave --samples out"
        )
    changes = {key: value for key, value in typed.items() if SETTINGS[key].may_change}
    changed = [
        f"{flag(key)} was {_said(earlier[key])}, is {_said(value)}"
        for key, value in typed.items()
        if key not in changes and value != earlier[key]
    ]
    if changed:
        raise UsageError(
            f"--resume {name} with other settings: {'; '.join(changed)}: leave them out to go on, "
            f"or start a new run without --resume"
        )
    lasting = {"name": name, "timeout": None, "trace": None, "storage": asked.storage}
    lasting["pairs" if earlier["pairs"] else "data"] = rows[0]["data"]
    return SearchConfig.from_flat({**earlier, **lasting, **changes})


def _said(value: Any) -> str:
    """Return a setting as it is typed, several values with spaces between."""
    if value is None:
        return "not given"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


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
    # First, so that it is left last
    background = stack.enter_context(Background(interrupts.EARLY_END))
    pipeline = stack.enter_context(started(config.pipeline))  # it imports PyTorch meanwhile
    with console, trace.span("names and images"):
        images = check_early(config, console.progress)
    storage = RunStorage(config.storage, config.name)
    confirm = claim_run(storage, console, stack, resumes=config.resume is not None)
    connect.prepare_environment(config.verbose)
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
