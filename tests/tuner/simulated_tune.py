"""Ray Tune in this process: no cluster, no process of a trial, no waiting.

    with simulated() as ray:
        status, output = command.call("--model", "separable", …)

The command's own code runs as always, trials included: each in a thread that goes on when it is
its turn. Only Ray is another one. It does what Ray's `TuneController` does, in the same order;
`test_simulated_tune.py` compares the two.
"""

import itertools
import os
import queue
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.train.torch
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.tune import _setup_signal_catching

from tuner.trials.tune_run import SearchEnd

HEAD = "node:__internal_head__"


class ProcessDied(BaseException):
    """What a trial raises here where its process would die."""


class Reference:
    """What `ray.put` returns."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Trial:
    """What callbacks and schedulers see of Ray's Trial, and the thread of its process."""

    def __init__(self, config: dict[str, Any], trial_id: str) -> None:
        self.config = config
        self.trial_id = trial_id
        self.run_metadata = SimpleNamespace(num_failures=0)
        self.last_result: dict[str, Any] = {}
        self.checkpoints: list[Path] = []
        self.directory = Path()
        self.written = itertools.count()
        self.process: Process | None = None

    @property
    def error_file(self) -> str | None:
        path = self.directory / "error.txt"
        return str(path) if path.exists() else None


