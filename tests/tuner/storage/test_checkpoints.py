"""Where checkpoints lie, and which of them are still as they were written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow.fs import LocalFileSystem

from tuner.storage import checkpoints
from tuner.storage.run_storage import STATE_FILE, Experiment, trial_directory


def find(root: Path, number: int) -> list[Path]:
    return [Path(path) for path in Experiment(LocalFileSystem(), str(root)).checkpoints(number)]


def newest(paths: list[Path]) -> tuple[dict[str, Any] | None, str | None]:
    return checkpoints.newest(Experiment(LocalFileSystem(), "/"), map(str, paths))


def save(directory: Path, epoch: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    checkpoints.save(
        directory, {"epoch": epoch, "weights": {"w": torch.full((1000,), float(epoch))}}
    )
    return directory


def checkpoint(experiment: Path, session: str, name: str, trial: int = 7) -> Path:
    return save(experiment / session / trial_directory(trial) / name, 1)


def test_the_newest_session_comes_first_and_within_it_the_newest_checkpoint(tmp_path: Path) -> None:
    oldest_first = [
        checkpoint(tmp_path, "session-001", "checkpoint_000099"),
        checkpoint(tmp_path, "session-009", "checkpoint_000009"),
        checkpoint(tmp_path, "session-009", "checkpoint_000010"),
        checkpoint(tmp_path, "session-010", "checkpoint_000000"),
        checkpoint(tmp_path, "session-999", "checkpoint_2026-01-09_23-59-59.999999"),
        checkpoint(tmp_path, "session-999", "checkpoint_2026-01-10_00-00-00.000001"),
        checkpoint(tmp_path, "session-1000", "checkpoint_000000"),
    ]
    assert find(tmp_path, 7) == oldest_first[::-1]


def test_only_checkpoints_of_that_trial_with_a_state_are_found(tmp_path: Path) -> None:
    mine = checkpoint(tmp_path, "session-001", "checkpoint_000000")
    checkpoint(tmp_path, "session-001", "checkpoint_000000", trial=70)
    (mine.parent / "checkpoint_000001").mkdir()
    assert find(tmp_path, 7) == [mine]
    assert find(tmp_path / "nowhere", 7) == []


def test_the_first_whole_state_is_taken(tmp_path: Path) -> None:
    first, second = save(tmp_path / "2", 2), save(tmp_path / "1", 1)
    state, _ = newest([first, second])
    assert state is not None
    assert state["epoch"] == 2
    assert torch.equal(state["weights"]["w"], torch.full((1000,), 2.0))


def flipped(whole: bytes, position: int) -> bytes:
    return whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda whole: b"", id="empty"),
        pytest.param(lambda whole: whole[:2], id="two bytes"),
        pytest.param(lambda whole: whole[:100], id="a start"),
        pytest.param(lambda whole: whole[: len(whole) // 2], id="half"),
        pytest.param(lambda whole: whole[:-1], id="all but a byte"),
        pytest.param(lambda whole: whole[:-33], id="all but the checksum and a byte"),
        pytest.param(lambda whole: bytes(len(whole)), id="zeros"),
        pytest.param(
            lambda whole: whole[: len(whole) // 2] + bytes(len(whole) // 2), id="half zeros"
        ),
        pytest.param(lambda whole: b"garbage" * 100, id="garbage"),
        pytest.param(
            lambda whole: whole.replace(b"epoch", b"\xff\xff\xff\xff\xff"), id="bytes within"
        ),
        pytest.param(
            lambda whole: flipped(whole, whole.index(bytes(torch.full((9,), 2.0).numpy()))),
            id="a weight",
        ),
        pytest.param(lambda whole: flipped(whole, len(whole) - 1), id="the checksum"),
    ],
)
def test_a_damaged_file_is_passed_over_and_named(tmp_path: Path, spoil: Any) -> None:
    damaged, sound = save(tmp_path / "2", 2), save(tmp_path / "1", 1)
    path = damaged / STATE_FILE
    path.write_bytes(spoil(path.read_bytes()))
    state, passed_over = newest([damaged, sound])
    assert state is not None
    assert state["epoch"] == 1
    assert passed_over == str(damaged)
    assert newest([damaged]) == (None, str(damaged))
    assert newest([sound, damaged])[1] is None


class Payload:
    """What a pickle of it runs."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return Path.touch, (self.made,)


def test_a_file_that_would_run_code_is_passed_over_like_a_damaged_one_even_with_the_right_checksum(
    tmp_path: Path,
) -> None:
    evil, sound = tmp_path / "2", save(tmp_path / "1", 1)
    evil.mkdir()
    checkpoints.save(evil, {"epoch": 2, "weights": Payload(tmp_path / "ran")})
    state, passed_over = newest([evil, sound])
    assert passed_over == str(evil)
    assert state is not None
    assert state["epoch"] == 1
    assert not (tmp_path / "ran").exists()
    torch.load(evil / STATE_FILE, weights_only=False)
    assert (tmp_path / "ran").exists()


def test_plain_torch_reads_a_checkpoint_too(tmp_path: Path) -> None:
    state = torch.load(save(tmp_path / "2", 2) / STATE_FILE, weights_only=True)
    assert state["epoch"] == 2


def test_without_checkpoints_there_is_no_state(tmp_path: Path) -> None:
    assert newest([]) == (None, None)
    assert newest([tmp_path / "gone"])[0] is None
