"""One session of a run, first or resumed: search, confirm, evaluate, report."""

from dataclasses import replace
from datetime import UTC, datetime

from analysis.console import Console
from analysis.tables.files import Row
from analysis.tables.ranking import finalists
from trainables.data.examples import Splits
from trainables.errors import UsageError
from trainables.linear import AffineMap
from trainables.networks.base import may_start_at_map
from trainables.pipelines.own import own_map
from trainables.start_map import start_map
from tuner import interrupts, trace
from tuner.cluster.object_store import StoredVgg16, put_in_store
from tuner.planning.plan import Plan
from tuner.progress.lines import (
    TrialLines,
    introduce,
    point_onward,
    print_answer,
    print_sight,
    start_line,
)
from tuner.progress.recorder import Recorder, Tracker, tracker
from tuner.progress.rows import FINISHED, RunRow, RunRows, runs_row
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage, leave_mark
from tuner.trials.finalists import evaluate_finalists, look
from tuner.trials.proposals import Proposals, repeats, searched_trials
from tuner.trials.reporter import TrialSetup
from tuner.trials.scheduler import Stopping, scheduler_of
from tuner.trials.tune_run import SearchEnd, run_trials


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
    spaces = {name: space.parameters for name, space in plan.spaces.items()}
    row = RunRow(plan.storage, runs_row(config, plan.goal, spaces, plan.data, plan.earlier))
    row.say()
    introduce(console, plan)
    tracking = tracker(config.wandb, config.name, plan.storage.directory, console)
    status = "failed"
    try:
        code = _search_and_evaluate(plan, row, console, tracking, started)
        status = "finished" if code == 0 else "failed"
        return code
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        with trace.span("W&B's end"):
            if lost := tracking.close():
                console.line(lost, style="yellow")
        row.say(status=status, phase=None, ended_at=datetime.now(UTC))


def _search_and_evaluate(
    plan: Plan, row: RunRow, console: Console, tracking: Tracker, started: float
) -> int:
    config, data, storage = plan.config, plan.data, plan.storage
    trials = storage.rows("trials")
    known = {row["trial"] for row in trials}
    # A killed driver may have written the epochs of a trial and not yet the trial: it begins anew
    epochs = [row for row in storage.rows("epochs") if row["trial"] in known]
    usage = [row for row in storage.rows("usage") if row["trial"] in known]
    rows = RunRows(storage, plan.goal, trials, epochs, usage)
    lines = TrialLines(
        console,
        plan.goal,
        samples=config.samples or 0,
        mixed_networks=plan.mixed_networks,
        mixed_losses=config.mixed_losses,
    )
    end = SearchEnd(config.timeout, started)
    with console:
        start = None
        if any(may_start_at_map(space.parameters) for space in plan.spaces.values()):
            console.progress("finding the map that trials may start at")
            start = start_map(data)
            console.line(start_line(start))
        recorder = Recorder(rows, lines, tracking, config.scheduler, row)
        with trace.span("images into Ray's store"):
            search = SearchRun(plan, recorder, end, start and start.products)
        with trace.span("the search"):
            search.search(epochs)
        ranks = plan.goal.between(config.mixed_losses)
        best = finalists(rows.trials, config.finalists, ranks)
        if best and config.confirm_seeds:
            row.say(phase="confirming")
            with trace.span("other seeds"):
                search.confirm(best)
        tracking.end()
        if not best:
            return _no_best(console, rows.trials)
        row.say(phase="evaluating")
        console.progress("evaluating the finalists on the test split")
        affine = own_map(data.task, data.affine)
        with trace.span("evaluating the finalists"):
            scores = evaluate_finalists(
                storage,
                best,
                rows.trials,
                search.parameters,
                plan.resources,
                data,
                affine,
                config.metrics,
                start and start.full,
            )
    print_answer(console, plan, rows.trials, scores, timed_out=end.timed_out)
    if affine is not None:
        model = best[0]["model"]
        with trace.span("the field of view"):
            seen = look(best[0], search.parameters[model], data.task, plan.resources, affine)
        print_sight(console, model, seen)
    if config.timing == "short":
        row.say(phase="timing")
        with trace.span("timing"):
            time_best(config, storage, best[0], data, console)
    point_onward(console, plan, best[0]["model"])
    return 0


