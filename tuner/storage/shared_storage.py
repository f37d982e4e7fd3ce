"""Whether every node shares the storage: each reads what others write there."""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyarrow.fs import FileSystem

from analysis.tables.table_sources import BUCKET, resolved
from trainables.errors import UsageError, last_line
from tuner.cluster.nodes import Node, on_each, this_node

DRIVER = "driver"  # whose marker that is


def check_shared(storage: str, nodes: Sequence[Node]) -> None:
    """Every one of `nodes` reads what this process writes to the storage, and this process what they write.

    Tables, checkpoints and networks go that way. Images do not: Ray's object store brings them to each node.
    Raises UsageError with the name of a node that does not share the storage.
    """
    _, files, path = resolved(storage)
    within = path if storage.startswith(BUCKET) else Path(storage).absolute()
    directory = f"{within}/.shared-{uuid.uuid4().hex}"
    try:
        files.create_dir(directory)
        _write(files, f"{directory}/{DRIVER}", directory)
        answers = on_each(nodes, _answer_marker, files, directory)
        for node, answer in zip(nodes, answers, strict=True):
            problem = _problem(answer) or _unread(files, f"{directory}/{node.id}", directory)
            if problem:
                raise UsageError(
                    f"--storage {storage}: the node {node.name} does not share it ({problem}); "
                    f"give a directory that all nodes share, or a bucket that all may write to"
                )
    finally:
        with suppress(OSError):
            files.delete_dir(directory)


def _problem(answer: Any) -> str | None:
    return f"it does not answer: {last_line(answer)}" if isinstance(answer, Exception) else answer


def _answer_marker(files: FileSystem, directory: str) -> str | None:
    """On a node: read the driver's marker, then write one; what went wrong, if anything."""
    try:
        _write(files, f"{directory}/{this_node()}", _read(files, f"{directory}/{DRIVER}"))
    except OSError as error:
        return str(error).partition("\n")[0]
    return None


def _unread(files: FileSystem, marker: str, text: str) -> str | None:
    try:
        return None if _read(files, marker) == text else f"{marker} was altered"
    except OSError:
        return "what it writes there does not arrive here"


def _write(files: FileSystem, path: str, text: str) -> None:
    with files.open_output_stream(path) as file:
        file.write(text.encode())


def _read(files: FileSystem, path: str) -> str:
    with files.open_input_file(path) as file:
        text: str = file.read().decode()
    return text
