"""Folders and parquet files are in the split that their names say."""

import pytest

from trainables.data.split_names import split_by_names

EVERY_SIXTH = "nothing is named test: every sixth training image tests"


def splits(*names: str) -> tuple[dict[str, list[str]], list[str]]:
    """Split files that are called as their folders are."""
    return split_by_names({name: name for name in names})


@pytest.mark.parametrize(
    ("train", "held_out", "test"),
    [
        ("train", "val", "test"),
        ("Train", "VALID", "Test"),
        ("TRAINING", "Validation", "testing"),
        ("train2017", "val2017", "test2017"),
        ("mnist_train", "mnist-dev", "mnist test"),
        ("TrainSet", "val_images", "testimages"),
    ],
)
def test_names_are_known_in_any_case_and_among_others(train: str, held_out: str, test: str) -> None:
    expected = {"train": [train], "validation": [held_out], "test": [test]}
    assert splits(test, train, held_out) == (expected, [])


@pytest.mark.parametrize("name", ["contest", "trainer", "invalid", "evaluation", "train_test", ""])
def test_parts_of_other_words_and_two_words_say_nothing(name: str) -> None:
    assert splits(name, "cat") == ({"train": [name, "cat"]}, [])


def test_the_first_part_of_a_path_that_names_a_split_decides() -> None:
    names = ["bottle/train/test", "bottle/test/broken", "train/train", "data/test-00000-of-00001"]
    expected = {"train": [names[0], names[2]], "test": [names[1], names[3]]}
    assert splits(*names) == (expected, [])


def test_without_a_test_every_sixth_training_image_tests_and_that_is_told() -> None:
    assert splits("train", "val") == ({"train": ["train"], "validation": ["val"]}, [EVERY_SIXTH])
    assert splits("train") == ({"train": ["train"]}, [EVERY_SIXTH])


def test_what_no_name_puts_into_a_split_is_left_out_and_told() -> None:
    told = ["files that no name puts into a split are left out (2)"]
    expected = {"train": ["train"], "test": ["test"]}
    assert splits("train", "test", "extra", "more") == (expected, told)


def test_without_a_name_for_it_the_others_train_and_that_is_told() -> None:
    told = ["nothing is named train: files without such a name do (2)"]
    assert splits("", "a", "test") == ({"train": ["", "a"], "test": ["test"]}, told)


def test_train_alone_may_be_a_class_and_that_is_told() -> None:
    told = [EVERY_SIXTH, "files that are not named train are used like the rest (2)"]
    assert splits("bus", "ship", "train") == ({"train": ["bus", "ship", "train"]}, told)


def test_what_has_no_names_at_all_trains_in_its_order() -> None:
    assert splits("b", "a") == ({"train": ["b", "a"]}, [])


def test_nothing_trains_where_all_is_set_aside() -> None:
    assert splits("val", "test") == ({"validation": ["val"], "test": ["test"]}, [])