class SearchRun:
    """The trials of one session, on a cluster whose object store holds the images.

    Attributes:
        parameters: What each hyperparameter may be, by network.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, end: SearchEnd, start: AffineMap | None
    ) -> None:
        """Put the images, and what else trials need, into the object store.

        Args:
            plan: What to do.
            recorder: Gets what trials report.
            end: Tells when time is up.
            start: The map that trials may start at; None where none does.
        """
        self._plan = plan
        self._recorder = recorder
        self._end = end
        config, data = plan.config, plan.data
        self._spaces = plan.spaces
        self.parameters = {name: space.parameters for name, space in self._spaces.items()}
        self._setup = TrialSetup(
            images=put_in_store(
                {
                    "train_images": data.train.images,
                    "train_targets": data.train.targets,
                    "validation_images": data.validation.images,
                    "validation_targets": data.validation.targets,
                }
            ),
            training=plan.training,
            parameters=self.parameters,
            workers=config.workers_per_trial,
            resources=plan.resources,
            experiment=plan.storage.experiment,
            session="",
            losses=config.losses,
            vgg=StoredVgg16.of(plan.vgg) if plan.vgg else None,
            start=put_in_store(start.to_tensors()) if start else None,
        )

    def search(self, epochs: list[Row]) -> None:
        """Run what is left of the search, with a scheduler that knows what it knew.

        Args:
            epochs: Rows of earlier sessions, in the order in which they were reported.
        """
        config, rows = self._plan.config, self._recorder.rows
        scheduler = scheduler_of(config, self._plan.goal)
        searched = {row["trial"]: row["model"] for row in rows.trials if row["repeat_of"] is None}
        stopped: set[int] = set()
        if scheduler is not None:
            known = [row for row in epochs if row["trial"] in searched]
            stopped = scheduler.replay(known, searched)
        proposals = searched_trials(
            config,
            self._plan.goal,
            self._spaces,
            self._setup.experiment,
            rows.trials,
            stopped,
            self._plan.slots,
        )
        killed = [
            row["trial"]
            for row in rows.trials
            if row["trial"] in stopped and row["stop_reason"] not in FINISHED
        ]
        for number in killed:
            self._recorder.end(number, config.scheduler)
        if killed:
            rows.publish()  # there may be no trial left to run, whose end would write it
        self._run(proposals, scheduler, config.samples or 0)

    def confirm(self, finalists: list[Row]) -> None:
        """Train each finalist again with other seeds, to the end: nothing stops them."""
        config, trials = self._plan.config, self._recorder.rows.trials
        proposals = repeats(config, self._spaces, self._setup.experiment, finalists, trials)
        self._run(proposals, None, len(finalists) * config.confirm_seeds)

    def _run(self, proposals: Proposals, scheduler: Stopping | None, count: int) -> None:
        config = self._plan.config
        interrupts.check()
        if self._end.timed_out or proposals.finished:
            return
        experiment = self._setup.experiment
        session = experiment.next_session()
        experiment.patiently(lambda: leave_mark(experiment.files, f"{experiment.root}/{session}"))
        run_trials(
            replace(self._setup, session=session),
            proposals,
            self._recorder,
            scheduler=scheduler,
            end=self._end,
            count=count,
            concurrency=config.concurrency or self._plan.slots,
            local=config.address is None,
            verbose=config.verbose,
        )
        interrupts.check()
        reasons = {row["stop_reason"] for row in self._recorder.rows.trials}
        done = proposals.finished and "interrupted" not in reasons
        if not done and not self._end.timed_out:
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


def time_best(
    config: SearchConfig, storage: RunStorage, best: Row, data: Splits, console: Console
) -> None:
    """Time a trial on test images, and print it. The search is complete: a fault is one line."""
    # Here, since trials need not wait for what they import
    from analysis.timing import summary
    from analysis.timing.conductor import conduct
    from analysis.timing.subjects import Finalist
    from analysis.timing.timing_settings import SHORT_IMAGES, short_form, short_subjects

    trial = best["trial"]
    network = Finalist(trial, best["model"], str(storage.weights(trial)))
    examples = data.test.first(min(SHORT_IMAGES, len(data.test)))
    timing = short_form(len(examples), config.seed)
    try:
        with console:
            subjects = short_subjects(timing.subjects(data.task, [network]), trial)
            rows = conduct(
                timing, subjects, examples, data.affine, storage.tables, config.name, console
            )
    except KeyboardInterrupt:
        console.line("The timing was interrupted; the search is complete.")
    except (UsageError, OSError) as error:
        console.line(f"Nothing was timed: {error}", style="yellow")
    else:
        summary.print_timings(console, rows)
