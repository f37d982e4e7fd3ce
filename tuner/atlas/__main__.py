"""The command: which image transforms do small networks replace? Searches, and one table.

    python -m tuner.atlas                                      # all pipelines of the gallery
    python -m tuner.atlas --pipelines blur median --data photos
    python -m tuner.atlas                                      # again: goes on where it was

Exit status: 0 when every search came to its end, 1 when one failed, 2 for a mistake on the command
line, 130 after Ctrl-C or SIGTERM.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from analysis.atlas.__main__ import write
from analysis.console import DEFAULT_STORAGE, Console
from analysis.tables.bucket import local_directory
from analysis.tables.files import rows_of
from analysis.wording import duration
from trainables.errors import FAILED, UsageError, at_once, command, prog
from trainables.networks.registry import AUTO, NETWORKS, check_module
from trainables.pipelines import catalogue
from tuner.atlas.searches import BUDGETS, Call, Search, call
from tuner.cluster import connect
from tuner.planning.early_checks import check_early
from tuner.storage.claim import check_storage
from tuner.storage.run_storage import RunStorage

INTERRUPTED = "Interrupted; what is finished is kept. The same command goes on from here."


@command(interrupted=INTERRUPTED)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = parser().parse_args(arguments)
    if options.pipelines == [catalogue.LIST]:
        print(catalogue.listed())
        return 0
    console = Console()
    searches = checked(options, console)
    is_whole = do_all(searches, call, console)
    names = [search.config.name for search in searches]
    storage = local_directory(options.storage)
    with_scores = [name for name in names if rows_of(storage / "tables", "scores", name)]
    if not with_scores:
        return FAILED
    status = write(storage, with_scores, storage / "atlas", console)
    return status if is_whole else FAILED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("tuner.atlas"),
        description="Which image transforms small networks replace: searches and one table.",
    )
    parser.add_argument(
        "--pipelines",
        nargs="+",
        default=[],
        metavar="PIPELINE",
        help=f"what is to be replaced, each {catalogue.ASKED} (default: the gallery, as far as it "
        "is installed)",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=[AUTO],
        metavar="MODEL",
        help=f"{', '.join(NETWORKS)}, or a class of your own, each with a search of its own; "
        f"{AUTO}: each of this project that fits, in one search (default: {AUTO})",
    )
    parser.add_argument(
        "--budget",
        choices=tuple(BUDGETS),
        default="small",
        help="how much each search does (default: small)",
    )
    parser.add_argument(
        "--data",
        default="auto",
        help="cifar10, photos, a directory, or auto, as for tuner.run (default: auto)",
    )
    parser.add_argument(
        "--image-size",
        nargs="+",
        type=int,
        default=[],
        metavar="PIXELS",
        help="height and width of images, as for tuner.run (default: 32)",
    )
    parser.add_argument(
        "--storage",
        default=DEFAULT_STORAGE,
        help=f"where runs are kept, s3://BUCKET/PATH too (default: {DEFAULT_STORAGE})",
    )
    parser.add_argument(
        "--address", help="a running Ray cluster (default: start one on this machine)"
    )
    parser.add_argument(
        "--name",
        default="atlas",
        metavar="PREFIX",
        help="what names of runs begin with: PREFIX-BUDGET-PIPELINE (default: atlas)",
    )
    return parser


def checked(options: argparse.Namespace, console: Console) -> list[Search]:
    """Return the searches that are asked for, each of which can work as far as can be seen.

    Raises UsageError with all mistakes, a line each, before the first of them begins.
    """
    pipelines = list(dict.fromkeys(options.pipelines or installed()))
    models = list(dict.fromkeys(options.models))
    at_once(
        *(partial(catalogue.check, name) for name in pipelines),
        *(partial(check_module, name) for name in models if name != AUTO),
    )
    more = {"data": options.data, "storage": options.storage, "address": options.address}
    if options.image_size:
        more["image_size"] = tuple(options.image_size)
    searches = [
        Search.of(options.budget, pipeline, model, options.name, **more)
        for pipeline in pipelines
        for model in models
    ]
    names = [search.config.name for search in searches]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"--pipelines and --models have several for the run {', '.join(twice)}: give those "
            "that share a name to a command of their own, with another --name"
        )
    first = searches[0].config
    check_storage(RunStorage(first.storage, first.name), resumes=True)
    at_once(*(search.check for search in searches))
    with console:
        check_early(first, console.progress)  # the images are the same for all
    if options.address:
        connect.check_reachable(options.address)
    return searches


def installed() -> list[str]:
    """Name the pipelines of the gallery that can be imported here."""
    found = []
    for name in catalogue.PIPELINES:
        try:
            catalogue.check(name)
        except UsageError:
            continue
        found.append(name)
    return found


def do_all(searches: Sequence[Search], call: Call, console: Console) -> bool:
    """Do what is not done, one search after another; return whether all came to their end.

    A line for each cell says what was found, and one how much is left. One that fails is told, and
    the next begins.

    Raises KeyboardInterrupt where a person ended it.
    """
    todo = [search for search in searches if not search.is_done()]
    if len(todo) < len(searches):
        console.line(f"{len(searches) - len(todo)} of {len(searches)} searches are done already.")
    began, failed = time.monotonic(), 0
    for place, search in enumerate(todo, 1):
        log = local_directory(search.config.storage) / "logs" / f"{search.config.name}.txt"
        console.line(f"{search.title}: search {place} of {len(todo)}; its lines go to {log}")
        try:
            why = search.do(call, log)
        except UsageError as error:  # of its tables
            why = str(error)
        if why:
            failed += 1
            console.line(f"{search.title} failed: {why}", style="red")
        else:
            _print_cells(search, console)
        left = len(todo) - place
        if left:
            about = (time.monotonic() - began) / place * left
            console.line(f"{left} of {len(todo)} left, about {duration(about)}.")
    if failed:
        console.line(f"{failed} failed; the same command tries them again.", style="red")
    return not failed


def _print_cells(search: Search, console: Console) -> None:
    from analysis.atlas.cells import best_of, in_a_line  # here, since it imports pandas

    storage: Path = search.tables().parent
    for cell in best_of(storage, [search.config.name]).to_dict("records"):
        console.line(f"  {in_a_line(cell)}")


if __name__ == "__main__":
    sys.exit(main())
