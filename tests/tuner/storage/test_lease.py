"""A run in a bucket has one search at a time, on whatever machine, and its lease is never left behind for long."""

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
from tuner.settings import SearchConfig
from tuner.storage import lease
from tuner.storage.lease import Lease

LEASE_SEC = 2.0
ELSEWHERE = """
import os, sys, uuid
from analysis.console import Console
from tuner.storage import lease
from tuner.settings import SearchConfig

lease.RENEW_SEC, lease.SETTLE_SEC = 0.2, 0.1
lease.Owner.here = classmethod(lambda cls: cls("elsewhere", os.getpid(), sys.argv[2], uuid.uuid4().hex))
with lease.Lease(SearchConfig(name="r", storage=sys.argv[1]), Console()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def config(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchConfig:
    """A run of its own, whose lease is short."""
    for name, sec in {
        "LEASE_SEC": LEASE_SEC,
        "RENEW_SEC": 0.2,
        "WATCH_SEC": 0.1,
        "SETTLE_SEC": 0.3,
    }.items():
        monkeypatch.setattr(lease, name, sec)
    return SearchConfig(name="r", storage=f"s3://searches/{tmp_path.name}?{service.options}")


@contextmanager
def held(config: SearchConfig, machine: str = "another machine") -> Iterator[subprocess.Popen[str]]:
    """By a process on a machine of that kind."""
    command = [sys.executable, "-c", ELSEWHERE, config.storage, machine]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def lease_path(config: SearchConfig) -> str:
    return f"{config.experiment.root}/{lease.LEASE_FILE}"


def is_there(config: SearchConfig) -> bool:
    (info,) = config.experiment.files.get_file_info([lease_path(config)])
    return bool(info.type == FileType.File)


def owner(config: SearchConfig) -> dict[str, object]:
    with config.experiment.files.open_input_stream(lease_path(config)) as file:
        found: dict[str, object] = json.loads(file.read())
    return found


def take_over(config: SearchConfig) -> None:
    """As a machine does that has not heard of the owner for long."""
    other = {"host": "elsewhere", "pid": 1, "machine": "another machine", "id": "0", "renewal": "0"}
    with config.experiment.files.open_output_stream(lease_path(config)) as file:
        file.write(json.dumps(other).encode())


@pytest.mark.parametrize("machine", ["another machine", lease._machine()])
def test_a_run_that_lives_elsewhere_is_refused_with_the_host_that_has_it(
    config: SearchConfig, machine: str
) -> None:
    with held(config, machine) as holder:
        told = f"the run r is being searched by another process, {holder.pid} on elsewhere: wait for it or stop it"
        with pytest.raises(ValueError, match=told), Lease(config, Console()):
            pass
        assert owner(config)["pid"] == holder.pid
        with Lease(SearchConfig(name="another", storage=config.storage), Console()):
            pass


def test_a_run_whose_search_was_killed_elsewhere_is_taken_when_its_lease_has_run_out(
    config: SearchConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(config) as holder:
        holder.kill()
        holder.wait()
        before = time.monotonic()
        with Lease(config, Console()):
            assert time.monotonic() - before >= LEASE_SEC
        assert (
            "elsewhere had the run r and has not given it back: waiting" in capsys.readouterr().out
        )


def test_a_run_whose_search_was_killed_on_this_machine_is_taken_at_once(
    config: SearchConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SEC", 600.0)
    with held(config, lease._machine()) as holder:
        holder.kill()
        holder.wait()
        with Lease(config, Console()):
            assert is_there(config)
    assert capsys.readouterr().out == ""


def test_a_lease_that_is_given_back_is_had_at_once(
    config: SearchConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SEC", 600.0)
    with pytest.raises(ZeroDivisionError), Lease(config, Console()):
        assert 1 / is_there(config) / 0
    assert not is_there(config)
    with Lease(config, Console()):
        pass
    assert capsys.readouterr().out == ""


def test_a_lease_that_can_not_be_read_is_told_with_its_address(config: SearchConfig) -> None:
    with config.experiment.files.open_output_stream(lease_path(config)) as file:
        file.write(b"{}")
    told = f"s3://{lease_path(config)} is no lease that this version can read: delete it"
    with pytest.raises(ValueError, match=told), Lease(config, Console()):
        pass


def test_of_several_that_come_at_once_one_has_the_run(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SETTLE_SEC", 1.5)
    monkeypatch.setattr(
        lease, "LEASE_SEC", 600.0
    )  # nobody is taken for dead, however slow this machine is
    together, taken, refused = threading.Barrier(4), [], []

    def come() -> None:
        mine = Lease(config, Console())
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
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    mine, calls = Lease(config, Console()), []
    real = getattr(mine, at)

    def interrupted() -> object:
        calls.append(real())
        if len(calls) == (
            1 if at == "_write" else 2
        ):  # before the writing nothing is there to be left
            assert is_there(config)
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(mine, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine.__enter__()
    assert not is_there(config)


def test_a_search_that_is_interrupted_when_another_took_the_run_leaves_that_ones_lease(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(sec: float) -> None:
        take_over(config)
        raise KeyboardInterrupt

    mine = Lease(config, Console())
    monkeypatch.setattr(lease.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine.__enter__()
    assert owner(config)["host"] == "elsewhere"


def test_a_renewal_that_fails_in_whatever_way_is_tried_again(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lease(config, Console()) as mine:
        failures, real = (
            iter([ValueError("of pyarrow"), RuntimeError("of whatever else")]),
            mine._write,
        )

        def failing() -> None:
            for failure in failures:
                raise failure
            real()

        before = owner(config)["renewal"]
        monkeypatch.setattr(mine, "_write", failing)
        until(lambda: owner(config)["renewal"] != before, timeout=30)


def test_a_bucket_that_is_away_for_longer_than_a_lease_leaves_it_with_its_owner(
    service: Service, config: SearchConfig
) -> None:
    with Lease(config, Console()) as mine:
        before = owner(config)
        service.stop()
        time.sleep(LEASE_SEC)
        with pytest.raises(OSError, match=r"."):
            mine.confirm()
        service.start()
        until(lambda: owner(config)["renewal"] != before["renewal"], timeout=60)
        assert owner(config)["id"] == before["id"]
        mine.confirm()
    assert not is_there(config)


def test_a_lease_that_was_taken_over_is_not_given_back_for_the_other(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SEC", 600.0)
    with pytest.raises(TakenError, match="process 1 on elsewhere now"), Lease(config, Console()):
        take_over(config)
    assert owner(config)["host"] == "elsewhere"


def test_a_search_elsewhere_is_refused_while_one_runs_and_its_end_frees_the_run(
    service: Service, tmp_path: Path
) -> None:
    config = SearchConfig(name="run", storage=f"s3://searches/two?{service.options}")
    driver = start(config.storage, tmp_path / "one", "--name", "run", *SMALL)
    until(lambda: len(table(config.storage, "epochs")) >= 1)
    second = start(config.storage, tmp_path / "other", "--resume", "run")
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2, output
    assert f"error: the run run is being searched by another process, {driver.pid} on " in output
    driver.terminate()
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, output
    assert not is_there(config)


def test_a_search_ends_and_sends_nothing_more_when_another_machine_has_taken_its_run(
    service: Service, tmp_path: Path
) -> None:
    config = SearchConfig(name="run", storage=f"s3://searches/lost?{service.options}")
    driver = start(config.storage, tmp_path / "one", "--name", "run", *SMALL)
    until(lambda: len(table(config.storage, "epochs")) >= 3)
    take_over(config)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 1, output
    assert output.splitlines()[-1].startswith(
        "error: the run run is searched by process 1 on elsewhere now, which "
    )
    assert f"type python -m tuner.run --resume run --storage '{config.storage}'" in output
    assert "Traceback" not in output
    assert table(config.storage, "runs").status.tolist() == ["running"]
    assert owner(config)["host"] == "elsewhere"
