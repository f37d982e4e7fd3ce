import pytest
import torch
from torch import Tensor

from trainables.pipelines.study import CHUNK, make_targets, reference


@pytest.mark.parametrize("count", [1, CHUNK, 2 * CHUNK + 1])
def test_targets_in_chunks_equal_targets_at_once(count: int) -> None:
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    shown: list[int] = []

    def pipeline(part: Tensor) -> Tensor:
        shown.append(len(part))
        return reference(part)

    targets = make_targets(pipeline, images)
    assert targets.shape == (count, 1, 28, 28)
    assert torch.equal(targets, reference(images))
    assert sum(shown) == count
    assert max(shown) <= CHUNK
