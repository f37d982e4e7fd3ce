"""What a pipeline was given and what it made of it, recorded: inputs and targets of `--pairs`.

For a pipeline that is no Python. Inputs are read like any images; targets are kept as they are,
since they are what a network has to reach.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data import image_files, parquet_rows, recorded
from trainables.data.cache import Arrays, Form, New, filled_once
from trainables.data.decoding import Job, decode_all
from trainables.data.folder_contents import PARQUET, suffix
from trainables.data.images import Images, Pixels, Size, check_enough
from trainables.data.parquet_rows import Encoded
from trainables.data.pixels import VERSION, UnreadableError
from trainables.data.places import Place, counts_by_split, places, splits_after
from trainables.data.split_names import TRAIN, split_by_names
from trainables.errors import UsageError, printable
from trainables.own_process import Say
from trainables.tasks import shape_text

# What folders and columns may be called, in lower case; the first column that is there counts
INPUTS = ("input", "inputs", "input_image", "image", "img", "source", "before")
TARGETS = (
    "target",
    "targets",
    "target_image",
    "output",
    "outputs",
    "output_image",
    "edited_image",
    "after",
    "ground_truth",
    "gt",
)
READ = (".jfif", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff")
SIDES = ("input", "target")
OF_TARGETS = "_targets"  # ends the names of their arrays in the cache

Pair = tuple[Encoded, Encoded]  # input and target
Decoded = tuple[Pixels, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """Recorded inputs and targets, in the same order.

    Attributes:
        images: The inputs, by split (N, 3, H, W) uint8, with a note of what was left out.
        targets: By the splits that `images` has, (N, c, h, w): uint8, or float32 as recorded.
    """

    images: Images
    targets: Mapping[str, NDArray[np.uint8] | NDArray[np.float32]]


@dataclass(frozen=True)
class _Found:
    """Pairs before any is decoded.

    Attributes:
        splits: For each split, its pairs: file names of both sides, or a parquet file.
        files: All files that they lie in, relative to the directory.
        note: What was guessed or left out, in one line.
    """

    asked: str
    directory: Path
    splits: dict[str, list[tuple[str, str]]]
    files: list[str]
    note: str


def read(path: str | Path, size: Size | None = None, progress: Say | None = None) -> PairSet:
    """Read recorded pairs, decoded once and then mapped from the cache.

    Args:
        path: A directory, or a parquet file. In a directory, files are pairs whose paths differ
            by one folder, `input` or `target`, and perhaps by their suffix; or it has parquet
            files. These have a column of inputs and one of targets. `INPUTS` and `TARGETS` are
            what folders and columns may be called.
        size: Height and width, which inputs are scaled and cropped to; without it their own.
        progress: Gets lines of what is left, where it takes longer than a second.

    Raises:
        UsageError: There is nothing to read there, inputs without `size` or targets differ in
            size, there are too few, or some can't be read.
    """
    found = _find(Path(path))
    key = [f"pairs {VERSION} {str(found.directory.resolve())!r} {found.splits} {size}"]
    key += [f"{file!r} {image_files.stamp(found.directory / file)}" for file in found.files]
    splits = splits_after(found.splits)
    names = [*splits, *(split + OF_TARGETS for split in splits)]
    fill = partial(_decode, found, size, progress)
    arrays = filled_once(found.asked, "\n".join(key), names, fill)
    return PairSet(
        images=Images(
            source=str(path), note=found.note, **{split: arrays[split] for split in splits}
        ),
        targets={split: arrays[split + OF_TARGETS] for split in splits},
    )


def _find(path: Path) -> _Found:
    asked = f"--pairs {printable(str(path))}"
    try:
        if path.is_dir():
            return _in_directory(asked, path, image_files.files_below(path))
    except OSError as error:
        raise UsageError(
            f"{asked}: {printable(str(error.filename))} can't be read ({error.strerror}): "
            f"make it readable, or give another directory"
        ) from error
    if path.is_file() and suffix(path.name) == PARQUET:
        return _in_directory(asked, path.parent, [path.name], whole=False)
    raise UsageError(
        f"{asked}: there is no such directory or parquet file; give a directory with "
        f"input/ and target/, or a parquet file with two such columns"
    )


def _in_directory(
    asked: str, directory: Path, files: Sequence[str], *, whole: bool = True
) -> _Found:
    """Find the pairs among files; names of a single file that was given say no split."""
    tables = [file for file in files if suffix(file) == PARQUET]
    usable = [file for file in tables if _has_both(directory / file)]
    if usable:
        pairs = {file: (file, file) for file in usable}
        named = {file: file if whole else "" for file in usable}
        others = [file for file in tables if file not in usable]
        notes = _left_out("parquet files without both columns", others)
        used = sorted({*usable, *(file for file in files if suffix(file) in READ)})
    else:
        pairs, notes = _same_names(asked, files)
        if not pairs:
            raise UsageError(f"{asked}: {_nothing(files, tables, notes)}")
        named = {key: os.path.dirname(key) for key in pairs}
        used = sorted(file for pair in pairs.values() for file in pair)
    splits, guessed = split_by_names(named)
    if TRAIN not in splits:
        raise UsageError(
            f"{asked}: all that is there is named {' or '.join(splits)}: give something to train on"
        )
    by_split = {split: [pairs[key] for key in keys] for split, keys in splits.items()}
    return _Found(asked, directory, by_split, used, "; ".join([*guessed, *notes]))


def _has_both(path: Path) -> bool:
    try:
        columns = parquet_rows.columns(path)
    except UnreadableError:  # which is told with all else that can't be read
        return True
    return all(parquet_rows.image_column(columns, known) for known in (INPUTS, TARGETS))


def _same_names(asked: str, files: Sequence[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return the two files of each pair, and a few words of what has no other side."""
    sides: dict[str, dict[str, str]] = {side: {} for side in SIDES}
    for file in files:
        parts = file.split(os.sep)
        side, depth = _side(parts[:-1])
        if not side or suffix(file) not in READ:
            continue
        key = os.path.splitext(os.path.join(*parts[:depth], *parts[depth + 1 :]))[0]
        if other := sides[side].get(key):
            raise UsageError(
                f"{asked}: {printable(other)} and {printable(file)} have one name without their "
                f"suffix: take one away"
            )
        sides[side][key] = file
    inputs, targets = sides.values()
    alone = [
        [file for key, file in these.items() if key not in others]
        for these, others in ((inputs, targets), (targets, inputs))
    ]
    notes = _left_out("inputs without a target", alone[0])
    notes += _left_out("targets without an input", alone[1])
    return {key: (file, targets[key]) for key, file in inputs.items() if key in targets}, notes


