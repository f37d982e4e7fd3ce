"""A run in a bucket has one search at a time, and its lease is never left behind for long."""

import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analysis.console import Console
from analysis.tables.bucket import TakenError
from tests.tuner.bucket_service import BUSY, Service
from tests.tuner.storage.leases import is_there, lease_path, owner, take_over
from tests.waiting import until
from tuner.storage import claim
from tuner.storage.claim import Lease, Owner
from tuner.storage.run_storage import RunStorage

PATIENCE_SEC = 600.0  # in which whoever lives has renewed a lease, however slow this machine is


@pytest.fixture
def run(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStorage:
    """A run of its own, whose lease is renewed and watched often."""
    for name, sec in {
        "LEASE_SEC": PATIENCE_SEC,
        "RENEW_SEC": 0.1,
        "WATCH_SEC": 0.05,
        "SETTLE_SEC": 0.2,
    }.items():
        monkeypatch.setattr(claim, name, sec)
    return RunStorage(f"s3://searches/{tmp_path.name}?{service.options}", "r")


class Holder(Lease):
    """The lease of a process elsewhere, which is renewed here until the process is killed."""

    def __init__(self, run: RunStorage, machine: str) -> None:
        super().__init__(run, Console())
        self.process = subprocess.Popen(["sleep", "600"])
        self._owner = Owner("elsewhere", self.process.pid, machine, uuid.uuid4().hex)

    def kill(self) -> None:
        """Leave the lease as it is."""
        self._over.set()
        self._thread.join()
        self.process.kill()
        self.process.wait()


@contextmanager
def held(run: RunStorage, machine: str = "another machine") -> Iterator[Holder]:
    """By a process on a machine of that kind."""
    holder = Holder(run, machine)
    holder.__enter__()
    yield holder
    holder.kill()


@pytest.mark.parametrize("machine", ["another machine", claim._machine()])
def test_a_run_that_lives_elsewhere_is_refused_with_the_host_that_has_it(
    run: RunStorage, machine: str
) -> None:
    with held(run, machine) as holder:
        told = (
            f"the run r is being searched by another process, {holder.process.pid} on elsewhere: "
            f"wait for it or stop it"
        )
        with pytest.raises(ValueError, match=told), Lease(run, Console()):
            pass
        assert owner(run)["pid"] == holder.process.pid
        with Lease(RunStorage(run.storage, "another"), Console()):
            pass


def test_a_run_whose_search_was_killed_elsewhere_is_taken_when_its_lease_has_run_out(
    run: RunStorage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(run) as holder:
        holder.kill()
        monkeypatch.setattr(claim, "LEASE_SEC", 1.0)
        before = time.monotonic()
        with Lease(run, Console()):
            assert time.monotonic() - before >= claim.LEASE_SEC
        assert (
            "elsewhere had the run r and has not given it back: waiting" in capsys.readouterr().out
        )


def test_a_run_whose_search_was_killed_on_this_machine_is_taken_at_once(
    run: RunStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(run, claim._machine()) as holder:
        holder.kill()
        with Lease(run, Console()):
            assert is_there(run)
    assert capsys.readouterr().out == ""


def test_a_lease_that_is_given_back_is_had_at_once(
    run: RunStorage, capsys: pytest.CaptureFixture[str]
) -> None:
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
    monkeypatch.setattr(claim, "SETTLE_SEC", 0.0)
    have_looked, have_written = threading.Barrier(4), threading.Barrier(4)
    taken, refused = [], []

    def come() -> None:
        mine = Lease(run, Console())
        write = mine._write

        def write_with_the_others() -> None:
            mine._write = write  # type: ignore[method-assign]
            have_looked.wait()
            write()
            have_written.wait()

        mine._write = write_with_the_others  # type: ignore[method-assign]
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
    monkeypatch.setattr(claim.time, "sleep", interrupted)
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


def test_a_bucket_that_answers_nothing_when_a_lease_is_to_be_renewed_leaves_it_with_its_owner(
    service: Service, run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "LEASE_SEC", 0.0)
    with Lease(run, Console()) as mine:
        before = owner(run)
        service.trouble = BUSY
        try:
            until(lambda: lease_path(run) in {path[1:] for path in service.turned_away})
            with pytest.raises(OSError, match=r"."):
                mine.confirm()
        finally:
            service.trouble = ""
        until(lambda: owner(run)["renewal"] != before["renewal"])
        assert owner(run)["id"] == before["id"]
        mine.confirm()
    assert not is_there(run)


def test_a_lease_that_was_taken_over_is_not_given_back_for_the_other(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "RENEW_SEC", 600.0)
    with pytest.raises(TakenError, match="process 1 on elsewhere now"), Lease(run, Console()):
        take_over(run)
    assert owner(run)["host"] == "elsewhere"
