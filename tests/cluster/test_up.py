"""The project's own cluster of three hosts: brought up by `ray up`, searched on, taken down."""

import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import pytest

from analysis.tables.files import read
from tests.cluster.conftest import FILE, Cluster, succeeds
from tests.cluster.hosts import SHARED, fake_hosts, missing
from tests.waiting import until

MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

COUNT_NODES = (
    "import ray; ray.init('auto', log_to_driver=False); "
    "print('nodes:', sum(n['Alive'] for n in ray.nodes()))"
)
JOIN = "import sys, ray; ray.init(sys.argv[1]); print('joined')"
ASK_JOBS_API = """
import os, sys, urllib.error, urllib.request
request = urllib.request.Request("http://" + sys.argv[1] + "/api/jobs/")
if token := os.environ.get("RAY_AUTH_TOKEN"):
    request.add_header("Authorization", "Bearer " + token)
try:
    print("status:", urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print("status:", error.code)
except urllib.error.URLError as error:
    print("status:", error.reason)
"""


def test_hosts_leave_nothing_behind(tmp_path: Path) -> None:
    with fake_hosts(tmp_path, 1) as (host,):
        succeeds(host, "setsid sleep 1000 &")
        until(lambda: "sleep 1000" in host.processes(), "no process was started")
    assert not host.processes()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert not list(Path("/sys/class/net").glob(f"tt{os.getpid()}*"))


@pytest.fixture(scope="module")
def uninvited(cluster: Cluster) -> Iterator[Path]:
    """What those print who try to join without the token, for 20 s; others test meanwhile."""
    join = f"python -c {quote(JOIN)} {cluster.head.address}:6379"
    without = f"RAY_AUTH_MODE=disabled {join}"
    guessed = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN=guessed {join}"
    printed = cluster.person.directory / "uninvited"
    trying = cluster.person.start(
        f"({without} & {guessed} & wait; echo both have given up)", printed
    )
    yield printed
    trying.kill()
    trying.wait()


@pytest.mark.usefixtures("uninvited")
def test_all_hosts_join(cluster: Cluster) -> None:
    count = f'RAY_AUTH_MODE=token python -c "{COUNT_NODES}"'
    until(
        lambda: "nodes: 3" in cluster.head.run(count)[1], "not all hosts have joined", timeout=240
    )


def test_a_search_runs_on_the_workers(cluster: Cluster) -> None:
    search = (
        "python -m tuner.run --address auto --model separable --data photos --samples 2 "
        "--max-epochs 2 --images 2000 --timing none --wandb disabled --name first "
        f"--storage {SHARED}"
    )
    succeeds(cluster.person, f"ray exec {FILE} 'cd transform-tuner && {search}'", timeout=240)
    trials = read(cluster.shared / "tables", "trials", "first")
    assert len(trials) == 2
    assert trials["best_validation_loss"].notna().all()


def test_nobody_joins_without_the_token_and_is_told_why(cluster: Cluster, uninvited: Path) -> None:
    until(lambda: "both have given up" in uninvited.read_text(), "Ray tries for longer than 20 s")
    assert uninvited.read_text().count("AuthenticationError") >= 2
    assert "joined" not in uninvited.read_text()
    join = f"python -c {quote(JOIN)} {cluster.head.address}:6379"
    assert "joined" in succeeds(cluster.head, f"RAY_AUTH_MODE=token {join}")


def test_the_jobs_api_asks_for_the_token(cluster: Cluster) -> None:
    ask = f"python -c {quote(ASK_JOBS_API)} 127.0.0.1:8265"
    assert "status: 401" in succeeds(cluster.head, ask)
    assert "status: 403" in succeeds(cluster.head, f"RAY_AUTH_TOKEN=guessed {ask}")
    assert "status: 200" in succeeds(cluster.head, f"RAY_AUTH_TOKEN=$(cat ~/.ray/auth_token) {ask}")


def test_the_dashboard_is_on_no_address_but_the_heads_own(cluster: Cluster) -> None:
    assert "Connection refused" in succeeds(
        cluster.person, f"python -c {quote(ASK_JOBS_API)} {cluster.head.address}:8265"
    )
