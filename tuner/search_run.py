"""One session of a run, first or resumed: search, train finalists again, evaluate, report."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

from analysis.console import Console, perceptual
from analysis.tables.files import Row
from analysis.tables.ranking import finalists, ranking_rule
from tuner import interrupts
from tuner.cluster.object_store import StoredVgg16, put_in_store
from tuner.plan import Plan, budget, training_settings
from tuner.progress import closing, runs_row
from tuner.progress.recorder import FINISHED, Recorder
from tuner.progress.tracking import Tracker, tracker
from tuner.short_timing import time_best
from tuner.trials.finalists import evaluate_finalists
from tuner.trials.proposals import Proposals, proposal
from tuner.trials.scheduler import (
    HYPERPARAMETERS,
    Deadline,
    Rungs,
    go_on,
    run_trials,
    searched_trials,
)
from tuner.trials.space import trial_seed
from tuner.trials.trial import Proposal, Shared

SMALL_SIZE = 64  # pixels, at which VGG16 is bearable without a GPU


def run(plan: Plan, console: Console, started: float) -> int:
    """Do what is planned and not yet done, and return the exit status.

    `started` is when the command began, on the monotonic clock. Raises KeyboardInterrupt when the
    person ended the search, and OSError when the storage did.
    """
    config = plan.config
    row = runs_row.runs_row(config, plan.data, plan.earlier)
    config.run_storage.publish("runs", [row])
    _introduce(console, plan)
    tracking = tracker(config.wandb, config.name, config.run_storage.directory)
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
        config.run_storage.publish("runs", [ended])


def _search_and_evaluate(plan: Plan, console: Console, tracking: Tracker, started: float) -> int:
    config = plan.config
    trials = config.run_storage.rows("trials")
    known = {row["trial"] for row in trials}
    # A killed driver may have written the epochs of a trial and not yet the trial: it begins anew
    epochs = [row for row in config.run_storage.rows("epochs") if row["trial"] in known]
    recorder = Recorder(config, console, tracking, trials=trials, epochs=epochs)
    deadline = Deadline(config.timeout, started)
    search = SearchRun(plan, recorder, deadline)
    with console:
        search.search(recorder.trials, epochs)
        best = finalists(recorder.trials, config.finalists)
        if best and config.confirm_seeds:
            search.confirm(best)
        if not best:
            return _no_best(console, recorder.trials)
        console.progress("evaluating the finalists on the test split")
        accuracy = evaluate_finalists(
            config, recorder.trials, plan.resources, plan.data.train.targets, plan.data.test
        )
    closing.tell(console, config, recorder.trials, accuracy, timed_out=deadline.passed)
    if config.timing == "short":
        time_best(config, best[0], plan.data.test, console)
    closing.point_onward(console, config)
    return 0


class SearchRun:
    """The trials of one session, on a cluster whose object store holds the images.

    Its methods raise KeyboardInterrupt when the person ended it, and OSError when the storage did.
    """

    def __init__(self, plan: Plan, recorder: Recorder, deadline: Deadline) -> None:
        self.plan = plan
        self.recorder = recorder
        self.deadline = deadline
        self._examples = put_in_store(
            {
                "train_images": plan.data.train.images,
                "train_targets": plan.data.train.targets,
                "validation_images": plan.data.validation.images,
                "validation_targets": plan.data.validation.targets,
            }
        )
        self._vgg = StoredVgg16.of(plan.vgg) if plan.vgg else None

    def search(self, trials: list[Row], epochs: list[Row]) -> None:
        """Run what is left of the search, with ASHA's rungs as they were.

        Args:
            trials: Rows of the trials table of the sessions before.
            epochs: Rows of the epochs table, in the order of their reports.
        """
        config, rungs = self.plan.config, Rungs(self.plan.config)
        confirming = {row["trial"] for row in trials if row["repeat_of"] is not None}
        stopped = rungs.replay(row for row in epochs if row["trial"] not in confirming)
        proposals = searched_trials(config, trials, stopped, self.plan.slots)
        for number in stopped & set(self.recorder.unfinished()):
            self.recorder.end(number, "asha")
        self._run(proposals, rungs, config.samples or 0)

    def confirm(self, finalists: list[Row]) -> None:
        """Train each finalist again with other seeds, to the end: ASHA would compare unlike things.

        Args:
            finalists: Their rows of the trials table.
        """
        config = self.plan.config
        known = {row["trial"]: row for row in self.recorder.trials}
        repeats = product(finalists, range(1, config.confirm_seeds + 1))
        given = []
        for number, (finalist, repeat) in enumerate(repeats, start=config.samples or 0):
            row = known.get(number)
            if row is None:
                given.append(_repeat(config.seed, number, finalist, repeat))
            elif row["stop_reason"] not in FINISHED:
                given.append(go_on(config, row))
        fixed = Proposals(given, space=self.plan.space, seed=config.seed, numbers=())
        self._run(fixed, None, len(given))

    def _run(self, proposals: Proposals, scheduler: Any, count: int) -> None:
        config, resources = self.plan.config, self.plan.resources
        interrupts.check()
        if self.deadline.passed or proposals.finished:
            return
        experiment = config.run_storage.experiment
        shared = Shared(
            examples=self._examples,
            training=training_settings(config),
            workers=config.workers_per_trial,
            resources=resources,
            experiment=experiment,
            session=experiment.next_session(),
            several_losses=config.mixed_losses,
            vgg=self._vgg,
        )
        experiment.mark(shared.session)
        run_trials(
            config,
            shared,
            proposals,
            self.recorder,
            scheduler,
            resources,
            self.deadline,
            count,
            self.plan.slots,
        )
        interrupts.check()
        done = proposals.finished and not self.recorder.interrupted()
        if not done and not self.deadline.passed:
            raise KeyboardInterrupt  # Tune returns as if all were well


def _repeat(seed: int, number: int, finalist: Row, repeat: int) -> Proposal:
    """Propose a finalist once more; `seed` is the search's."""
    hyperparameters = {name: finalist[name] for name in HYPERPARAMETERS}
    own_seed = trial_seed(seed, hyperparameters, repeat)
    return proposal(number, hyperparameters, own_seed, repeat_of=finalist["trial"])


