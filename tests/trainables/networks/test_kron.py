from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainables.affine_pipelines import map_of, normalised, sharpened, task_of
from trainables.baselines import resized_input
from trainables.data.examples import Examples, as_float
from trainables.errors import UsageError
from trainables.export import ENDINGS, export, load_exported
from trainables.linear import AffineMap
from trainables.networks.base import parameter_count
from trainables.networks.kron import Kron
from trainables.networks.registry import build
from trainables.networks.separable import Separable
from trainables.pipelines.study import reference
from trainables.tasks import STUDY
from trainables.training.adam import Adam
from trainables.training.loop import Training, TrainingConfig


def kron(task=STUDY, *, terms: int = 1, width: int = 0, extra: int = 0) -> Kron:
    network = build("kron", task, terms=terms, width=width, extra=extra)
    assert isinstance(network, Kron)
    return network


def test_with_one_term_and_no_hidden_layer_it_is_the_separable_network() -> None:
    task = replace(task_of(normalised, low=-2.2, high=2.7), offset=True)
    separable, network = Separable(task), kron(task)
    assert separable.offset is not None
    with torch.no_grad():
        for parameter in separable.parameters():
            parameter.normal_()
        network.weights[:, 0] = separable.channels / task.span
        network.rows[0] = separable.rows
        network.columns[0] = separable.columns
        network.after.bias[:] = (separable.offset[:, 0] - task.low) / task.span
    images = torch.rand(5, 3, 16, 16)
    torch.testing.assert_close(network(images), separable(images), atol=1e-4, rtol=1e-4)


def test_it_has_as_many_parameters_as_its_parts() -> None:
    colours = (5 * 3 + 5 + 8 * 3 + 8 + 5 * 8) + (3 + 1 + 8 * 3 + 8 + 8)
    assert parameter_count(kron(terms=4, width=8, extra=2)) == (
        colours + 3 * 4 * 5 + 4 * (28 * 32 + 32 * 28)
    )


def test_without_a_hidden_layer_it_is_affine_and_with_one_it_need_not_be() -> None:
    first, second = torch.rand(2, 4, 3, 32, 32)
    for width in (0, 8):
        network = kron(terms=3, width=width, extra=2)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_()
            between = network((first + second) / 2)
            mean = (network(first) + network(second)) / 2
        assert torch.allclose(between, mean, rtol=1e-3, atol=1e-2) == (width == 0)


@pytest.mark.parametrize(("terms", "width", "extra"), [(1, 0, 0), (8, 16, 0), (32, 32, 2)])
def test_its_first_outputs_are_nearly_the_resized_images(
    terms: int, width: int, extra: int, validation: Examples
) -> None:
    images = validation.images[:20]
    outputs = kron(terms=terms, width=width, extra=extra)(as_float(images))
    wanted = resized_input(images, STUDY)
    assert (outputs - wanted).square().mean() < 0.2 * (wanted - wanted.mean()).square().mean()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"terms": 0}, "terms ≥ 1 must hold, but got 0"),
        ({"width": -1}, "width ≥ 0 must hold, but got -1"),
        ({"extra": -1}, "extra ≥ 0 must hold, but got -1"),
        ({"start": "noise"}, "start is resize or map, but got noise"),
        ({"activation": "relu"}, "activation is GELU or Tanh, but got relu"),
    ],
)
def test_what_makes_no_network_is_refused(chosen: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}$"):
        build("kron", **chosen)


@pytest.mark.parametrize(
    ("pipeline", "terms", "low", "high"),
    [(reference, 1, 0, 1), (sharpened, 2, -4, 5), (normalised, 1, -2.2, 2.7)],
)
def test_started_at_the_map_of_a_pipeline_it_is_the_pipeline(
    pipeline, terms: int, low: float, high: float
) -> None:
    task = STUDY if pipeline is reference else task_of(pipeline, low=low, high=high)
    affine = map_of(pipeline, task)
    images = torch.randint(0, 256, (4, *task.input_shape), dtype=torch.uint8)
    for more, width, extra in ((0, 0, 0), (2, 8, 2)):
        network = kron(task, terms=terms + more, width=width, extra=extra)
        network.start_at(affine)
        torch.testing.assert_close(
            network(as_float(images)), pipeline(images), atol=1e-5 * task.span, rtol=0
        )


def test_started_at_a_map_of_more_terms_it_has_the_largest_of_them() -> None:
    task = task_of(sharpened, low=-4, high=5)
    affine = map_of(sharpened, task)
    images = torch.rand(4, *task.input_shape)
    network = kron(task, terms=1)
    network.start_at(affine)
    torch.testing.assert_close(
        network(images), affine.terms[0](images) + affine.offset, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("width", [0, 8])
def test_started_at_a_map_its_extra_channels_learn_too(width: int) -> None:
    network = kron(terms=2, width=width, extra=2)
    network.start_at(map_of(reference, STUDY))
    parts = {
        "to extra channels": network.before.linear[3:],
        "from extra inputs": network.weights[:, :, 3:],
        "to extra outputs": network.weights[1:],
        "from extra channels": network.after.linear[:, 1:],
    }
    before = {name: part.detach().clone() for name, part in parts.items()}
    images, targets = torch.rand(8, 3, 32, 32), torch.rand(8, 1, 28, 28)
    parameters = list(network.parameters())
    adam = Adam(parameters, learning_rate=1e-3)
    for _ in range(3):
        loss = (network(images) - targets).square().mean()
        adam.step(list(torch.autograd.grad(loss, parameters)))
    for name, part in parts.items():
        assert bool((part != before[name]).all()), name


def test_a_training_that_starts_at_a_map_has_it_as_its_first_weights_and_resumes_exactly(
    train: Examples, validation: Examples
) -> None:
    config = TrainingConfig(
        model="kron",
        learning_rate=1e-3,
        max_epochs=2,
        seed=0,
        schedule="cosine",
        chosen={"terms": 2, "width": 4, "extra": 1, "start": "map"},
    )

    def training(**given: AffineMap) -> Training:
        return Training(config, train, validation, device=torch.device("cpu"), **given)

    affine = map_of(reference, STUDY)
    started = training(start=affine)
    images = as_float(validation.images)
    torch.testing.assert_close(started.network(images), validation.targets, atol=1e-5, rtol=0)
    whole = training(start=affine)
    list(whole.epochs())
    next(started.epochs())
    resumed = training(start=affine)
    resumed.load_state_dict(started.state_dict())
    list(resumed.epochs())
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(weights, resumed.network.state_dict()[name])
    other = replace(config, chosen={**config.chosen, "start": "resize"})
    plain = Training(other, train, validation, device=torch.device("cpu"), start=affine)
    assert torch.equal(plain.network.weights, training().network.weights)
    assert not torch.equal(plain.network.weights, training(start=affine).network.weights)


@pytest.mark.parametrize("to", ["torch", "onnx"])
def test_with_hidden_layers_and_terms_it_is_exported_and_gives_each_image_its_own_output(
    to: str, tmp_path: Path, validation: Examples
) -> None:
    network = build("kron", terms=5, width=8, extra=2, activation="Tanh").eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        images = validation.images[:7]
        outputs = network(as_float(images))
        alone = torch.cat([network(as_float(image[None])) for image in images])
    torch.testing.assert_close(alone, outputs, atol=1e-5, rtol=0)
    path = tmp_path / f"network{ENDINGS[to]}"
    export(network, STUDY, to, path)
    torch.testing.assert_close(load_exported(path)(images), outputs, atol=2e-5, rtol=0)
