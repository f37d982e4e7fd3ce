import torch

from trainables.pipelines.identity import is_same, kept, probe_images
from trainables.pipelines.study import reference


def test_probe_images_are_always_the_same_and_of_the_asked_size() -> None:
    images = probe_images((3, 32, 32))
    assert (images.shape, images.dtype) == ((64, 3, 32, 32), torch.uint8)
    assert torch.equal(images, probe_images((3, 32, 32)))
    assert images.double().mean().item() == 128.2972208658854
    assert images[7, :, :8, :8].flatten(1).unique(dim=1).shape == (3, 1)  # a block of 8 pixels
    assert probe_images((3, 5, 7)).shape == (64, 3, 5, 7)


def test_a_pipeline_is_itself_within_rounding_and_another_one_beyond() -> None:
    outputs = reference(probe_images((3, 32, 32)))
    one = kept(outputs)
    assert len(one) == 64 * 784 * 4
    assert is_same(one, kept(outputs + 9e-5), span=1)
    assert not is_same(one, kept(outputs + 2e-4), span=1)
    assert is_same(one, kept(outputs + 2e-4), span=10)
    changed = outputs.clone()
    changed[3, 0, 20, 20] += 0.01
    assert not is_same(one, kept(changed), span=1)
    assert not is_same(one, kept(outputs[:, :, 1:]), span=1)


def test_one_that_gives_nan_where_the_other_gives_numbers_is_another() -> None:
    outputs = torch.rand(64, 1, 4, 4)
    broken = outputs.clone()
    broken[3, 0, 2, 2] = float("nan")
    assert not is_same(kept(outputs), kept(broken), span=1)
    assert not is_same(kept(broken), kept(outputs), span=1)
    assert is_same(kept(broken), kept(broken + 9e-5), span=1)
    assert not is_same(kept(broken), kept(broken + 2e-4), span=1)


def test_of_large_outputs_a_fixed_choice_of_values_is_kept() -> None:
    outputs = torch.rand(64, 3, 40, 40)
    assert len(kept(outputs)) == 64 * 1024 * 4
    assert kept(outputs) == kept(outputs.clone())
    assert not is_same(kept(outputs), kept(1 - outputs), span=1)