def _introduce(console: Console, plan: Plan) -> None:
    """Print what was chosen, and how to ask for more."""
    config, data = plan.config, plan.data
    if data.note:
        console.line(f"{data.note}: using the built-in photographs", style="yellow")
    console.line(
        f"{config.name}: {config.model} on {data.train.source}, {len(data.train):,} training, "
        f"{len(data.validation):,} validation and {len(data.test):,} test images"
    )
    each = f"{plan.resources.cpus:g} CPU"
    if plan.resources.gpus:
        each += f" and {plan.resources.gpus:g} GPU"
    console.line(
        f"{config.samples} trials of up to {config.max_epochs} epochs, "
        f"{config.concurrency or plan.slots} at a time with {each} each; {config.search} search, "
        f"ASHA after {config.grace_epochs} epochs, factor {config.reduction_factor:g}"
    )
    for line in plan.gpu_memory:
        console.line(line)
    has_gpus = any(node.gpus for node in plan.nodes)
    _introduce_loss(console, plan, has_gpus)
    if not has_gpus:
        full = budget(config.model, gpus=1)
        console.line(
            f"No GPU: that is a small search. The full one: --samples {full.samples} "
            f"--max-epochs {full.max_epochs} --images {full.images or plan.available_images}"
        )


def _introduce_loss(console: Console, plan: Plan, has_gpus: bool) -> None:
    config = plan.config
    if plan.vgg is not None:
        console.line(f"perceptual loss: {perceptual(config.flat())}")
        times = (config.perceptual.size / SMALL_SIZE) ** 2
        if times > 2 and not has_gpus:
            console.line(
                f"VGG16 takes long without a GPU: "
                f"{times:.0f} × less with --perceptual-size {SMALL_SIZE}"
            )
    if config.mixed_losses:
        console.line(
            f"The loss is searched too: the best trial is the one with "
            f"{ranking_rule(mixed_losses=True)}"
        )


def _no_best(console: Console, trials: list[Row]) -> int:
    """Say why no trial has a result; the exit status."""
    reasons = sorted({row["stop_reason"] for row in trials if row["stop_reason"]})
    console.line(
        f"No trial has a result ({', '.join(reasons) or 'none was started'}).", style="red"
    )
    errors = [row["error"] for row in trials if row["error"]]
    if errors:
        console.line(errors[0])
    return 1
