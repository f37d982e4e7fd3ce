import io
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from trainables.training.adam import Adam

SHAPES = [(7, 5), (5,), (4, 3, 2, 2), ()]


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


def gradients(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=generator) * 10.0**-step for shape in SHAPES]


@pytest.mark.parametrize("learning_rate", [1e-4, 0.3])
def test_several_steps_equal_those_of_pytorch_bit_for_bit(learning_rate: float) -> None:
    mine, theirs = parameters(), parameters()
    optimizer = Adam(mine, learning_rate=learning_rate)
    reference = torch.optim.Adam(theirs, lr=learning_rate, fused=True)
    for step in range(5):
        optimizer.step(gradients(step))
        for parameter, gradient in zip(theirs, gradients(step), strict=True):
            parameter.grad = gradient
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(mine, parameters(), strict=True))


@pytest.mark.parametrize("weight_decay", [1e-4, 0.5])
def test_weight_decay_is_that_of_adamw_bit_for_bit(weight_decay: float) -> None:
    mine, theirs, plain = parameters(), parameters(), parameters()
    optimizer = Adam(mine, learning_rate=0.1, weight_decay=weight_decay)
    without = Adam(plain, learning_rate=0.1)
    reference = torch.optim.AdamW(theirs, lr=0.1, weight_decay=weight_decay, fused=True)
    for step in range(3):
        optimizer.step(gradients(step))
        without.step(gradients(step))
        for parameter, gradient in zip(theirs, gradients(step), strict=True):
            parameter.grad = gradient
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(mine, plain, strict=True))


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_a_rate_in_a_tensor_is_read_anew_at_each_step(weight_decay: float) -> None:
    in_tensor, typed = parameters(), parameters()
    rate = torch.zeros(())
    optimizer = Adam(in_tensor, learning_rate=rate, weight_decay=weight_decay)
    plain = Adam(typed, learning_rate=0.0, weight_decay=weight_decay)
    for step, value in enumerate([0.5, 0.25, 2.0**-10]):  # float32 has them exactly
        rate.fill_(value)
        plain.learning_rate = value
        optimizer.step(gradients(step))
        plain.step(gradients(step))
        assert all(torch.equal(a, b) for a, b in zip(in_tensor, typed, strict=True))


def test_a_restored_optimizer_goes_on_as_if_it_had_never_stopped() -> None:
    whole = parameters()
    optimizer = Adam(whole, learning_rate=0.1)
    for step in range(2):
        optimizer.step(gradients(step))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    resumed = [parameter.detach().clone() for parameter in whole]
    optimizer.step(gradients(2))

    restored = Adam(resumed, learning_rate=0.1)
    restored.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    restored.step(gradients(2))
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_in_pieces_as_on_a_gpu_numbers_and_state_are_those_of_whole_tensors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, cut, resumed = parameters(), parameters(), parameters()
    plain = Adam(whole, learning_rate=0.1, weight_decay=0.1)
    monkeypatch.setattr("trainables.training.adam._piece_elements", lambda parameters: 6)
    pieces, restored = (
        Adam(tensors, learning_rate=0.1, weight_decay=0.1) for tensors in (cut, resumed)
    )
    for step in range(3):
        plain.step(gradients(step))
        pieces.step(gradients(step))
    states = plain.state_dict(), pieces.state_dict()
    for name, tensors in states[0].items():  # odd ends are not vectorised, and are rounded else
        torch.testing.assert_close(tensors, states[1][name], rtol=1e-6, atol=0)
    for mine, theirs in zip(resumed, cut, strict=True):
        mine.data.copy_(theirs.data)
    restored.load_state_dict(states[1])
    for optimizer in (plain, pieces, restored):
        optimizer.step(gradients(3))
    for one, two, three in zip(whole, cut, resumed, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
        assert torch.equal(two, three)


def test_a_state_of_other_parameters_is_refused() -> None:
    state = Adam(parameters()[:2], learning_rate=0.1).state_dict()
    with pytest.raises(ValueError, match="shorter"):
        Adam(parameters(), learning_rate=0.1).load_state_dict(state)


@pytest.mark.parametrize(
    ("parameter_format", "gradient_format"),
    [
        (torch.channels_last, torch.contiguous_format),
        (torch.contiguous_format, torch.channels_last),
    ],
)
def test_a_gradient_may_lie_otherwise_in_memory_than_its_parameter(
    parameter_format, gradient_format
) -> None:
    mine, theirs = parameters()[2], parameters()[2]
    laid_out = mine.detach().contiguous(memory_format=parameter_format)
    Adam([laid_out], learning_rate=0.1).step(
        [gradients(0)[2].contiguous(memory_format=gradient_format)]
    )
    Adam([theirs], learning_rate=0.1).step([gradients(0)[2]])
    torch.testing.assert_close(laid_out, theirs.detach())


def test_a_training_process_imports_none_of_the_slow_packages() -> None:
    script = """
import sys, torch
from trainables.data.examples import Examples
from trainables.training.loop import Training, TrainingConfig
examples = Examples(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.zeros(4, 1, 28, 28))
config = TrainingConfig(model="fc", learning_rate=1e-3, max_epochs=1, seed=0, schedule="cosine")
assert len(list(Training(config, examples, examples, device=torch.device("cpu")).epochs())) == 1
slow = ("torch._dynamo", "torchvision", "ray", "wandb", "skimage", "sklearn")
print([name for name in slow if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
