import numpy as np
import pytest

from trainables.data.images import Images, Pixels
from trainables.errors import UsageError


def empty(count: int) -> Pixels:
    return np.zeros((count, 3, 32, 32), np.uint8)


@pytest.mark.parametrize(("train", "validation", "test"), [(2, None, 1), (1, 1, 1)])
def test_the_smallest_sets_leave_no_split_without_images(
    train: int, validation: int | None, test: int
) -> None:
    held_out = None if validation is None else empty(validation)
    Images(source="mine", train=empty(train), validation=held_out, test=empty(test))


@pytest.mark.parametrize(
    ("train", "validation", "test", "least"), [(1, None, 9, 2), (9, None, 0, 2), (0, 9, 9, 1)]
)
def test_a_set_that_would_leave_one_without_is_refused(
    train: int, validation: int | None, test: int, least: int
) -> None:
    held_out = None if validation is None else empty(validation)
    message = (
        f"--data mine: {train} images train and {test} test, where at least {least} and 1 must"
    )
    with pytest.raises(UsageError, match=message):
        Images(source="mine", train=empty(train), validation=held_out, test=empty(test))
