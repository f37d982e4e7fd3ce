"""One session of a run, first or resumed: search, confirm, evaluate, tell."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import ray

from analysis.console import Console, perceptual
from analysis.tables.files import Row
from analysis.tables.ranking import finalists, told
from trainables.data.labelled import Data
from trainables.losses.vgg16 import Vgg16
from trainables.training.loop import Examples
from tuner import compile_decision, gpu_memory, interrupts, loss_flags, preflight
from tuner.cluster.ray_cluster import Growth, Node, Share
from tuner.progress import closing, runs_row
from tuner.progress.recorder import FINISHED, Recorder
from tuner.progress.tracking import Tracker, tracker
from tuner.settings import SearchConfig
from tuner.short_timing import time_best
from tuner.storage.shared_storage import check_shared
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


@dataclass(frozen=True)
class Plan:
    """A search that can work: complete settings, images, and what each trial gets."""

    config: SearchConfig
    data: Data
    share: Share
    fits: int
    nodes: list[Node]
    """Those that are up, and those that the cluster may grow by."""
    earlier: Row | None
    """The runs table's row of the session before, when this one resumes."""
    vgg: Vgg16 | None
    """What the perceptual loss needs."""
    gpu_memory: str
    """The line about it; empty without GPUs."""
    train_images: int
    """That there are, of which the search may use fewer."""


def plan(
    config: SearchConfig, loaded: tuple[Data, Vgg16 | None], up: list[Node], growth: Growth
) -> Plan:
    """Fit the search to the cluster, grown as far as it may, and to the images. Raises ValueError where it does not."""
    data, vgg = loaded
    share = preflight.trial_share(config, [*up, *growth.nodes])
    nodes = [*up, *growth.beside(up, share)]
    fits = preflight.trials_at_once(config, share, nodes)
    complete = config.completed(
        gpus=sum(node.gpus for node in nodes),
        data=config.data if config.data != "auto" else data.train.source.name,
        train_images=len(data.train),
    )
    used = data.cut(complete.images or len(data.train))
    earlier = next(iter(config.run_storage.rows("runs")), None)
    if earlier is not None and earlier["train_fingerprint"] != used.train.source.fingerprint:
        raise ValueError(
            f"--resume {config.name}: {config.data} now holds other images than when the run was started: "
            f"bring those back, or start a new run without --resume"
        )
    if len(up) > 1:
        check_shared(config.storage, preflight.able(up, share))
    preflight.check_groups(config, up)
    memory = gpu_memory.check(
        complete, share, len(used.train), len(used.validation), preflight.able(up, share)
    )
    return Plan(complete, used, share, fits, nodes, earlier, vgg, memory, len(data.train))


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
        config = compile_decision.settled(config, plan.share, plan.data.train.examples, console)
        row["config"] = config.to_json()
        config.run_storage.publish("runs", [row])
        code = _search_and_evaluate(replace(plan, config=config), console, tracking, started)
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
        plan.data.train.examples,
        plan.data.validation.examples,
        plan.data.test.examples,
    )
    trials, epochs = config.run_storage.rows("trials"), config.run_storage.rows("epochs")
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
        accuracy = evaluate_finalists(config, recorder.trials, plan.share, train.targets, test)
    closing.tell(console, config, recorder.trials, accuracy, timed_out=searching.deadline.passed)
    if config.timing == "short":
        time_best(config, best[0], plan.data.test.source, console)
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
        arrays = (train.images, train.targets, validation.images, validation.targets)
        # NumPy arrays lie in the object store once per node; tensors would be copied into every process
        self._references = tuple(ray.put(array.numpy()) for array in arrays)
        self._vgg = loss_flags.share(plan.vgg)

    def search(self, trials: list[Row], epochs: list[Row]) -> None:
        """What is left of the search, with ASHA's rungs as they were."""
        config = self.plan.config
        rungs = Rungs(config)
        confirming = {row["trial"] for row in trials if row["confirms"] is not None}
        stopped = rungs.replay(row for row in epochs if row["trial"] not in confirming)
        proposals = searched_trials(config, trials, stopped, self.plan.fits)
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
        fixed = Proposals(given, space=Space.of(config), seed=config.seed, numbers=())
        self._run(fixed, None, len(given))

    def _run(self, proposals: Proposals, scheduler: Any, count: int) -> None:
        config, share = self.plan.config, self.plan.share
        interrupts.check()
        if self.deadline.passed or proposals.finished:
            return
        experiment = config.run_storage.experiment
        shared = Shared(
            examples=self._references,
            training={
                "model": config.model,
                "max_epochs": config.max_epochs,
                "early_stopping": config.early_stopping,
                "batch_size": config.batch_size,
                "precision": config.precision,
                "compiled": config.compile == "on",
                **loss_flags.training_settings(config),
            },
            workers=config.workers_per_trial,
            share=share,
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
            share,
            self.deadline,
            count,
            self.plan.fits,
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
    return proposal(number, hyperparameters, seed, confirms=finalist["trial"])


def _introduce(console: Console, plan: Plan) -> None:
    """What was chosen, and how to ask for more."""
    config, data = plan.config, plan.data
    if data.note:
        console.line(f"{data.note}: using the built-in photographs", style="yellow")
    counts = (len(data.train), len(data.validation), len(data.test))
    console.line(
        f"{config.name}: {config.model} on {data.train.source.name}, "
        f"{counts[0]:,} training, {counts[1]:,} validation and {counts[2]:,} test images"
    )
    each = f"{plan.share.cpus:g} CPU" + (f" and {plan.share.gpus:g} GPU" if plan.share.gpus else "")
    console.line(
        f"{config.samples} trials of up to {config.max_epochs} epochs, "
        f"{config.concurrency or plan.fits} at a time with {each} each; {config.search} search, "
        f"ASHA after {config.grace_epochs} epochs, factor {config.reduction_factor:g}"
    )
    if plan.gpu_memory:
        console.line(plan.gpu_memory)
    _tell_loss(console, plan)
    if not any(node.gpus for node in plan.nodes):
        full = config.budget(gpus=1)
        console.line(
            f"No GPU: that is a small search. The full one: --samples {full.samples} "
            f"--max-epochs {full.max_epochs} --images {full.images or plan.train_images}"
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
            f"The loss is searched too: the best trial is the one with {told(several=True)}"
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