class Process:
    """A trial's function in a thread that runs while the driver waits for what it says next."""

    here = threading.local()

    def __init__(self, function: Callable[[dict[str, Any]], None], trial: Trial) -> None:
        self.trial = trial
        self._function = function
        self._said: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.ended = False

    def next(self) -> tuple[str, Any, Any]:
        """Go on: `report` with metrics and a checkpoint, `return`, or `death` with the error."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._orders.put(None)
        return self._said.get()

    def end(self, cause: BaseException) -> None:
        """Raise it where the trial reports, and wait until the thread has ended."""
        if self._thread.ident is not None and not self.ended:
            self._orders.put(cause)
            self._said.get()
            self._thread.join()

    def report(self, metrics: dict[str, Any], checkpoint: Any = None) -> None:
        """As `tune.report`: the checkpoint lies in the storage before anything is said."""
        kept = None
        if checkpoint is not None:
            kept = self.trial.directory / f"checkpoint_{next(self.trial.written):06d}"
            shutil.copytree(checkpoint.path, kept, dirs_exist_ok=True)
        self._said.put(("report", dict(metrics), kept))
        order = self._orders.get()
        if order is not None:
            raise order

    def _run(self) -> None:
        Process.here.process = self
        said: tuple[str, Any, Any] = ("return", None, None)
        try:
            self._function(self.trial.config)
        except SystemExit:
            pass
        except BaseException as error:
            said = ("death", error, None)
        self.ended = True
        self._said.put(said)


class SimulatedTuner:
    """`tune.Tuner`, as far as the search uses it."""

    def __init__(self, trainable: Any, *, tune_config: Any, run_config: Any) -> None:
        self._simulation: SimulatedRay = trainable.keywords.pop("simulation")
        bundle = trainable.keywords.pop("bundle")
        self._function = trainable
        self._tune, self._run = tune_config, run_config
        self._searcher, self._scheduler = tune_config.search_alg, tune_config.scheduler
        self._at_once = max(1, int(self._simulation.cpus / bundle.get("CPU", 1)))
        self._most_pending = int(os.environ["TUNE_MAX_PENDING_TRIALS_PG"])
        self._root = Path(run_config.storage_path) / run_config.name
        self._proposed = 0
        self._search_is_over = False
        self._trials: list[Trial] = []
        self._pending: list[Trial] = []
        self._running: list[Trial] = []
        self._iteration = 0
        manager = SimpleNamespace(_try_start_actors=None)
        within = SimpleNamespace(_pending_trials=self._pending, _actor_manager=manager)
        self._seen = SimpleNamespace(_tune_controller=within)  # what a scheduler sees of Ray's

    def fit(self) -> None:
        """Until every trial has ended, a stopper says so, or Ctrl-C."""
        interrupted = _setup_signal_catching()
        while not interrupted.is_set() and not self._is_finished():
            self._step()
        for trial in self._running:
            trial.process.end(SystemExit())
        self._tell("on_experiment_end")

    def _is_finished(self) -> bool:
        return self._search_is_over and not self._pending and not self._running

    def _step(self) -> None:
        self._propose()
        while self._pending and len(self._running) < self._at_once:
            self._start(self._scheduler.choose_trial_to_run(self._seen) or self._pending[0])
        if self._running:
            self._go_on(self._simulation.luck.choice(self._running))
        if self._ends_all():
            self._search_is_over = True
            self._pending.clear()
            for trial in self._running:
                trial.process.end(SystemExit())
            self._running.clear()
        self._iteration += 1

    def _propose(self) -> None:
        while not self._search_is_over and len(self._pending) < self._most_pending:
            trial_id = f"{self._simulation.number_of_fits:02d}-{self._proposed:05d}"
            config = self._searcher.suggest(trial_id)
            if config is None:
                assert self._pending or self._running, "the search waits for nothing"
                return
            if config == Searcher.FINISHED:
                self._search_is_over = True
                return
            self._proposed += 1
            self._search_is_over = self._proposed >= self._tune.num_samples
            trial = Trial(config, trial_id)
            trial.directory = self._root / self._tune.trial_dirname_creator(trial)
            self._trials.append(trial)
            self._pending.append(trial)
            self._scheduler.on_trial_add(self._seen, trial)

    def _start(self, trial: Trial) -> None:
        self._pending.remove(trial)
        self._running.append(trial)
        trial.process = Process(self._function, trial)
        self._tell("on_trial_start", trial=trial)

    def _go_on(self, trial: Trial) -> None:
        what, said, checkpoint = trial.process.next()
        if what == "death":
            self._fail(trial, said)
        elif what == "return":
            self._stop(trial)
        else:
            self._simulation.moment("written", trial)
            if not self._kills(trial):
                decision = self._heard(trial, said, checkpoint)
                self._simulation.moment("reported", trial)
                if decision == TrialScheduler.STOP:
                    self._stop(trial)
                else:
                    self._kills(trial)

    def _kills(self, trial: Trial) -> bool:
        if trial not in self._simulation.doomed:
            return False
        self._simulation.doomed.discard(trial)
        trial.process.end(ProcessDied("killed"))
        self._fail(trial, ProcessDied("killed"))
        return True

    def _ends_all(self) -> bool:
        return self._run.stop is not None and self._run.stop.stop_all()

    def _heard(self, trial: Trial, result: dict[str, Any], checkpoint: Path | None) -> str:
        result["trial_id"] = trial.trial_id
        if self._run.stop is not None and self._run.stop(trial.trial_id, result):
            decision = TrialScheduler.STOP
        else:
            decision = self._scheduler.on_trial_result(self._seen, trial, dict(result))
        if decision == TrialScheduler.STOP:
            result["done"] = True
        else:
            self._searcher.on_trial_result(trial.trial_id, dict(result))
        self._tell("on_trial_result", trial=trial, result=result)
        trial.last_result = result
        if checkpoint is not None and not self._ends_all():
            self._tell(
                "on_checkpoint", trial=trial, checkpoint=SimpleNamespace(path=str(checkpoint))
            )
            trial.checkpoints.append(checkpoint)
            for old in trial.checkpoints[: -self._run.checkpoint_config.num_to_keep]:
                shutil.rmtree(old, ignore_errors=True)
            del trial.checkpoints[: -self._run.checkpoint_config.num_to_keep]
        return str(decision)

    def _stop(self, trial: Trial) -> None:
        self._running.remove(trial)
        result = {**trial.last_result, "done": True}
        self._scheduler.on_trial_complete(self._seen, trial, result)
        self._searcher.on_trial_complete(trial.trial_id, result=result)
        self._tell("on_trial_complete", trial=trial)
        trial.process.end(SystemExit())

    def _fail(self, trial: Trial, error: BaseException) -> None:
        self._running.remove(trial)
        trial.run_metadata.num_failures += 1
        trial.directory.mkdir(parents=True, exist_ok=True)
        with (trial.directory / "error.txt").open("a") as file:
            file.write(f"Failure # {trial.run_metadata.num_failures}\n{error}\n")
        self._scheduler.on_trial_error(self._seen, trial)
        if trial.run_metadata.num_failures > self._run.failure_config.max_failures:
            self._searcher.on_trial_complete(trial.trial_id, error=True)
            self._tell("on_trial_error", trial=trial)
            return
        known = trial.checkpoints[-1:]  # one that was written and not heard of is written over
        trial.written = itertools.count(int(known[0].name[-6:]) + 1 if known else 0)
        self._pending.append(trial)
        self._scheduler.on_trial_add(self._seen, trial)
        self._tell("on_trial_recover", trial=trial)

    def _tell(self, event: str, **about: Any) -> None:
        for callback in self._run.callbacks or ():
            if event == "on_experiment_end":
                callback.on_experiment_end(trials=self._trials)
            else:
                getattr(callback, event)(iteration=self._iteration, trials=self._trials, **about)


class SimulatedRay:
    """What a test asks of it and sees of it."""

    def __init__(self, cpus: float, gpus: float, luck: int) -> None:
        self.cpus = cpus
        self.gpus = gpus
        self.luck = random.Random(luck)
        """Which of the running trials reports next."""
        self.moment: Callable[[str, Trial], None] = lambda what, trial: None
        """Called when a checkpoint is `written`, and when the driver has heard it `reported`."""
        self.doomed: set[Trial] = set()
        """Trials whose process dies after this moment; what is only `written` is never heard of."""
        self.skipped_sec = 0.0
        """By how much the clock of a search's deadline goes before that of the machine."""
        self.number_of_fits = 0
        self._started = False

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Stand where Ray is."""
        of_ray = {
            "init": self._init,
            "shutdown": self._shutdown,
            "is_initialized": lambda: self._started,
            "put": Reference,
            "get": _get,
            "remote": _remote,
            "nodes": self._nodes,
            "cluster_resources": lambda: self._nodes()[0]["Resources"],
            "get_gpu_ids": lambda: [],
            "get_runtime_context": lambda: SimpleNamespace(get_node_id=lambda: "node"),
        }
        of_tune = {
            "Tuner": SimulatedTuner,
            "with_parameters": partial,
            "with_resources": self._with_resources,
            "report": lambda *report, **more: Process.here.process.report(*report, **more),
            "get_checkpoint": _checkpoint,
        }
        for module, names in ((ray, of_ray), (tune, of_tune)):
            for name, value in names.items():
                patch.setattr(module, name, value)
        patch.setattr(ray.train.torch, "TorchTrainer", LocalTrainer)
        clock = SimpleNamespace(**vars(time))
        clock.monotonic = lambda: time.monotonic() + self.skipped_sec
        patch.setattr(sys.modules[SearchEnd.__module__], "time", clock)

    def _init(self, **_: Any) -> None:
        self._started = True

    def _shutdown(self) -> None:
        self._started = False

    def _nodes(self) -> list[dict[str, Any]]:
        resources = {"CPU": self.cpus, "GPU": self.gpus, "memory": 2.0**34, HEAD: 1.0}
        node = {"NodeName": "here", "NodeID": "node", "Alive": True}
        return [{**node, "Resources": {name: n for name, n in resources.items() if n}}]

    def _with_resources(self, trainable: Any, bundle: dict[str, float]) -> Any:
        self.number_of_fits += 1
        return partial(trainable, simulation=self, bundle=bundle)


class LocalTrainer:
    """Ray Train's local mode."""

    def __init__(self, loop: Any, *, train_loop_config: Any, scaling_config: Any) -> None:
        assert scaling_config.num_workers == 0
        self.fit = partial(loop, train_loop_config)


def _checkpoint() -> Any:
    kept = Process.here.process.trial.checkpoints
    return tune.Checkpoint.from_directory(str(kept[-1])) if kept else None


def _get(references: Any, timeout: float | None = None) -> Any:
    if isinstance(references, list):
        return [reference.value for reference in references]
    if isinstance(references.value, Exception):
        raise references.value
    return references.value


def _remote(**_: Any) -> Any:
    def at_once(function: Any) -> Any:
        def call(*arguments: Any) -> Reference:
            known = (one.value if isinstance(one, Reference) else one for one in arguments)
            return Reference(function(*known))

        task = SimpleNamespace(remote=call)
        task.options = lambda **_: task
        return task

    return at_once


@contextmanager
def simulated(cpus: float = 1, gpus: float = 0, luck: int = 0) -> Iterator[SimulatedRay]:
    """One node with these, until the end; `luck` seeds which of several trials reports next."""
    with pytest.MonkeyPatch.context() as patch:
        simulation = SimulatedRay(cpus, gpus, luck)
        simulation.install(patch)
        yield simulation
