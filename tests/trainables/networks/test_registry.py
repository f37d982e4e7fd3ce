"""The contract that every registered network keeps; a new one is held to it once registered."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from tests.trainables.made_up import task_for
from trainables.data.examples import Examples, as_float
from trainables.errors import UsageError
from trainables.hyperparameters import Parameter
from trainables.networks.base import habits_of, parameter_count, space_of
from trainables.networks.registry import NETWORKS, build, check_module, check_name, find
from trainables.networks.weights import SavedNetwork, load_network, save_network
from trainables.tasks import Task
from trainables.training.adam import Adam
from trainables.training.loop import Training, TrainingConfig

OWN_NETWORK = """
from torch import nn
from trainables.hyperparameters import Parameter
from trainables.networks.base import Habits

class Tiny(nn.Module):
    space = {"learning_rate": Parameter(1e-3, 1e-1, log=True)}

    def __init__(self, task):
        super().__init__()
        layers = nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 784), nn.Unflatten(1, (1, 28, 28))
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return self.layers(images)

class Undeclared(nn.Module):
    pass

class NoNetwork:
    space = Tiny.space

class Reversed(Tiny):
    space = {"learning_rate": Parameter(1.0, 0.1, log=True)}

class Hasty(Tiny):
    habits = Habits(batch_size=0)

class Older(nn.Module):
    defaults = "as version 0.1.0 had them"

class Taskless(Tiny):
    def __init__(self, width=3):
        super().__init__(None)

class Startless(Tiny):
    space = {"start": Parameter(choices=("resize", "map"))}

    def __init__(self, task, start):
        super().__init__(task)

class Narrow(Tiny):
    space = {"width": Parameter(3), "depth": Parameter(1, 2)}

    def __init__(self, task, width):
        super().__init__(task)
