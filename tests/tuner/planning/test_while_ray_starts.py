"""Weights, targets and networks are loaded together, and so are their mistakes told."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from tests.trainables.made_up import vgg16
from tests.tuner.planning.plans import config, loaded
from trainables.errors import UsageError
from trainables.tasks import Task
from trainables.training.network_facts import NetworkFacts
from trainables.training.try_out import TryOut
from tuner.planning.early_checks import check_early
from tuner.planning.while_ray_starts import load


def test_mistakes_of_the_weights_and_of_the_network_are_told_together(
    few: str, tmp_path: Path
) -> None:
    class Misfit(TryOut):
        def facts(self, task: Task) -> dict[str, NetworkFacts]:
            raise UsageError("the network 'own:Net' can't be imported")

    (tmp_path / "weights").write_text("no weights")
    weights = {"loss": "perceptual", "vgg_weights": str(tmp_path / "weights")}
    asked = config(data=few, **weights)
    with pytest.raises(UsageError) as error:
        load(asked, check_early(asked), None, Misfit("fc"), print)
    first, second = str(error.value).splitlines()
    assert first.startswith(f"--vgg-weights {tmp_path}/weights")
    assert second == "the network 'own:Net' can't be imported"


def test_weights_of_vgg16_are_read_where_the_loss_needs_them(few: str, tmp_path: Path) -> None:
    path = tmp_path / "made-up.safetensors"
    save_file(vgg16().tensors, path, {"normalisation": "imagenet"})
    weights = {"vgg_weights": str(path), "perceptual_layers": (0, 2)}
    vgg = loaded(config(data=few, loss="mse,perceptual", **weights))[0]
    assert vgg is not None
    assert {name.split(".")[1] for name in vgg.tensors} == {"0", "2"}
    assert loaded(config(data=few))[0] is None
