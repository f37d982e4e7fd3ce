from typing import Any, cast

import pytest
import ray
import torch
from ray import tune

from tuner.cluster.nodes import WorkerResources
from tuner.storage.run_storage import Experiment
from tuner.trials.reporter import TrialReporter, TrialSetup
from tuner.trials.usage_samples import UsageSamples


@pytest.mark.parametrize("gpus", [0.25, 1.0, 2.0])
def test_cuda_is_ready_before_a_peak_of_its_memory_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, gpus: float
) -> None:
    """On a GPU that nothing has used yet the reset raises RuntimeError."""
    calls: list[str] = []
    for name in ("init", "set_per_process_memory_fraction", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: ["0"])
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    nothing = cast(Any, None)
    setup = TrialSetup(
        images=None,
        training={},
        parameters={},
        workers=1,
        resources=WorkerResources(torch.get_num_threads(), gpus, 0.0),
        experiment=cast(Experiment, nothing),
        session="s",
        losses={"mse": "mse"},
        vgg=None,
        start=None,
    )
    assert TrialReporter(setup, UsageSamples()).prepare_device() == torch.device("cuda:0")
    assert calls[:2] == ["init", "reset_peak_memory_stats"]
    assert ("set_per_process_memory_fraction" in calls) is (gpus < 1)
