"""Every node answers a mark in the storage, or is named."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import LocalFileSystem

from trainables.errors import UsageError
from tuner.cluster.nodes import Node
from tuner.storage import run_storage
from tuner.storage.run_storage import answer_mark, check_shared, leave_mark

NODES = [Node(1, 0, 1, "first", "1"), Node(1, 0, 1, "second", "2")]
Here = Callable[[Node], Any]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Nodes in this process: each answers, or what is given for its name is what comes of it."""

    def install(instead: dict[str, Any]) -> None:
        def on_each(nodes: Sequence[Node], function: Any, *arguments: Any) -> list[Any]:
            answers = []
            for node in nodes:
                monkeypatch.setattr(run_storage, "this_node", lambda node=node: node.id)
                there = instead.get(node.name, function)
                answers.append(there(*arguments) if callable(there) else there)
            return answers

        monkeypatch.setattr(run_storage, "on_each", on_each)

    return install


def test_a_storage_that_all_nodes_share_is_as_it_was_before(tmp_path: Path, at: Any) -> None:
    at({})
    check_shared(str(tmp_path), NODES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (RuntimeError("far away\nthe node is dead"), "it does not answer: the node is dead"),
        ("[Errno 2] no such file", r"\[Errno 2\] no such file"),
        ("", "what it writes there does not arrive here"),
    ],
)
def test_a_node_that_does_not_share_it_is_named_with_what_went_wrong(
    tmp_path: Path, at: Any, second: Any, problem: str
) -> None:
    at({"second": second})
    with pytest.raises(
        UsageError, match=rf"--storage .*: the node second does not share it \({problem}\); give a"
    ):
        check_shared(str(tmp_path), NODES)
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_no_mark_none_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_storage, "this_node", lambda: "7")
    with pytest.raises(FileNotFoundError):
        answer_mark(LocalFileSystem(), str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    leave_mark(LocalFileSystem(), str(tmp_path))
    answer_mark(LocalFileSystem(), str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".shared", ".shared-7"]
