"""A run in a bucket has one search at a time, and its lease is never left behind for long."""

import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from analysis.console import Console
from analysis.tables.bucket import TakenError
from tests.tuner.bucket_service import BUSY, Service
from tests.tuner.storage.leases import is_there, lease_path, owner, take_over, write_lease
from tests.waiting import until
from trainables.errors import UsageError
from tuner.storage import claim, guarded_object
from tuner.storage.claim import Lease, Owner
from tuner.storage.run_storage import RunStorage

PATIENCE_SEC = 600.0  # in which whoever lives has renewed a lease, however slow this machine is


@pytest.fixture
def run(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStorage:
    """A run of its own, whose lease is renewed and watched often."""
    # One for all, which has read what describes S3 by then: 0.01 s a client instead of 0.1
    monkeypatch.setattr(guarded_object, "Session", cache(guarded_object.Session))
    for name, sec in {
        "LEASE_SEC": PATIENCE_SEC,
        "RENEW_SEC": 0.1,
        "WATCH_SEC": 0.05,
        "SETTLE_SEC": 0.2,
    }.items():
        monkeypatch.setattr(claim, name, sec)
    return RunStorage(f"s3://searches/{tmp_path.name}?{service.options}", "r")


Careless = Callable[[str], None]


@pytest.fixture
def careless(service: Service) -> Iterator[Careless]:
    """Makes the service one that does not hold conditions."""
    yield lambda conditions: setattr(service, "conditions", conditions)
    service.conditions = "held"


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


def test_a_profile_that_is_not_there_is_told(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    monkeypatch.setattr(guarded_object, "Session", guarded_object.Session.__wrapped__)
    with pytest.raises(UsageError, match=r"can't be used \(.*nobodys.*\): try again"):
        Lease(run, Console())


def race(run: RunStorage, count: int, *, until_all_have_written: bool = False) -> tuple[int, int]:
    """Let several take the run, each of which has seen it free before any writes.

    Returns how many have it, and how many are refused.
    """
    have_looked, have_written = threading.Barrier(count), threading.Barrier(count)
    taken: list[Lease] = []
    refused: list[str] = []

    def come(mine: Lease) -> None:
        write = mine._write

        def write_with_the_others(version: str | None) -> bool:
            mine._write = write  # type: ignore[method-assign]
            have_looked.wait()
            was_written = write(version)
            if until_all_have_written:
                have_written.wait()
            return was_written

        mine._write = write_with_the_others  # type: ignore[method-assign]
        try:
            taken.append(mine.__enter__())
        except UsageError as error:
            refused.append(str(error))

    leases = [Lease(run, Console()) for _ in range(count)]
    threads = [threading.Thread(target=come, args=[lease]) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lease in taken:
        lease.__exit__()
    assert all("is being searched by another process" in sentence for sentence in refused)
    return len(taken), len(refused)


def test_of_two_that_come_at_once_one_has_the_run_two_hundred_times(
    run: RunStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Counter(race(RunStorage(run.storage, f"r{number}"), 2) for number in range(200))
    assert results == {(1, 1): 200}
    assert capsys.readouterr().out == ""


def test_of_two_that_find_a_dead_ones_lease_at_once_one_has_the_run(
    run: RunStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(run, claim._machine()) as holder:
        holder.kill()
        left = owner(run)
        results = []
        for number in range(25):
            another = RunStorage(run.storage, f"r{number}")
            write_lease(another, left)
            results.append(race(another, 2))
    assert results == [(1, 1)] * 25
    assert capsys.readouterr().out == ""


PROCESS = """
import sys
from analysis.console import Console
from trainables.errors import UsageError
from tuner.storage import claim
from tuner.storage.run_storage import RunStorage

claim.RENEW_SEC = claim.WATCH_SEC = 0.1
out, sys.stdout = sys.stdout, sys.stderr  # where the lease says that it waits
print("ready", file=out, flush=True)
sys.stdin.readline()
taken = []
for number in range(10):
    try:
        claim.Lease(RunStorage(sys.argv[1], f"r{number}"), Console()).__enter__()
        taken.append(number)
    except UsageError:
        pass
print(*taken, file=out, flush=True)
sys.stdin.readline()
"""


def test_of_two_processes_that_come_at_once_one_has_the_run(run: RunStorage) -> None:
    command = [sys.executable, "-c", PROCESS, run.storage]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as one,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other,
    ):
        taken = []
        for process in (one, other):
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            print(file=process.stdin, flush=True)
        for process in (one, other):
            assert process.stdout
            taken += process.stdout.readline().split()
        for process in (one, other):
            process.kill()
    assert sorted(map(int, taken)) == list(range(10))


@pytest.mark.parametrize("conditions", ["ignored", "501 Not Implemented", "400 Bad Request"])
def test_without_conditions_one_of_several_has_the_run_by_looking_again_and_it_is_told(
    run: RunStorage, careless: Careless, conditions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    careless(conditions)
    assert race(run, 4, until_all_have_written=True) == (1, 3)
    told = f"the service of s3://{lease_path(run)} does not know If-None-Match: if the run r is"
    assert told in capsys.readouterr().out
    assert not is_there(run)


@pytest.mark.parametrize("writing", [1, 2])
def test_a_search_that_is_interrupted_while_it_takes_the_run_leaves_no_lease(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch, writing: int
) -> None:
    mine, calls = Lease(run, Console()), []
    real = mine._write

    def interrupted(version: str | None) -> bool:
        calls.append(real(version))
        if len(calls) == writing:
            assert is_there(run)
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(mine, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine.__enter__()
    assert len(calls) == writing
    assert not is_there(run)


def test_a_search_that_is_interrupted_when_another_took_the_run_leaves_that_ones_lease(
    run: RunStorage, careless: Careless, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(sec: float) -> None:
        take_over(run)
        raise KeyboardInterrupt

    careless("ignored")
    mine = Lease(run, Console())
    monkeypatch.setattr(claim.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine.__enter__()
    assert owner(run)["host"] == "elsewhere"


def test_a_renewal_or_a_giving_back_that_comes_late_leaves_the_others_lease(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "RENEW_SEC", PATIENCE_SEC)
    mine = Lease(run, Console()).__enter__()
    before = mine._own_version()
    assert before
    take_over(run)
    assert not mine._write(before)
    assert not mine._object.delete(before)
    with pytest.raises(TakenError, match="process 1 on elsewhere now"):
        mine.__exit__()
    assert owner(run)["host"] == "elsewhere"


def test_a_lease_that_a_person_deleted_is_written_again(run: RunStorage) -> None:
    with Lease(run, Console()) as mine:
        run.experiment.files.delete_file(lease_path(run))
        until(lambda: is_there(run))
        mine.confirm()


def test_a_renewal_that_fails_in_whatever_way_is_tried_again(
    run: RunStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lease(run, Console()) as mine:
        failures, real = (
            iter([ValueError("of pyarrow"), RuntimeError("of whatever else")]),
            mine._write,
        )

        def failing(version: str | None) -> bool:
            for failure in failures:
                raise failure
            return real(version)

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
