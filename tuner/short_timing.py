"""The short timing at the end of a search: the best network beside the pipeline."""

from analysis.console import Console
from analysis.tables.files import Row
from analysis.timing import summary
from analysis.timing.conductor import conduct
from analysis.timing.subjects import Finalist
from analysis.timing.timing_settings import SHORT_IMAGES, short_form
from trainables.data.examples import Examples
from trainables.errors import UsageError
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage


def time_best(
    config: SearchConfig, storage: RunStorage, best: Row, test: Examples, console: Console
) -> None:
    """Time a trial on test images, and print it. The search is complete: a fault is one line."""
    trial = best["trial"]
    network = Finalist(trial, config.model, str(storage.weights(trial)))
    examples = test.first(min(SHORT_IMAGES, len(test)))
    timing = short_form(trial, len(examples), config.seed)
    try:
        with console:
            rows = conduct(
                timing, timing.subjects([network]), examples, storage.tables, config.name, console
            )
    except KeyboardInterrupt:
        console.line("The timing was interrupted; the search is complete.")
    except (UsageError, OSError) as error:
        console.line(f"Nothing was timed: {error}", style="yellow")
    else:
        summary.print_timings(console, rows)
