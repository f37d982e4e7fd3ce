"""What fits the cluster, the images and the networks becomes a plan; what does not is refused."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.tables.parameters import spaces_text
from tests.tuner.planning.plans import CPU_NODE, GPU_NODE, config, loaded, planned
from tests.tuner.test_arguments import store
from trainables.errors import UsageError
from trainables.networks.registry import NETWORKS
from trainables.training.loop import TrainingConfig
from tuner.cluster.nodes import Growth, Node, WorkerResources
from tuner.planning import gpu_memory
from tuner.planning.amount import EACH_ON_GPU
from tuner.planning.plan import make_plan
from tuner.storage.run_storage import RunStorage


def test_a_plan_has_complete_settings_the_images_that_are_used_and_what_a_trial_gets(
    few: str, tmp_path: Path
) -> None:
    plan = planned(few, tmp_path, model="separable", images=100, cpus_per_trial=2)
    assert (plan.resources, plan.slots, plan.nodes) == (WorkerResources(2, 0, 0), 4, [CPU_NODE])
    assert (len(plan.data.train), plan.available_images, plan.config.samples) == (100, 216, 16)
    assert (plan.earlier, plan.vgg, plan.gpu_memory) == (None, None, [])


def test_a_cluster_that_may_grow_counts_as_far_as_it_may(few: str, tmp_path: Path) -> None:
    asked = config(data=few, storage=str(tmp_path), address="auto", gpus_per_trial=0)
    head = Node(0, 0, 8, head=True)
    storage = RunStorage(str(tmp_path), "r")
    plan = make_plan(asked, storage, loaded(asked), [head], Growth((CPU_NODE,) * 3, limit=2))
    assert (plan.slots, plan.nodes) == (16, [head, CPU_NODE, CPU_NODE])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"images": 999_999}, "999,999 images were asked for, but the train split of"),
        ({"model": "separable", "ranges": {"dropout": (0, 0.1)}}, "separable has no dropout"),
        ({"cpus_per_trial": 512}, "--cpus-per-trial 512: no node has more than 8 CPUs"),
        ({"gpus_per_trial": 1}, "--gpus-per-trial 1: there are no GPUs in the cluster; leave"),
    ],
)
def test_what_does_not_fit_the_machine_the_network_or_the_images_is_refused(
    few: str, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as error:
        planned(few, tmp_path, **asked)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"pipeline": "study"}, "--pipeline study gives 4 channels; give --loss mse"),
        ({"pairs": "films", "data": "auto"}, "--pairs films gives 4 channels"),
    ],
)
def test_outputs_that_vgg16_does_not_take_are_told_with_what_made_them(
    few: str, tmp_path: Path, source: dict[str, str], told: str
) -> None:
    _, data, network = loaded(config(data=few))
    task = replace(data.task, output_shape=(4, 28, 28))
    asked = config(loss="perceptual", **source)
    given = (None, replace(data, task=task), network)
    with pytest.raises(UsageError, match=f"grey or three colours, and {told}"):
        make_plan(asked, RunStorage(str(tmp_path), "r"), given, [CPU_NODE], Growth())


def test_a_network_that_can_not_be_trained_here_is_refused_unless_trials_have_gpus(
    few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def measured(*_: Any, problem: str, **__: Any) -> list[str]:
        told.append(problem)
        return []

    monkeypatch.setattr(gpu_memory, "check", measured)
    asked = config(data=few, storage=str(tmp_path))
    vgg, data, facts = loaded(asked)
    problem = "--model own:Net can't be trained: no kernel here"
    tried = vgg, data, {"fc": replace(facts["fc"], problem=problem)}
    storage = RunStorage(str(tmp_path), "r")
    with pytest.raises(UsageError, match="can't be trained: no kernel here"):
        make_plan(asked, storage, tried, [CPU_NODE], Growth())
    make_plan(asked, storage, tried, [GPU_NODE], Growth())
    assert told == [problem]


def test_where_no_network_of_auto_fits_it_says_why_of_each(few: str, tmp_path: Path) -> None:
    asked = config(data=few, storage=str(tmp_path), model="auto")
    vgg, data, facts = loaded(asked)
    unfit = {
        name: replace(one, problem=f"{name} is no use; give fc") for name, one in facts.items()
    }
    reasons = "; ".join(f"{name} is no use" for name in NETWORKS)
    with pytest.raises(UsageError, match=f"^--model auto: no network fits: {reasons}$"):
        make_plan(asked, RunStorage(str(tmp_path), "r"), (vgg, data, unfit), [CPU_NODE], Growth())


def test_auto_leaves_out_what_has_no_room_on_the_gpu_and_gives_the_others_their_share(
    few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: set[str] = {"cnn"}

    def measured(training: TrainingConfig, *_: Any, **__: Any) -> list[str]:
        if training.model in full:
            raise UsageError(f"a step of {training.model} runs out of memory; give less")
        return ["A trial needs little"]

    monkeypatch.setattr(gpu_memory, "check", measured)
    asked = config(data=few, storage=str(tmp_path), model="auto")
    tried = loaded(asked)
    storage = RunStorage(str(tmp_path), "r")
    plan = make_plan(asked, storage, tried, [GPU_NODE], Growth())
    fitting = [name for name, facts in tried[2].items() if not facts.problem]
    others = [name for name in fitting if name != "cnn"]
    assert list(plan.networks) == list(plan.spaces) == others
    assert plan.left_out["cnn"] == "a step of cnn runs out of memory; give less"
    assert plan.gpu_memory == [f"{name}: A trial needs little" for name in others]
    assert plan.config.samples == len(others) * EACH_ON_GPU["samples"]

    parts = (plan.data.train, plan.data.validation, plan.data.test)
    store(
        tmp_path,
        asked,
        space=spaces_text({name: space.parameters for name, space in plan.spaces.items()}),
        probe_outputs=plan.data.probes,
        **{f"{part.split}_fingerprint": part.fingerprint for part in parts},
    )
    again = make_plan(replace(asked, resume="r"), storage, tried, [GPU_NODE], Growth())
    assert again.earlier is not None
    assert list(again.networks) == others

    full.update(others)
    with pytest.raises(UsageError, match=rf"^a step of {fitting[0]} runs out of memory; give less"):
        make_plan(asked, storage, tried, [GPU_NODE], Growth())
    alone = config(data=few, storage=str(tmp_path), model="cnn")
    with pytest.raises(UsageError, match=r"^a step of cnn runs out of memory; give less"):
        make_plan(alone, storage, loaded(alone), [GPU_NODE], Growth())
