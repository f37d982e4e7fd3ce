import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from trainables.data.examples import Examples, as_float, random_examples
from trainables.errors import UsageError
from trainables.losses.squared_error import squared_error
from trainables.networks.registry import build, find
from trainables.tasks import STUDY
from trainables.training.gradients import Gradients, compile_problem, compiled
from trainables.training.loop import Training, TrainingConfig
from trainables.training.precision import Precision

CPU = torch.device("cpu")
CNN = TrainingConfig(model="cnn", learning_rate=1e-3, max_epochs=1, seed=0, batch_size=8)


@pytest.fixture
def few(train: Examples) -> Examples:
    return Examples(train.images[:10], train.targets[:10])


def gradients(network: nn.Module, **settings) -> Gradients:
    return Gradients(
        network,
        squared_error,
        Precision("float32", ""),
        CPU,
        torch.contiguous_format,
        STUDY.output_shape,
        **settings,
    )


def by_hand(
    network: nn.Module, few: Examples, indices: list[int], batch_size: int
) -> tuple[Tensor, list[Tensor]]:
    loss = mse_loss(network(as_float(few.images[indices])), few.targets[indices]) * len(indices)
    parameters = list(network.parameters())
    return loss.detach(), list(torch.autograd.grad(loss / batch_size, parameters))


@pytest.mark.parametrize("slice_size", [None, 1, 3, 6, 100])
def test_slices_of_a_batch_give_the_gradients_of_the_whole(
    few: Examples, slice_size: int | None
) -> None:
    torch.manual_seed(0)
    network, indices = build("cnn").train(), [3, 0, 9, 4, 5, 7]
    loss, found = gradients(network, slice=slice_size).of(few, torch.tensor(indices), 8)
    expected_loss, expected = by_hand(network, few, indices, 8)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=0)
    for mine, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-6)