def _side(folders: Sequence[str]) -> tuple[str, int]:
    """Return which side a file is on, as the first folder says that does, and that one's depth."""
    for depth, folder in enumerate(folders):
        for side, known in zip(SIDES, (INPUTS, TARGETS), strict=True):
            if folder.lower() in known:
                return side, depth
    return "", 0


def _left_out(what: str, files: Sequence[str]) -> list[str]:
    if not files:
        return []
    return [f"{what} are left out ({len(files):,}, such as {printable(files[0])})"]


def _nothing(files: Sequence[str], tables: Sequence[str], notes: Sequence[str]) -> str:
    """Say what is in the place of pairs."""
    if tables:
        return (
            f"{printable(tables[0])} lacks one of two columns: one must be named "
            f"{' or '.join(INPUTS)}, the other {' or '.join(TARGETS)}"
        )
    if notes:
        return f"no input has a target of the same name: {'; '.join(notes)}"
    return (
        f"found neither parquet files nor files ({', '.join(READ)}) in folders input/ and target/ "
        f"among its {len(files):,} files: give a directory with such pairs"
    )


def _decode(found: _Found, size: Size | None, progress: Say | None, new: New) -> Arrays:
    """Decode every pair to its place, in arrays of the forms that the first pair shows."""
    names = {split: list(_names(found, pairs)) for split, pairs in found.splits.items()}
    counts = counts_by_split(names)
    forms: dict[str, tuple[str, Form]] = {}  # of a side: the first one's name, and what it is
    odd: dict[str, str] = {}  # of a side: what is wrong with it
    arrays: Arrays = {}
    total = sum(counts.values())
    for (place, name), pair in decode_all(found.asked, _jobs(found, names, size), total, progress):
        for side, array in zip(SIDES, pair, strict=True):
            form = Form(array.shape, array.dtype.type)
            first, expected = forms.setdefault(side, (name, form))
            if form != expected:
                odd.setdefault(side, _differ(side, first, expected, name, form))
        if not arrays:
            arrays = new(_forms(counts, *(form for _, form in forms.values())))
        if place is not None and not odd:
            split, number = place
            arrays[split][number], arrays[split + OF_TARGETS][number] = pair
    if odd:
        raise UsageError(f"{found.asked}: {'; '.join(odd.values())}")
    check_enough(found.asked, counts[TRAIN], counts.get("validation"), counts["test"])
    return arrays


def _forms(counts: Mapping[str, int], image: Form, target: Form) -> dict[str, Form]:
    forms = {split: Form((count, *image.shape), image.kind) for split, count in counts.items()}
    return forms | {
        split + OF_TARGETS: Form((count, *target.shape), target.kind)
        for split, count in counts.items()
    }


def _differ(side: str, first: str, expected: Form, name: str, form: Form) -> str:
    cure = (
        "give --image-size, which inputs are scaled and cropped to"
        if side == "input"
        else "all targets must be alike"
    )
    return (
        f"the {side} of {printable(first)} is {_text(expected)}, that of {printable(name)} is "
        f"{_text(form)}: {cure}"
    )


def _text(form: Form) -> str:
    return f"{shape_text(form.shape)} {form.kind.__name__}"


def _names(found: _Found, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield what pairs are called: by the input's file, or by the row."""
    for file, other in pairs:
        if file == other:
            rows = range(parquet_rows.count(found.directory / file))
            yield from (parquet_rows.row_name(file, row) for row in rows)
        else:
            yield file


def _jobs(
    found: _Found, names: Mapping[str, Sequence[str]], size: Size | None
) -> Iterator[Job[tuple[Place | None, str], Decoded]]:
    for split, pairs in found.splits.items():
        where = places(names, split)
        for name, of_input, of_target in _encoded(found, pairs):
            work = partial(_decoded, of_input, of_target, size)
            yield (next(where, None), name), name, work


def _encoded(
    found: _Found, pairs: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, Encoded, Encoded]]:
    images = frozenset(found.files)
    for file, other in pairs:
        if file == other:
            inputs = parquet_rows.rows(found.directory, file, images, INPUTS)
            targets = parquet_rows.rows(found.directory, file, images, TARGETS)
            # One of them is shorter where its column can't be read
            for (name, of_input), (_, of_target) in zip(inputs, targets, strict=False):
                yield name, of_input, of_target
        else:
            of_input, of_target = (
                partial(image_files.read, found.directory / one) for one in (file, other)
            )
            yield file, of_input, of_target


def _decoded(of_input: Encoded, of_target: Encoded, size: Size | None) -> Decoded:
    """Decode a pair. Raises UnreadableError or OSError, which says which side can't be read."""
    image = recorded.image(of_input(), size)
    try:
        return image, recorded.target(of_target())
    except (UnreadableError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(f"its target: {reason}") from error
