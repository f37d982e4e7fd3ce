"""The short timing at the end of a search: the best network beside the pipeline that it replaces."""

from analysis.console import Console
from analysis.tables.files import Row
from analysis.timing import summary
from analysis.timing.conductor import conduct
from analysis.timing.subjects import Finalist
from analysis.timing.timing_settings import short_form
from trainables.data.image_set import ImageSet
from tuner.settings import SearchConfig


def time_best(config: SearchConfig, best: Row, images: ImageSet, console: Console) -> None:
    """Measure and tell; the search is complete, so what goes wrong here is told and no more."""
    network = Finalist(best["trial"], config.model, str(config.run_storage.weights(best["trial"])))
    try:
        timing = short_form(
            config.name, str(config.run_storage.directory), images, network, config.seed
        )
        with console:
            rows = conduct(timing, timing.subjects, console)
    except KeyboardInterrupt:
        console.line("The timing was interrupted; the search is complete.")
    except (ValueError, OSError) as error:
        console.line(f"Nothing was timed: {error}", style="yellow")
    else:
        summary.tell_short(console, rows)
