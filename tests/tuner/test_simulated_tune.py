"""The simulated Tune beside the real one: the same trials, and the same calls in the same order."""

import os
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from tests.tuner.conftest import as_a_process
from tests.tuner.simulated_tune import ProcessDied, simulated
from tuner.cluster.connect import prepare_environment
from tuner.trials.scheduler import InOrder

TRIALS = [
    {"epochs": 2},
    {"epochs": 3, "stopped_after": 2},
    {"epochs": 3, "dies_in": 3, "deaths": 1},
    {"epochs": 3, "dies_in": 1, "deaths": 9},
    {"epochs": 1},
    {"epochs": 10**9},
    {"epochs": 1},
]
LAST = 5  # which nothing ends but the stopper of the whole search
MOST_FAILURES = 1


class Log:
    """What was called, with the number of the trial and its epoch."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []


class Given(Searcher):
    """Proposes TRIALS."""

    def __init__(self, log: Log) -> None:
        super().__init__(metric="loss", mode="min")
        self.log = log
        self.numbers = deque(range(len(TRIALS)))
        self.number_of: dict[str, int] = {}

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if not self.numbers:
            return Searcher.FINISHED
        number = self.number_of[trial_id] = self.numbers.popleft()
        return {"number": number, **TRIALS[number]}

    def on_trial_result(self, trial_id: str, result: Any) -> None:
        self.log.calls.append(("searcher result", self.number_of[trial_id], result["epoch"]))

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        epoch = result and (result["epoch"], result["done"])
        self.log.calls.append(("searcher complete", self.number_of[trial_id], epoch, error))


class Stopping(InOrder):
    """Stops a trial where its configuration says so."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    def on_trial_result(self, controller: Any, trial: Any, result: Any) -> str:
        self.log.calls.append(("scheduler result", trial.config["number"], result["epoch"]))
        stops = result["epoch"] == trial.config.get("stopped_after")
        return self.STOP if stops else self.CONTINUE

    def on_trial_complete(self, controller: Any, trial: Any, result: Any) -> None:
        self.log.calls.append(("scheduler complete", trial.config["number"], result["epoch"]))

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self.log.calls.append(("scheduler error", trial.config["number"]))


class Callback(tune.Callback):
    """Writes everything down, and what lies on the disk then."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def note(self, event: str, trial: Any, *more: Any) -> None:
        self.log.calls.append((event, trial.config["number"], *more))

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.note("start", trial)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
    ) -> None:
        self.note("result", trial, result["epoch"])
        if trial.config["number"] == 2:
            trial.run_metadata.num_failures = 0

    def on_checkpoint(
        self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **_: Any
    ) -> None:
        self.note("checkpoint", trial, Path(checkpoint.path).name)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.note("recover", trial, trial.run_metadata.num_failures)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        failures = Path(trial.error_file).read_text().count("Failure # ")
        self.note("error", trial, trial.run_metadata.num_failures, failures)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.note("complete", trial)


class EndOfAll(tune.Stopper):
    """Ends the search when the last trial has reported twice."""

    def __init__(self) -> None:
        self.over = False

    def __call__(self, trial_id: str, result: Any) -> bool:
        self.over = self.over or (result["number"] == LAST and result["epoch"] == 2)
        return False

    def stop_all(self) -> bool:
        return self.over


def trainable(die: Callable[[], None]) -> Any:
    """A trial that reports each epoch with a checkpoint; a closure, which travels by itself."""

    def train(config: dict[str, Any]) -> None:
        import tempfile
        from pathlib import Path

        from ray import tune

        done, deaths = 0, 0
        if (kept := tune.get_checkpoint()) is not None:
            with kept.as_directory() as directory:
                done, deaths = map(int, Path(directory, "state").read_text().split())
        for epoch in range(done + 1, config["epochs"] + 1):
            if epoch == config.get("dies_in") and deaths < config["deaths"]:
                die()
            deaths += epoch + 1 == config.get("dies_in")  # whoever goes on from here died there
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, "state").write_text(f"{epoch} {deaths}")
                told = {"epoch": epoch, "loss": 1.0, "number": config["number"]}
                tune.report(told, checkpoint=tune.Checkpoint.from_directory(directory))

    return train


def calls(storage: Path, die: Callable[[], None]) -> tuple[list[tuple[Any, ...]], list[str]]:
    """What Tune calls for TRIALS, and the checkpoints that are left."""
    log = Log()
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1"
    tuner = tune.Tuner(
        tune.with_resources(trainable(die), {"CPU": 1}),
        tune_config=tune.TuneConfig(
            num_samples=len(TRIALS),
            search_alg=Given(log),
            scheduler=Stopping(log),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"trial-{trial.config['number']}",
        ),
        run_config=tune.RunConfig(
            name="session",
            storage_path=str(storage),
            verbose=0,
            stop=EndOfAll(),
            callbacks=[Callback(log)],
            failure_config=tune.FailureConfig(max_failures=MOST_FAILURES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    )
    tuner.fit()
    left = sorted(
        str(path.relative_to(storage / "session"))
        for number in range(LAST)
        for path in storage.glob(f"session/trial-{number}/checkpoint_*")
    )
    return log.calls, left


def test_what_is_simulated_is_what_ray_tune_does(tmp_path: Path, ray_head: str) -> None:
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dead() -> None:
        raise ProcessDied("killed")

    with simulated() as simulation, as_a_process("run.py"):
        simulated_calls, simulated_left = calls(tmp_path / "simulated", dead)
    with as_a_process("run.py"):
        prepare_environment(verbose=False)
        ray.init(address=ray_head, log_to_driver=False, logging_level="ERROR")
        try:
            real_calls, real_left = calls(tmp_path / "real", killed)
        finally:
            ray.shutdown()
    assert simulated_calls == real_calls
    assert simulated_left == real_left
    assert simulation.number_of_fits == 1
    assert ("error", 3, 2, 2) in real_calls
    assert not [call for call in real_calls if call[1] > LAST]