"""
BROKEN = {
    "older": "from trainables.networks.base import Budget, Defaults",
    "broken": "import no_such_package",
    "leaves": "import sys; sys.exit(0)",
    "raises": "raise RuntimeError('at import\\nand more')",
    "misspelt": "class Net(:",
}


OLDER = (
    "is a network of an older form: instead of `defaults` and `def __init__.self.` write "
    "`from trainables.hyperparameters import Parameter` and in the class "
)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "networks.py").write_text(OWN_NETWORK)
    for name, source in BROKEN.items():
        (tmp_path / "own_package" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_package.networks"
    for name in [name for name in sys.modules if name.split(".")[0] == "own_package"]:
        del sys.modules[name]


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def task(name: str) -> Task:
    return task_for(name)


@pytest.fixture
def images(train: Examples) -> Tensor:
    return as_float(train.images[:8])


def test_outputs_have_the_shape_of_the_targets(name: str, task: Task, images: Tensor) -> None:
    for count in (1, 8):
        outputs = build(name, task)(images[:count])
        assert outputs.shape == (count, *task.output_shape)
        assert outputs.dtype == torch.float32


def test_an_images_output_does_not_depend_on_those_beside_it(
    name: str, task: Task, images: Tensor
) -> None:
    network = build(name, task).eval()
    together = network(images)
    alone = torch.cat([network(images[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_saved_and_loaded_it_gives_equal_outputs(
    name: str, task: Task, images: Tensor, tmp_path: Path
) -> None:
    network = build(name, task, **dropout(name, 0.25))
    save_network(
        tmp_path / "network.safetensors",
        network.state_dict(),
        SavedNetwork(name, dropout(name, 0.25), {}, task),
    )
    loaded = load_network(tmp_path / "network.safetensors")
    assert not loaded.training
    assert torch.equal(loaded(images), network.eval()(images))


def test_a_few_steps_lower_the_loss(name: str, task: Task, images: Tensor, train: Examples) -> None:
    network = build(name, task)
    targets = interpolate(train.targets[:8], task.output_shape[1:])
    parameters = list(network.parameters())
    optimizer = Adam(parameters, learning_rate=network.space["learning_rate"].low)
    losses = []
    for _ in range(8):
        loss = mse_loss(network(images), targets)
        losses.append(loss.item())
        optimizer.step(list(torch.autograd.grad(loss, parameters)))
    assert losses[-1] < 0.98 * losses[0]


def test_dropout_is_there_only_if_declared(name: str, task: Task, images: Tensor) -> None:
    network = build(name, task, **dropout(name, 0.5))
    first, second = network(images), network(images)
    assert torch.equal(first, second) == ("dropout" not in network.space)
    assert torch.equal(network.eval()(images), network(images))
    plain = build(name, task)
    assert torch.equal(plain(images), plain(images))


def dropout(name: str, fraction: float) -> dict[str, float]:
    return {"dropout": fraction} if "dropout" in find(name).space else {}


def test_a_hyperparameter_that_a_network_does_not_have_is_refused(name: str, task: Task) -> None:
    with pytest.raises(UsageError, match=f"{name} has no hyperparameter colour; it has "):
        build(name, task, colour=0.1)


def test_initial_weights_come_from_the_global_seed(name: str, task: Task) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build(name, task).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_what_a_network_declares_makes_a_search(name: str) -> None:
    network = find(name)
    space, habits = space_of(network), habits_of(network)
    assert list(space)[:4] == ["learning_rate", "patience", "weight_decay", "schedule"]
    assert space["learning_rate"].log
    # Where the rate always falls there is no early stopping
    patience = Parameter(2, 10) if "constant" in space["schedule"].values else Parameter(10)
    assert (space["patience"], space["weight_decay"]) == (patience, Parameter(0.0))
    assert habits.cpu.samples < habits.gpu.samples


@pytest.mark.parametrize(
    ("name", "chosen", "parameters"),
    [
        ("fc", {}, 494_480),
        ("fc", {"hidden": 32}, 3072 * 32 + 32 + 32 * 784 + 784),
        ("cnn", {}, 135_361),
        ("cnn", {"depth": 1}, 3 * 49 + 1),
        ("cnn", {"depth": 2, "channels": 5}, 3 * 25 * 5 + 5 + 5 * 25 + 1),
        ("cnn", {"depth": 5}, 135_361 - 64 * 16 - 1 + 64 * 64 * 16 + 64 + 64 * 9 + 1),
    ],
)
def test_layers_are_as_wide_and_as_many_as_chosen(
    name: str, chosen: dict[str, int], parameters: int, images: Tensor
) -> None:
    network = build(name, **chosen)
    assert parameter_count(network) == parameters
    assert network(images).shape == (8, 1, 28, 28)


@pytest.mark.parametrize("argument", ["channels", "depth"])
def test_layers_are_not_fewer_than_one(argument: str) -> None:
    with pytest.raises(UsageError, match=f"^{argument} ≥ 1 must hold, but got 0$"):
        build("cnn", **{argument: 0})


def test_a_class_in_a_module_of_its_own_trains_by_its_name(
    own_module: str, train: Examples, validation: Examples
) -> None:
    config = TrainingConfig(model=f"{own_module}:Tiny", learning_rate=1e-2, max_epochs=3, seed=0)
    training = Training(config, train, validation, device=torch.device("cpu"))
    first, *_, last = training.epochs()
    assert type(training.network).__name__ == "Tiny"
    assert last.validation_loss < first.validation_loss


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet",
            "there is no network 'resnet': choose one of fc, cnn, separable, kron, can, or name",
        ),
        ("", "there is no network ''"),
        ("own_package.networks:", "there is no network"),
        (":Tiny", "there is no network"),
        (
            "own_package.nowhere:Tiny",
            "can't be imported: ModuleNotFoundError: No module named 'own_package.nowhere'",
        ),
        (
            "own_package.networks:Nothing",
            "can't be imported: AttributeError: .* attribute 'Nothing'",
        ),
        (
            "own_package.broken:Tiny",
            "imported: ModuleNotFoundError: No module named 'no_such_package'",
        ),
        ("own_package.leaves:Tiny", "can't be imported: SystemExit: 0"),
        ("own_package.raises:Tiny", "can't be imported: RuntimeError: at import$"),
        (
            "own_package.misspelt:Tiny",
            r"can't be imported: SyntaxError: .* \(misspelt.py, line 1\)",
        ),
        ("own_package.networks:Reversed", "makes no sense: learning_rate: low ≤ high must hold"),
        ("own_package.networks:Undeclared", "declares no hyperparameters: write `from trainables"),
        ("own_package.networks:NoNetwork", "is not a class of torch.nn.Module"),
        ("own_package.networks:nn", "is not a class of torch.nn.Module"),
        pytest.param(".networks:Tiny", "can't be imported"),
        ("own_package.networks:Hasty", "habits of .* make no sense: batch_size is a whole number"),
        ("own_package.networks:Older", OLDER),
        ("own_package.networks:Taskless", OLDER),
        ("own_package.older:Tiny", OLDER),
        (
            "own_package.networks:Startless",
            r"may have start=map, and no method `start_at`: write `def start_at\(self, affine\)`",
        ),
        (
            "own_package.networks:Narrow",
            r"does not take what its space names \(got an unexpected keyword argument 'depth'\): "
            r"write `def __init__\(self, task, width, depth\)`$",
        ),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_a_name_that_leads_nowhere_is_refused_in_one_sentence(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*NETWORKS, "package.module:Class"])
def test_a_name_of_the_right_form_passes_the_check_without_an_import(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("module", ["networks", *BROKEN])
@pytest.mark.usefixtures("own_module")
def test_a_module_that_is_there_is_found_without_running_it(module: str) -> None:
    check_module(f"own_package.{module}:Tiny")
    assert not [name for name in sys.modules if name.startswith("own_package")]


@pytest.mark.parametrize(
    "name",
    ["nowhere:Net", "own_package.nowhere:Net", "own_package.networks.deeper:Net", ".own:Net"],
)
@pytest.mark.usefixtures("own_module")
def test_a_module_that_is_not_there_is_told_without_running_what_is_around_it(name: str) -> None:
    module = name.partition(":")[0]
    with pytest.raises(
        ValueError, match=f"--model {name}: there is no module '{module}' in"
    ) as told:
        check_module(name)
    assert "\n" not in str(told.value)
    assert not [name for name in sys.modules if name.startswith("own_package")]


@pytest.mark.parametrize("name", [*NETWORKS, "tests.trainables.made_up:Any", "ctypes.util:Any"])
def test_packages_with_and_without_an_init_and_those_of_python_are_found(name: str) -> None:
    check_module(name)


def test_a_namespace_within_another_is_left_to_its_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_package" / "inner").mkdir(parents=True)
    (tmp_path / "own_package" / "inner" / "networks.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    check_module("own_package.inner.networks:Net")
