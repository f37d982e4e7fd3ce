import pytest

from trainables.data.places import counts_by_split, places

NAMES = [f"{number}.png" for number in range(12)]


def test_every_sixth_training_image_tests_where_no_name_says_which() -> None:
    names = {"train": NAMES}
    assert counts_by_split(names) == {"test": 2, "train": 10}
    assert sorted(places(names, "train")) == [
        *(("test", number) for number in range(2)),
        *(("train", number) for number in range(10)),
    ]


def test_an_image_goes_to_the_split_of_its_hash_whatever_is_beside_it() -> None:
    whole = dict(zip(NAMES, places({"train": NAMES}, "train"), strict=True))
    fewer = NAMES[::2]
    part = dict(zip(fewer, places({"train": fewer}, "train"), strict=True))
    order = ["test", "train"]
    ranked = sorted(fewer, key=lambda name: (order.index(part[name][0]), part[name][1]))
    assert ranked == sorted(fewer, key=lambda name: (order.index(whole[name][0]), whole[name][1]))


def test_splits_that_names_make_both_of_keep_their_order() -> None:
    names = {"train": NAMES, "test": NAMES[:3]}
    assert list(places(names, "train")) == [("train", number) for number in range(12)]
    assert list(places(names, "test")) == [("test", number) for number in range(3)]


def test_a_split_for_validation_is_shuffled_and_kept() -> None:
    names = {"train": NAMES, "validation": NAMES}
    assert counts_by_split(names) == {"test": 2, "train": 10, "validation": 12}
    there = [number for split, number in places(names, "validation") if split == "validation"]
    assert sorted(there) == list(range(12)) != there


@pytest.mark.parametrize("count", [0, 1, 2])
def test_of_few_images_one_tests(count: int) -> None:
    names = {"train": NAMES[:count]}
    test = min(count, 1)
    assert counts_by_split(names) == {"test": test, "train": count - test}
    assert len(list(places(names, "train"))) == count
