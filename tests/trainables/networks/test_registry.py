"""The contract that every registered network keeps; a new one is held to it once registered."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from trainables.data.examples import Examples, as_float
from trainables.networks.registry import NETWORKS, build, check_module, check_name, find
from trainables.networks.weights import SavedNetwork, load_network, save_network
from trainables.training.adam import Adam
from trainables.training.loop import Training, TrainingConfig

OWN_NETWORK = """
from torch import nn
from trainables.networks.base import Budget, Defaults

class Tiny(nn.Module):
    budget = Budget(samples=1, max_epochs=1)
    defaults = Defaults(learning_rate=(1e-3, 1e-1), cpu=budget, gpu=budget)

    def __init__(self):
        super().__init__()
        layers = nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 784), nn.Unflatten(1, (1, 28, 28))
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return self.layers(images)

class Undeclared(nn.Module):
    pass

class NoNetwork:
    defaults = Tiny.defaults

class Reversed(Tiny):
    defaults = Defaults(learning_rate=(1.0, 0.1), cpu=Tiny.budget, gpu=Tiny.budget)
"""
BROKEN = {
    "broken": "import no_such_package",
    "leaves": "import sys; sys.exit(0)",
    "raises": "raise RuntimeError('at import\\nand more')",
    "misspelt": "class Net(:",
}


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
def images(train: Examples) -> Tensor:
    return as_float(train.images[:8])


def test_outputs_have_the_shape_of_the_targets(name: str, images: Tensor) -> None:
    for count in (1, 8):
        outputs = build(name)(images[:count])
        assert outputs.shape == (count, 1, 28, 28)
        assert outputs.dtype == torch.float32


def test_an_images_output_does_not_depend_on_those_beside_it(name: str, images: Tensor) -> None:
    network = build(name).eval()
    together = network(images)
    alone = torch.cat([network(images[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_saved_and_loaded_it_gives_equal_outputs(name: str, images: Tensor, tmp_path: Path) -> None:
    network = build(name, dropout=0.25)
    save_network(
        tmp_path / "network.safetensors", network.state_dict(), SavedNetwork(name, 0.25, {})
    )
    loaded = load_network(tmp_path / "network.safetensors")
    assert not loaded.training
    assert torch.equal(loaded(images), network.eval()(images))


def test_a_few_steps_lower_the_loss(name: str, images: Tensor, train: Examples) -> None:
    network = build(name)
    parameters = list(network.parameters())
    optimizer = Adam(parameters, learning_rate=network.defaults.learning_rate[0])
    losses = []
    for _ in range(8):
        loss = mse_loss(network(images), train.targets[:8])
        losses.append(loss.item())
        optimizer.step(list(torch.autograd.grad(loss, parameters)))
    assert losses[-1] < 0.98 * losses[0]


def test_dropout_is_there_only_if_declared(name: str, images: Tensor) -> None:
    network = build(name, dropout=0.5)
    first, second = network(images), network(images)
    assert torch.equal(first, second) == (network.defaults.dropout is None)
    assert torch.equal(network.eval()(images), network(images))
    plain = build(name)
    assert torch.equal(plain(images), plain(images))


def test_a_network_without_dropout_takes_no_setting(name: str) -> None:
    network = find(name)
    if network.defaults.dropout is None:
        with pytest.raises(TypeError):
            network(dropout=0.1)
    else:
        low, high = network.defaults.dropout
        assert 0 <= low < high < 1
        assert any(getattr(layer, "p", None) == 0.1 for layer in network(dropout=0.1).modules())


def test_initial_weights_come_from_the_global_seed(name: str) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build(name).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_defaults_make_a_search(name: str) -> None:
    defaults = find(name).defaults
    assert 0 < defaults.learning_rate[0] < defaults.learning_rate[1]
    assert 1 <= defaults.patience[0] <= defaults.patience[1]
    assert defaults.batch_size >= 1
    assert all(
        min(budget.samples, budget.max_epochs) >= 1 for budget in (defaults.cpu, defaults.gpu)
    )


def test_a_class_in_a_module_of_its_own_trains_by_its_name(
    own_module: str, train: Examples, validation: Examples
) -> None:
    config = TrainingConfig(
        model=f"{own_module}:Tiny", learning_rate=1e-2, max_epochs=3, seed=0, dropout=0.5
    )
    training = Training(config, train, validation, device=torch.device("cpu"))
    first, *_, last = training.epochs()
    assert type(training.network).__name__ == "Tiny"
    assert last.validation_loss < first.validation_loss


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet",
            "there is no network 'resnet': choose one of fc, cnn, separable, or name a class",
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
        ("own_package.networks:Reversed", "make no sense: learning_rate: low ≤ high must hold"),
        ("own_package.networks:Undeclared", "needs `defaults = trainables.networks.base.Defaults"),
        ("own_package.networks:NoNetwork", "is not a class of torch.nn.Module"),
        ("own_package.networks:nn", "is not a class of torch.nn.Module"),
        pytest.param(".networks:Tiny", "can't be imported"),
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
