"""What the card is made from."""

import numpy as np
import pytest

from tests.trainables.made_up import photographs
from trainables import card
from trainables.card import bars, few
from trainables.data.examples import Splits
from trainables.data.images import Images


@pytest.mark.parametrize(("side", "kept"), [(8, 500), (224, 222), (2900, 2)])
def test_of_large_images_fewer_are_used(side: int, kept: int) -> None:
    pixels = np.broadcast_to(np.zeros(1, np.uint8), (1200, 3, side, side))
    used = few(Images(source="mine", train=pixels, test=pixels))
    assert (len(used.train), len(used.test), used.validation) == (2 * kept, kept, None)


def test_a_share_is_cut_as_in_a_search_so_that_only_all_images_are_100_percent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = photographs(3)
    nearly = images.targets.clone()
    nearly[0] = 0
    monkeypatch.setattr(card, "floors", lambda *_: {"two of three": [nearly]})
    monkeypatch.setattr(card, "ceilings", lambda *_: {})
    _, floor = bars(Splits(images, images, images, available_images=3), None)
    assert floor.split()[-5:-1] == ["66.6", "%", "66.6", "%"]
