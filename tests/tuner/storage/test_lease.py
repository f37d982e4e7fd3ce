"""A run in a bucket has one search at a time, and its lease is never left behind for long."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow.fs import FileType

from analysis.console import Console
from analysis.tables.bucket import TakenError
from tests.tuner.bucket_service import Service, start
from tests.tuner.test_bucket_storage import SMALL, table
from tests.waiting import until
from tuner.storage import lease
from tuner.storage.lease import Lease
from tuner.storage.run_storage import RunStorage

LEASE_SEC = 2.0
ELSEWHERE = """
import os, sys, uuid
from analysis.console import Console
from tuner.storage import lease
from tuner.storage.run_storage import RunStorage

lease.RENEW_SEC, lease.SETTLE_SEC = 0.2, 0.1
elsewhere = ("elsewhere", os.getpid(), sys.argv[2], uuid.uuid4().hex)
lease.Owner.here = classmethod(lambda cls: cls(*elsewhere))
with lease.Lease(RunStorage(sys.argv[1], "r"), Console()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStorage:
    """A run of its own, whose lease is short."""
    for name, sec in {
        "LEASE_SEC": LEASE_SEC,
        "RENEW_SEC": 0.2,
        "WATCH_SEC": 0.1,
        "SETTLE_SEC": 0.3,
    }.items():
        monkeypatch.setattr(lease, name, sec)
    return RunStorage(f"s3://searches/{tmp_path.name}?{service.options}", "r")


@contextmanager
def held(run: RunStorage, machine: str = "another machine") -> Iterator[subprocess.Popen[str]]:
    """By a process on a machine of that kind."""
    command = [sys.executable, "-c", ELSEWHERE, run.storage, machine]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def lease_path(run: RunStorage) -> str:
    return f"{run.experiment.root}/{lease.LEASE_FILE}"


def is_there(run: RunStorage) -> bool:
    (info,) = run.experiment.files.get_file_info([lease_path(run)])
    return bool(info.type == FileType.File)


def owner(run: RunStorage) -> dict[str, object]:
    with run.experiment.files.open_input_stream(lease_path(run)) as file:
        found: dict[str, object] = json.loads(file.read())
    return found


def take_over(run: RunStorage) -> None:
    """As a machine does that has not heard of the owner for long."""
    other = {"host": "elsewhere", "pid": 1, "machine": "another machine", "id": "0", "renewal": "0"}
    with run.experiment.files.open_output_stream(lease_path(run)) as file:
        file.write(json.dumps(other).encode())


@pytest.mark.parametrize("machine", ["another machine", lease._machine()])
def test_a_run_that_lives_elsewhere_is_refused_with_the_host_that_has_it(
    run: RunStorage, machine: str
) -> None:
    with held(run, machine) as holder:
        told = (
            f"the run r is being searched by another process, {holder.pid} on elsewhere: "
            f"wait for it or stop it"
        )
        with pytest.raises(ValueError, match=told), Lease(run, Console()):
            pass
        assert owner(run)["pid"] == holder.pid
        with Lease(RunStorage(run.storage, "another"), Console()):
            pass


def test_a_run_whose_search_was_killed_elsewhere_is_taken_when_its_lease_has_run_out(
    run: RunStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(run) as holder:
        holder.kill()
        holder.wait()
        before = time.monotonic()
        with Lease(run, Console()):
            assert time.monotonic() - before >= LEASE_SEC
        assert (
            "elsewhere had the run r and has not given it back: waiting" in capsys.readouterr().out
        )


def test_a_run_whose_search_was_killed_on_this_machine_is_taken_at_once(
    run: RunStorage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SEC", 600.0)
    with held(run, lease._machine()) as holder:
        holder.kill()
        holder.wait()
        with Lease(run, Console()):
            assert is_there(run)
    assert capsys.readouterr().out == ""


def test_a_lease_that_is_given_back_is_had_at_once(
    run: RunStorage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SEC", 600.0)
    with pytest.raises(ZeroDivisionError), Lease(run, Console()):
        assert 1 / is_there(run) / 0
    assert not is_there(run)
    with Lease(run, Console()):
        pass
    assert capsys.readouterr().out == ""


def test_a_lease_that_can_not_be_read_is_told_with_its_address(run: RunStorage) -> None:
    with run.experiment.files.open_output_stream(lease_path(run)) as file:
        file.write(b"{}")
    told = f"s3://{lease_path(run)} is no lease that this version can read: delete it"
    with pytest.raises(ValueError, match=told), Lease(run, Console()):
        pass


def test_of_several_that_come_at_once_one_has_the_run(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SETTLE_SEC", 1.5)
    monkeypatch.setattr(
        lease, "LEASE_SEC", 600.0
    )  # nobody is taken for dead, however slow this machine is
    together, taken, refused = threading.Barrier(4), [], []

    def come() -> None:
        mine = Lease(run, Console())
        together.wait()
        try:
            taken.append(mine.__enter__())
        except ValueError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert len(refused) == 3
    taken[0].__exit__()


@pytest.mark.parametrize("at", ["_write", "_other"])
def test_a_search_that_is_interrupted_while_it_takes_the_run_leaves_no_lease(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    mine, calls = Lease(run, Console()), []
    real = getattr(mine, at)

    def interrupted() -> object:
        calls.append(real())
        if len(calls) == (
            1 if at == "_write" else 2
        ):  # before the writing nothing is there to be left
            assert is_there(run)
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(mine, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine.__enter__()
    assert not is_there(run)


def test_a_search_that_is_interrupted_when_another_took_the_run_leaves_that_ones_lease(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(sec: float) -> None:
        take_over(run)
        raise KeyboardInterrupt

    mine = Lease(run, Console())
    monkeypatch.setattr(lease.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine.__enter__()
    assert owner(run)["host"] == "elsewhere"


def test_a_renewal_that_fails_in_whatever_way_is_tried_again(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lease(run, Console()) as mine:
        failures, real = (
            iter([ValueError("of pyarrow"), RuntimeError("of whatever else")]),
            mine._write,
        )

        def failing() -> None:
            for failure in failures:
                raise failure
            real()

        before = owner(run)["renewal"]
        monkeypatch.setattr(mine, "_write", failing)
        until(lambda: owner(run)["renewal"] != before, timeout=30)


def test_a_bucket_that_is_away_for_longer_than_a_lease_leaves_it_with_its_owner(
    service: Service, run: RunStorage
) -> None:
    with Lease(run, Console()) as mine:
        before = owner(run)
        service.stop()
        time.sleep(LEASE_SEC)
        with pytest.raises(OSError, match=r"."):
            mine.confirm()
        service.start()
        until(lambda: owner(run)["renewal"] != before["renewal"], timeout=60)
        assert owner(run)["id"] == before["id"]
        mine.confirm()
    assert not is_there(run)


def test_a_lease_that_was_taken_over_is_not_given_back_for_the_other(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SEC", 600.0)
    with pytest.raises(TakenError, match="process 1 on elsewhere now"), Lease(run, Console()):
        take_over(run)
    assert owner(run)["host"] == "elsewhere"


def test_a_search_elsewhere_is_refused_while_one_runs_and_its_end_frees_the_run(
    service: Service, tmp_path: Path
) -> None:
    run = RunStorage(f"s3://searches/two?{service.options}", "run")
    driver = start(run.storage, tmp_path / "one", "--name", "run", *SMALL)
    until(lambda: len(table(run.storage, "epochs")) >= 1)
    second = start(run.storage, tmp_path / "other", "--resume", "run")
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2, output
    assert f"error: the run run is being searched by another process, {driver.pid} on " in output
    driver.terminate()
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, output
    assert not is_there(run)


def test_a_search_ends_and_sends_nothing_more_when_another_machine_has_taken_its_run(
    service: Service, tmp_path: Path
) -> None:
    run = RunStorage(f"s3://searches/lost?{service.options}", "run")
    driver = start(run.storage, tmp_path / "one", "--name", "run", *SMALL)
    until(lambda: len(table(run.storage, "epochs")) >= 3)
    take_over(run)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 1, output
    assert output.splitlines()[-1].startswith(
        "error: the run run is searched by process 1 on elsewhere now, which "
    )
    assert f"type python -m tuner.run --resume run --storage '{run.storage}'" in output
    assert "Traceback" not in output
    assert table(run.storage, "runs").status.tolist() == ["running"]
    assert owner(run)["host"] == "elsewhere"
