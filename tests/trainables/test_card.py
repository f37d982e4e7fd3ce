"""What the card is made from."""

import numpy as np
import pytest

from trainables.card import few
from trainables.data.images import Images


@pytest.mark.parametrize(("side", "kept"), [(8, 500), (224, 222), (2900, 2)])
def test_of_large_images_fewer_are_used(side: int, kept: int) -> None:
    pixels = np.broadcast_to(np.zeros(1, np.uint8), (1200, 3, side, side))
    used = few(Images(source="mine", train=pixels, test=pixels))
    assert (len(used.train), len(used.test), used.validation) == (2 * kept, kept, None)
