"""The proof that a node shares the storage: it finds a mark there, and leaves its answer.

Tables, checkpoints and networks go that way; images do not, Ray's object store brings them to each
node. All nodes that are up are asked before the search starts, and each again by its first trial,
since it may have joined later.
"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pyarrow.fs import FileSystem, FileType

from analysis.tables.table_sources import BUCKET, resolved
from trainables.errors import UsageError, first_line, last_line
from tuner.cluster.nodes import Node, on_each, this_node

MARK = ".shared"


def leave_mark(files: FileSystem, directory: str) -> None:
    """Leave what a node that shares the storage finds in a directory. Raises OSError."""
    files.create_dir(directory)
    with files.open_output_stream(f"{directory}/{MARK}") as file:
        file.write(b"")


def answer_mark(files: FileSystem, directory: str) -> None:
    """On a node: find the mark, and leave an answer beside it. Raises OSError where it can't."""
    files.open_input_file(f"{directory}/{MARK}").close()
    with files.open_output_stream(f"{directory}/{MARK}-{this_node()}") as file:
        file.write(b"")


def check_shared(storage: str, nodes: Sequence[Node]) -> None:
    """Have every one of these nodes answer a mark in the storage.

    Raises:
        UsageError: A node does not share the storage.
    """
    _, files, path = resolved(storage)
    within = path if storage.startswith(BUCKET) else Path(storage).absolute()
    directory = f"{within}/{MARK}-{uuid.uuid4().hex}"
    try:
        leave_mark(files, directory)
        answers = on_each(nodes, _answer, files, directory)
        for node, answer in zip(nodes, answers, strict=True):
            problem = answer
            if isinstance(answer, Exception):
                problem = f"it does not answer: {last_line(answer)}"
            elif not answer and not _is_there(files, f"{directory}/{MARK}-{node.id}"):
                problem = "what it writes there does not arrive here"
            if problem:
                raise UsageError(
                    f"--storage {storage}: the node {node.name} does not share it ({problem}); "
                    f"give a directory that all nodes share, or a bucket that all may write to"
                )
    finally:
        with suppress(OSError):
            files.delete_dir(directory)


def _answer(files: FileSystem, directory: str) -> str:
    """On a node: what went wrong, if anything."""
    try:
        answer_mark(files, directory)
    except OSError as error:
        return first_line(error)
    return ""


def _is_there(files: FileSystem, path: str) -> bool:
    with suppress(OSError):
        (info,) = files.get_file_info([path])
        return bool(info.type == FileType.File)
    return False
