"""What is found out of a network before a command runs; here within the test's process."""

import json
import re

import pytest
import torch

from tests.trainables.made_up import task_for
from tests.trainables.training import misbehaving
from trainables.errors import LONGEST, UsageError
from trainables.hyperparameters import Asked
from trainables.networks.base import space_of
from trainables.networks.registry import NETWORKS, find
from trainables.tasks import STUDY
from trainables.training.network_facts import NetworkFacts, try_out

CPU = torch.device("cpu")
HERE = misbehaving.__name__
AT = r" \(misbehaving.py, line \d+\)$"


@pytest.mark.parametrize(
    "model", [*NETWORKS, *(f"{HERE}:{name}" for name in ("Shared", "Diverges", "Empties", "Looks"))]
)
def test_a_network_that_can_be_trained_has_its_space_and_no_problem(model: str) -> None:
    assert try_out(model, task_for(model), "float32", CPU, Asked()) == NetworkFacts.of(find(model))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Raises", "RuntimeError: no" + AT),
        ("Leaves", "SystemExit: 0" + AT),
        ("Interrupts", "KeyboardInterrupt" + AT),
        ("Fills", r"OSError: \[Errno 28\] No space left on device" + AT),
        ("Talks", f"RuntimeError: E{{{LONGEST}}} …" + AT),
        ("Quits", "SystemExit: 3" + AT),
        (
            "Unused",
            "RuntimeError: The differentiated Tensor at index 3 appears to not have been used",
        ),
        ("Frozen", "the network has no parameter that requires a gradient$"),
        ("Detached", "RuntimeError: element 0 of tensors does not require grad"),
        ("Flat", r"the network makes \(2, 28, 28\) torch.float32 on cpu of 2 images: "),
        ("Forgets", "RuntimeError: Error"),
        ("Keeps", "AttributeError: 'dict' object has no attribute"),
    ],
)
def test_why_a_network_can_not_be_trained_is_one_sentence(name: str, problem: str) -> None:
    facts = try_out(f"{HERE}:{name}", STUDY, "float32", CPU, Asked())
    told = re.escape(f"--model {HERE}:{name} can't be trained: ") + problem
    assert re.match(told, facts.problem), facts.problem
    assert "\n" not in facts.problem
    assert facts.space == space_of(misbehaving.Separable)


def test_a_network_that_can_not_be_imported_has_no_facts() -> None:
    with pytest.raises(UsageError, match="can't be imported: AttributeError"):
        try_out(f"{HERE}:Nobody", STUDY, "float32", CPU, Asked())


@pytest.mark.parametrize("model", NETWORKS)
def test_facts_are_the_same_after_their_way_through_json(model: str) -> None:
    facts = NetworkFacts.of(find(model), "a problem")
    assert NetworkFacts.from_plain(json.loads(json.dumps(facts.to_plain()))) == facts
