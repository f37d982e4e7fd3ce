"""One session of a run, first or resumed: search, confirm, evaluate, report."""

from datetime import UTC, datetime

from ray.tune.schedulers import TrialScheduler

from analysis.console import Console
from analysis.tables.files import Row
from analysis.tables.ranking import finalists
from tuner import interrupts
from tuner.cluster.object_store import StoredVgg16, put_in_store
from tuner.plan import Plan, training_settings
from tuner.progress import closing, runs_row
from tuner.progress.lines import TrialLines
from tuner.progress.opening import introduce
from tuner.progress.recorder import Recorder
from tuner.progress.rows import RunRows
from tuner.progress.tracking import Tracker, tracker
from tuner.short_timing import time_best
from tuner.storage.shared_storage import leave_mark
from tuner.trials.finalists import evaluate_finalists
from tuner.trials.proposals import Proposals
from tuner.trials.remaining import repeats, searched_trials
from tuner.trials.scheduler import Rungs
from tuner.trials.trial_setup import TrialSetup
from tuner.trials.tune_run import Deadline, run_trials


def run(plan: Plan, console: Console, started: float) -> int:
    """Do what is planned and not yet done; return the exit status.

    Args:
        plan: What to do.
        console: Where to print.
        started: When the command began, by the monotonic clock; a timeout counts from there.

    Raises:
        KeyboardInterrupt: The person ended it.
        OSError: The storage did.
    """
    config = plan.config
    row = runs_row.runs_row(config, plan.data, plan.earlier)
    plan.storage.publish("runs", [row])
    introduce(console, plan)
    tracking = tracker(config.wandb, config.name, plan.storage.directory)
    status = "failed"
    try:
        code = _search_and_evaluate(plan, console, tracking, started)
        status = "finished" if code == 0 else "failed"
        return code
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        lost = tracking.close()
        if lost:
            console.line(lost, style="yellow")
        ended = {**row, "status": status, "ended_at": datetime.now(UTC)}
        plan.storage.publish("runs", [ended])


def _search_and_evaluate(plan: Plan, console: Console, tracking: Tracker, started: float) -> int:
    config, data, storage = plan.config, plan.data, plan.storage
    trials = storage.rows("trials")
    known = {row["trial"] for row in trials}
    # A killed driver may have written the epochs of a trial and not yet the trial: it begins anew
    epochs = [row for row in storage.rows("epochs") if row["trial"] in known]
    rows = RunRows(storage, config.model, trials, epochs)
    lines = TrialLines(console, samples=config.samples or 0, mixed_losses=config.mixed_losses)
    deadline = Deadline(config.timeout, started)
    search = SearchRun(plan, Recorder(rows, lines, tracking), deadline)
    with console:
        search.search(epochs)
        best = finalists(rows.trials, config.finalists)
        if best and config.confirm_seeds:
            search.confirm(best)
        if not best:
            return _no_best(console, rows.trials)
        console.progress("evaluating the finalists on the test split")
        accuracy = evaluate_finalists(
            storage,
            best,
            rows.trials,
            plan.resources,
            data.train.targets,
            data.test,
        )
    closing.report(console, config, rows.trials, accuracy, timed_out=deadline.passed)
    if config.timing == "short":
        time_best(config, storage, best[0], data.test, console)
    closing.point_onward(console, config)
    return 0


class SearchRun:
    """The trials of one session, on a cluster whose object store holds the images."""

    def __init__(self, plan: Plan, recorder: Recorder, deadline: Deadline) -> None:
        """Put the images, and VGG16 where the loss needs it, into the object store."""
        self._plan = plan
        self._recorder = recorder
        self._deadline = deadline
        self._images = put_in_store(
            {
                "train_images": plan.data.train.images,
                "train_targets": plan.data.train.targets,
                "validation_images": plan.data.validation.images,
                "validation_targets": plan.data.validation.targets,
            }
        )
        self._vgg = StoredVgg16.of(plan.vgg) if plan.vgg else None

    def search(self, epochs: list[Row]) -> None:
        """Run what is left of the search, with ASHA's rungs as they were.

        Args:
            epochs: Rows of earlier sessions, in the order in which they were reported.
        """
        config, rows = self._plan.config, self._recorder.rows
        experiment = self._plan.storage.experiment
        rungs = Rungs(
            max_epochs=config.max_epochs or 1,
            grace_epochs=config.grace_epochs,
            reduction_factor=config.reduction_factor,
            mixed_losses=config.mixed_losses,
        )
        searched = {row["trial"] for row in rows.trials if row["repeat_of"] is None}
        stopped = rungs.replay(row for row in epochs if row["trial"] in searched)
        proposals = searched_trials(config, experiment, rows.trials, stopped, self._plan.slots)
        for number in stopped & set(rows.unfinished()):
            self._recorder.end(number, "asha")
        self._run(proposals, rungs, config.samples or 0)

    def confirm(self, finalists: list[Row]) -> None:
        """Train each finalist again with other seeds, to the end: without ASHA."""
        config, experiment = self._plan.config, self._plan.storage.experiment
        proposals = repeats(config, experiment, finalists, self._recorder.rows.trials)
        self._run(proposals, None, len(finalists) * config.confirm_seeds)

    def _run(self, proposals: Proposals, scheduler: TrialScheduler | None, count: int) -> None:
        config, rows = self._plan.config, self._recorder.rows
        interrupts.check()
        if self._deadline.passed or proposals.finished:
            return
        experiment = self._plan.storage.experiment
        setup = TrialSetup(
            images=self._images,
            training=training_settings(config),
            workers=config.workers_per_trial,
            resources=self._plan.resources,
            experiment=experiment,
            session=experiment.next_session(),
            mixed_losses=config.mixed_losses,
            vgg=self._vgg,
        )
        directory = f"{experiment.root}/{setup.session}"
        experiment.patiently(lambda: leave_mark(experiment.files, directory))
        run_trials(
            setup,
            proposals,
            self._recorder,
            scheduler=scheduler,
            deadline=self._deadline,
            count=count,
            concurrency=config.concurrency or self._plan.slots,
            verbose=config.verbose,
        )
        interrupts.check()
        interrupted = any(row["stop_reason"] == "interrupted" for row in rows.trials)
        done = proposals.finished and not interrupted
        if not done and not self._deadline.passed:
            raise KeyboardInterrupt  # Tune returns as if all were well


def _no_best(console: Console, trials: list[Row]) -> int:
    """Say that every trial failed, or that none got through an epoch; return the exit status."""
    reasons = sorted({row["stop_reason"] for row in trials if row["stop_reason"]})
    console.line(
        f"No trial has a result ({', '.join(reasons) or 'none was started'}).", style="red"
    )
    errors = [row["error"] for row in trials if row["error"]]
    if errors:
        console.line(errors[0])
    return 1