def test_on_a_cpu_gradients_are_those_of_the_way_for_gpus_to_the_last_bit(
    few: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    ours = gradients(build("cnn").train())
    _, found = ours.of(few, torch.tensor([3, 0, 9]), 250)
    monkeypatch.setattr(ours, "device", torch.device("cuda"))
    _, as_for_a_gpu = ours.of(few, torch.tensor([3, 0, 9]), 250)
    assert all(map(torch.equal, found, as_for_a_gpu))


def test_gradients_on_a_cpu_import_no_sympy() -> None:
    code = (
        "import sys, torch\n"
        "from tests.trainables.training.test_gradients import gradients\n"
        "network = torch.nn.Linear(2, 1)\n"
        "gradients(network).backward(network(torch.ones(3, 2)).sum(), 3)\n"
        "print('sympy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_no_more_images_than_a_slice_go_through_the_network_at_once(few: Examples) -> None:
    seen: list[int] = []
    network = build("cnn")
    network.register_forward_hook(lambda module, inputs, outputs: seen.append(len(outputs)))
    gradients(network, slice=4).of(few, torch.arange(10), 10)
    assert seen == [4, 4, 2]


def test_without_indices_there_is_no_loss_and_nothing_to_change(few: Examples) -> None:
    loss, found = gradients(build("separable"), slice=4).of(
        few, torch.tensor([], dtype=torch.long), 8
    )
    assert loss == 0
    assert [g.shape for g in found] == [p.shape for p in build("separable").parameters()]
    assert not any(g.any() for g in found)


@pytest.mark.parametrize(("model", "sizes"), [("cnn", [32, 32, 6]), ("separable", [70])])
def test_on_a_cpu_the_cnn_trains_and_is_validated_in_slices_and_others_whole(
    train: Examples, model: str, sizes: list[int]
) -> None:
    examples = Examples(train.images[:70], train.targets[:70])
    training = Training(replace(CNN, model=model, batch_size=256), examples, examples, device=CPU)
    seen: list[tuple[bool, int]] = []
    network = training.network
    network.register_forward_hook(
        lambda module, inputs, outputs: seen.append((network.training, len(outputs)))
    )
    next(training.epochs())
    assert seen == [*((True, size) for size in sizes), *((False, size) for size in sizes)]


def test_compiled_a_network_gives_the_same_gradients_and_odd_sizes_and_validation_are_not_compiled(
    few: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    through: list[int] = []

    def compiled(network: nn.Module) -> nn.Module:
        fast = torch.compile(network, dynamic=False, backend="eager")

        class Noted(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                through.append(len(images))
                return fast(images)

        return Noted()

    monkeypatch.setattr("trainables.training.gradients.compiled", compiled)
    torch.manual_seed(0)
    network = build("cnn").train()
    _, found = gradients(network, slice=4, compiled=True, full_size=4).of(few, torch.arange(10), 10)
    _, expected = by_hand(network, few, list(range(10)), 10)
    for mine, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-6)
    assert through == [4, 4]
    through.clear()
    network.eval()
    gradients(network, compiled=True, full_size=4).forward(as_float(few.images[:4]))
    assert through == []


class Doubled(nn.Module):
    """Its two parameters have one gradient, of which autograd makes one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.change = (
            nn.Parameter(torch.rand(784, 3072) / 3072),
            nn.Parameter(torch.zeros(784, 3072)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.linear(images.flatten(1), self.base + self.change).unflatten(
            1, (1, 28, 28)
        )


def test_slices_add_up_where_two_parameters_share_a_gradient(few: Examples) -> None:
    network = Doubled()
    _, found = gradients(network, slice=2).of(few, torch.arange(10), 10)
    _, expected = by_hand(network, few, list(range(10)), 10)
    for mine, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-6)


def test_a_training_multiplies_and_lies_and_compiles_as_it_was_asked_to(
    few: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(
        "trainables.training.gradients.compiled",
        lambda network: compiled.append(network) or network,
    )
    torch.backends.cudnn.allow_tf32 = True
    training = Training(replace(CNN, compiled=True), few, few, device=CPU)
    assert not torch.backends.cudnn.allow_tf32
    assert compiled == [training.network]
    assert training.network.layers[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert training.gradients.read(few, torch.arange(3))[0].is_contiguous(
        memory_format=torch.channels_last
    )
    Training(CNN, few, few, device=CPU)
    assert len(compiled) == 1


@pytest.mark.parametrize("batch_size", [2, 64], ids=["below a slice", "of whole slices"])
def test_whole_batches_and_slices_go_through_what_is_compiled(
    monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    through: list[int] = []

    def watched(network: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda images: through.append(len(images)) or network(images)

    monkeypatch.setattr("trainables.training.gradients.compiled", watched)
    config = replace(CNN, compiled=True, batch_size=batch_size)
    some = random_examples(batch_size, STUDY)
    Training(config, some, some, device=CPU).train_epoch(1)
    slice_size = find(CNN.model).habits.cpu_slice
    assert through == [2] if batch_size == 2 else through == [slice_size] * (64 // slice_size)


def test_a_training_that_is_over_leaves_its_memory_at_once(few: Examples) -> None:
    training = Training(CNN, few, few, device=CPU)
    next(training.epochs())
    gone = weakref.ref(training)
    gc.disable()
    try:
        del training
        assert gone() is None
    finally:
        gc.enable()


def test_every_trial_of_a_process_is_compiled_however_many_there_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._dynamo import config

    # Traced, which is what the limit counts, but without the C++ compiler's seconds
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for dropout in (0.1, 0.2, 0.3):
            network = compiled(build("fc", dropout=dropout))
            assert network(torch.rand(32, 3, 32, 32)).shape == (32, 1, 28, 28)


def test_a_machine_with_a_compiler_has_no_problem_and_one_without_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none_found() -> str:
        raise InvalidCxxCompiler

    assert compile_problem() == ""
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    assert compile_problem() == "no C++ compiler here; install g++"


def test_gradients_through_the_real_compiler_are_those_without_it(train: Examples) -> None:
    from torch._dynamo.utils import counters

    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 784), nn.Unflatten(1, (1, 28, 28)))
    form = (torch.contiguous_format, STUDY.output_shape)
    settings = (network, squared_error, Precision("float32", ""), CPU, *form)
    plain, through = Gradients(*settings), Gradients(*settings, compiled=True, full_size=8)
    before = counters["inductor"].copy()
    found = through.of(train, torch.arange(8), 8)
    assert counters["inductor"] != before
    for mine, exact in zip(found, plain.of(train, torch.arange(8), 8), strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-5, atol=1e-7)


class Broadcast(nn.Conv2d):
    """Its outputs would be broadcast against the targets."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, 0, :28, :28]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_outputs_of_a_wrong_shape_are_refused_before_anything_is_updated(
    few: Examples, precision: str
) -> None:
    network = Broadcast(3, 1, 1)
    wrong = replace(gradients(network), precision=Precision(precision, ""))
    with pytest.raises(UsageError, match=r"the network makes \(10, 28, 28\) "):
        wrong.of(few, torch.arange(10), 10)


def test_a_network_with_nothing_to_train_is_refused() -> None:
    with pytest.raises(UsageError, match="no parameter that requires a gradient"):
        gradients(Broadcast(3, 1, 1).requires_grad_(False))
