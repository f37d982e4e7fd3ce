"""One session of a run, first or resumed: search, confirm, evaluate, tell."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from analysis.console import Console, perceptual
from analysis.tables.files import Row
from analysis.tables.ranking import finalists, ranking_rule
from trainables.data.examples import Examples
from tuner import interrupts
from tuner.cluster.object_store import StoredVgg16, put_in_store
from tuner.plan import Plan, budget, training_settings
from tuner.progress import closing, runs_row
from tuner.progress.recorder import FINISHED, Recorder
from tuner.progress.tracking import Tracker, tracker
from tuner.settings import SearchConfig
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
from tuner.trials.space import Space, trial_seed
from tuner.trials.trial import Proposal, Shared

SMALL_SIZE = 64  # pixels, at which VGG16 is bearable without a GPU


def run(plan: Plan, console: Console, started: float) -> int:
    """Do what is planned and not yet done; the exit status.

    Raises KeyboardInterrupt when the person ended it, and OSError when the storage did.
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
    train, validation, test = (
        plan.data.train,
        plan.data.validation,
        plan.data.test,
    )
    trials = config.run_storage.rows("trials")
    known = {row["trial"] for row in trials}
    # A killed driver may have written the epochs of a trial and not yet the trial: it begins anew
    epochs = [row for row in config.run_storage.rows("epochs") if row["trial"] in known]
    recorder = Recorder(config, console, tracking, trials=trials, epochs=epochs)
    searching = Searching(plan, recorder, train, validation, Deadline(config.timeout, started))
    with console:
        searching.search(recorder.trials, epochs)
        best = finalists(recorder.trials, config.finalists)
        if best and config.confirm_seeds:
            searching.confirm(best)
        if not best:
            return _no_best(console, recorder.trials)
        console.progress("evaluating the finalists on the test split")
        accuracy = evaluate_finalists(config, recorder.trials, plan.resources, train.targets, test)
    closing.tell(console, config, recorder.trials, accuracy, timed_out=searching.deadline.passed)
    if config.timing == "short":
        time_best(config, best[0], plan.data.test, console)
    closing.point_onward(console, config)
    return 0


class Searching:
    """The trials of one session, on a cluster that holds the images."""

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder,
        train: Examples,
        validation: Examples,
        deadline: Deadline,
    ) -> None:
        self.plan = plan
        self.recorder = recorder
        self.deadline = deadline
        self._examples = put_in_store(
            {
                "train_images": train.images,
                "train_targets": train.targets,
                "validation_images": validation.images,
                "validation_targets": validation.targets,
            }
        )
        self._vgg = StoredVgg16.of(plan.vgg) if plan.vgg else None

    def search(self, trials: list[Row], epochs: list[Row]) -> None:
        """What is left of the search, with ASHA's rungs as they were."""
        config = self.plan.config
        rungs = Rungs(config)
        confirming = {row["trial"] for row in trials if row["repeat_of"] is not None}
        stopped = rungs.replay(row for row in epochs if row["trial"] not in confirming)
        proposals = searched_trials(config, trials, stopped, self.plan.slots)
        for number in stopped & set(self.recorder.unfinished()):
            self.recorder.end(number, "asha")
        self._run(proposals, rungs, config.samples or 0)

    def confirm(self, finalists: list[Row]) -> None:
        """Train each finalist again with other seeds, to the end: ASHA would compare unlike things."""
        config = self.plan.config
        known = {row["trial"]: row for row in self.recorder.trials}
        given = []
        for number, (finalist, repeat) in enumerate(
            _repeats(config, finalists), start=config.samples or 0
        ):
            row = known.get(number)
            if row is None:
                given.append(_repeat(config, number, finalist, repeat))
            elif row["stop_reason"] not in FINISHED:
                given.append(go_on(config, row))
        fixed = Proposals(
            given,
            space=Space.of(config.model, config.ranges, config.losses),
            seed=config.seed,
            numbers=(),
        )
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
            several_losses=config.several_losses,
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


def _repeats(config: SearchConfig, finalists: Iterable[Row]) -> list[tuple[Row, int]]:
    return [(row, repeat) for row in finalists for repeat in range(1, config.confirm_seeds + 1)]


def _repeat(config: SearchConfig, number: int, finalist: Row, repeat: int) -> Proposal:
    hyperparameters = {name: finalist[name] for name in HYPERPARAMETERS}
    seed = trial_seed(config.seed, hyperparameters, repeat)
    return proposal(number, hyperparameters, seed, repeat_of=finalist["trial"])


def _introduce(console: Console, plan: Plan) -> None:
    """What was chosen, and how to ask for more."""
    config, data = plan.config, plan.data
    if data.note:
        console.line(f"{data.note}: using the built-in photographs", style="yellow")
    counts = (len(data.train), len(data.validation), len(data.test))
    console.line(
        f"{config.name}: {config.model} on {data.train.source}, "
        f"{counts[0]:,} training, {counts[1]:,} validation and {counts[2]:,} test images"
    )
    each = f"{plan.resources.cpus:g} CPU" + (
        f" and {plan.resources.gpus:g} GPU" if plan.resources.gpus else ""
    )
    console.line(
        f"{config.samples} trials of up to {config.max_epochs} epochs, "
        f"{config.concurrency or plan.slots} at a time with {each} each; {config.search} search, "
        f"ASHA after {config.grace_epochs} epochs, factor {config.reduction_factor:g}"
    )
    for line in plan.gpu_memory:
        console.line(line)
    _tell_loss(console, plan)
    if not any(node.gpus for node in plan.nodes):
        full = budget(config.model, gpus=1)
        console.line(
            f"No GPU: that is a small search. The full one: --samples {full.samples} "
            f"--max-epochs {full.max_epochs} --images {full.images or plan.available_images}"
        )


def _tell_loss(console: Console, plan: Plan) -> None:
    config = plan.config
    if plan.vgg is not None:
        console.line(f"perceptual loss: {perceptual(asdict(config))}")
        times = ((config.perceptual_size or 0) / SMALL_SIZE) ** 2
        if times > 2 and not any(node.gpus for node in plan.nodes):
            console.line(
                f"VGG16 takes long without a GPU: {times:.0f} × less with --perceptual-size {SMALL_SIZE}"
            )
    if config.several_losses:
        console.line(
            f"The loss is searched too: the best trial is the one with {ranking_rule(mixed_losses=True)}"
        )


def _no_best(console: Console, trials: list[Row]) -> int:
    """Every trial failed, or none got through an epoch."""
    reasons = sorted({row["stop_reason"] for row in trials if row["stop_reason"]})
    console.line(
        f"No trial has a result ({', '.join(reasons) or 'none was started'}).", style="red"
    )
    errors = [row["error"] for row in trials if row["error"]]
    if errors:
        console.line(errors[0])
    return 1
