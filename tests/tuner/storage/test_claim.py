"""A run is claimed before anything is written: its storage, its name, and nobody else has it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tuner.test_arguments import store
from trainables.errors import UsageError
from tuner.settings import SearchConfig
from tuner.storage.claim import check_storage, locked
from tuner.storage.run_storage import RunStorage


def run(storage: Path) -> RunStorage:
    return RunStorage(str(storage), "r")


def test_a_storage_that_is_not_there_yet_is_made_and_left_empty(tmp_path: Path) -> None:
    check_storage(run(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/no-such-place", "/dev/null"])
def test_a_storage_that_takes_no_files_is_told(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    storage = tmp_path / where
    with pytest.raises(
        UsageError, match=re.escape(f"--storage {storage} can't be written (")
    ) as error:
        check_storage(run(storage))
    assert str(error.value).endswith(": give another directory")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    code = f"""
import resource, tempfile
from tuner.storage.claim import check_storage
from tuner.storage.run_storage import RunStorage
tempfile.gettempdir()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
check_storage(RunStorage({str(tmp_path)!r}, "r"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"UsageError: --storage {tmp_path} can't be written (File too large)" in done.stderr


@pytest.mark.parametrize("where", ["experiments", "tables"])
def test_a_taken_name_is_told_with_the_way_to_go_on(tmp_path: Path, where: str) -> None:
    if where == "experiments":
        (tmp_path / "experiments" / "r" / "session-001").mkdir(parents=True)
    else:
        store(tmp_path, SearchConfig(name="r", storage=str(tmp_path)))
    with pytest.raises(
        UsageError, match=r"--name r: .* already has a run of that name; .*--resume r$"
    ):
        check_storage(run(tmp_path))
    check_storage(run(tmp_path), resumes=True)
    check_storage(RunStorage(str(tmp_path), "other"))


HOLDER = """
import sys
from tuner.storage.claim import locked
from tuner.storage.run_storage import RunStorage
with locked(RunStorage(sys.argv[1], "r")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_searches_is_locked_until_that_process_ends(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                UsageError,
                match="the run r is being searched by another process: wait for it or stop it",
            ),
            locked(run(tmp_path)),
        ):
            pass
        with locked(RunStorage(str(tmp_path), "other")):
            pass
        holder.kill()
        holder.wait()
    with locked(run(tmp_path)):
        pass


def test_a_lock_is_gone_with_its_search_and_leaves_the_name_of_the_run_free(tmp_path: Path) -> None:
    with locked(run(tmp_path)):
        assert len(list((tmp_path / "experiments").iterdir())) == 1
    assert list((tmp_path / "experiments").iterdir()) == []
    check_storage(run(tmp_path))
