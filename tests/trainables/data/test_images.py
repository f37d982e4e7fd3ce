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
    ("train", "validation", "test", "told"),
    [
        (1, None, 9, "1 may train, 0 validate and 9 test"),
        (0, None, 1, "0 may train, 0 validate and 1 test"),
        (9, None, 0, "9 may train, 8 validate and 0 test"),
        (9, 0, 9, "9 may train, 0 validate and 9 test"),
        (0, 9, 9, "0 may train, 9 validate and 9 test"),
    ],
)
def test_a_set_that_would_leave_one_without_is_refused(
    train: int, validation: int | None, test: int, told: str
) -> None:
    held_out = None if validation is None else empty(validation)
    with pytest.raises(UsageError, match=f"--data mine: of its images {told}: give more"):
        Images(source="mine", train=empty(train), validation=held_out, test=empty(test))
