"""The project's own cluster of three hosts, brought up with the real `ray up`, searched on, and taken down."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import pytest
import yaml

from analysis.tables import read
from tests.cluster.hosts import ROOT, SHARED, Host, fake_hosts, missing, until

MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

FILE = "~/onprem.yaml"
SSH = "ssh -i ~/.ssh/id -o StrictHostKeyChecking=accept-new"
COUNT_NODES = "import ray; ray.init('auto', log_to_driver=False); print('nodes:', sum(n['Alive'] for n in ray.nodes()))"
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


@dataclass(frozen=True)
class Cluster:
    """The hosts of `ray up`, and the machine at which a person sits."""

    person: Host
    head: Host
    workers: list[Host]
    shared: Path


def edited(head: str, workers: list[str]) -> str:
    """clusters/onprem.yaml with what a person fills in.

    The hosts share this machine's virtual environment instead of installing one.
    """
    config = yaml.safe_load((ROOT / "clusters" / "onprem.yaml").read_text())
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": "~/.ssh/id"}
    config["setup_commands"] = [f"ln -sfn {quote(sys.prefix)} ~/transform-tuner/.venv", config["setup_commands"][-1]]
    return yaml.safe_dump(config)


def succeeds(host: Host, command: str, timeout: float = 60) -> str:
    code, output = host.run(command, timeout)
    assert code == 0, output
    return output


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("hosts")
    with fake_hosts(directory, 4) as (person, head, *workers):
        (person.home / "onprem.yaml").write_text(edited(head.address, [worker.address for worker in workers]))
        succeeds(person, "ray get-auth-token --generate")
        succeeds(person, f"ray up -y {FILE}", timeout=150)
        yield Cluster(person, head, workers, directory / "shared")
        succeeds(person, f"ray down -y {FILE}")
        # `ray down` stops the head only; the README's line stops the workers
        stop = [f"{SSH} root@{worker.address} transform-tuner/.venv/bin/ray stop" for worker in workers]
        succeeds(person, f"({' & '.join(stop)} & wait)")
        for host in (head, *workers):
            until(lambda host=host: not host.processes(), f"Ray goes on at {host.address}")


def test_hosts_leave_nothing_behind(tmp_path: Path) -> None:
    with fake_hosts(tmp_path, 1) as (host,):
        succeeds(host, "setsid sleep 1000 &")
        until(lambda: "sleep 1000" in host.processes(), "no process was started")
    assert not host.processes()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert not list(Path("/sys/class/net").glob(f"tt{os.getpid()}*"))


def test_all_hosts_join(cluster: Cluster) -> None:
    count = f'RAY_AUTH_MODE=token python -c "{COUNT_NODES}"'
    until(lambda: "nodes: 3" in cluster.head.run(count)[1], "not all hosts have joined", timeout=120)


def test_a_search_runs_on_the_workers(cluster: Cluster) -> None:
    search = (
        "python -m tuner.run --address auto --model separable --data photos --samples 2 --max-epochs 2 --images 2000 "
        f"--timing none --wandb disabled --name first --storage {SHARED}"
    )
    succeeds(cluster.person, f"ray exec {FILE} 'cd transform-tuner && {search}'", timeout=180)
    trials = read(cluster.shared / "tables", "trials", "first")
    assert len(trials) == 2
    assert trials["best_validation_loss"].notna().all()


def test_nobody_joins_without_the_token_and_is_told_why(cluster: Cluster) -> None:
    join = f"python -c {quote(JOIN)} {cluster.head.address}:6379"
    without, guessed = f"RAY_AUTH_MODE=disabled {join}", f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN=guessed {join}"
    _, output = cluster.person.run(f"({without} & {guessed} & wait)")  # at once: Ray tries for 20 s
    assert output.count("AuthenticationError") >= 2
    assert "joined" not in output
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
