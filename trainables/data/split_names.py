"""Which split a file is in, as the names of folders and of parquet files say."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping

TRAIN, VALIDATION, TEST, UNNAMED = "train", "validation", "test", ""
# One of these words in a name, in any case, as Hugging Face's `datasets` has it too
WORDS = re.compile(
    r"(?<![a-z])(?:(?P<train>train(?:ing)?)|(?P<validation>val(?:id(?:ation)?)?|dev)"
    r"|(?P<test>test(?:ing)?))(?:set|images?)?(?![a-z])"
)


def split_by_names(named: Mapping[str, str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the files of each split, and a few words for each thing that was guessed.

    Names count where one of them sets files aside, for validation or for the test. Else every
    file trains: `train` alone may be a class, beside `bus` and `ship`.

    Args:
        named: What of each file's path may say its split, by the path. The first part that names
            a split decides.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for file, names in named.items():
        by_name[_named(names)].append(file)
    unnamed, notes = by_name.pop(UNNAMED, []), []
    if by_name and TEST not in by_name:
        notes.append("nothing is named test: every sixth training image tests")
    if by_name.keys() <= {TRAIN}:
        if by_name and unnamed:
            notes.append(
                f"files that are not named train are used like the rest ({len(unnamed):,})"
            )
        return {TRAIN: list(named)}, notes
    if unnamed and TRAIN in by_name:
        notes.append(f"files that no name puts into a split are left out ({len(unnamed):,})")
    elif unnamed:
        notes.append(f"nothing is named train: files without such a name do ({len(unnamed):,})")
        by_name[TRAIN] = unnamed
    return {split: by_name[split] for split in (TRAIN, VALIDATION, TEST) if split in by_name}, notes


def _named(names: str) -> str:
    for part in names.lower().split(os.sep):
        kinds = {found.lastgroup or UNNAMED for found in WORDS.finditer(part)}
        if len(kinds) == 1:
            return kinds.pop()
    return UNNAMED
