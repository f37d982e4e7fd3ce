"""Three hosts on this machine, brought up once with the real `ray up`, and a person's machine."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import pytest
import yaml

from tests.cluster.hosts import ROOT, SHARED, Host, fake_hosts
from tests.tuner.gated_network import GATE, Gate
from tests.waiting import until

FILE = "~/onprem.yaml"
HEALTH = {  # a node without an answer is given up after 12 s, instead of 24
    "RAY_health_check_timeout_ms=5000": "RAY_health_check_timeout_ms=3000",
    "RAY_health_check_failure_threshold=3": (
        "RAY_health_check_failure_threshold=3 RAY_health_check_period_ms=1000"
    ),
}
SSH = "ssh -i ~/.ssh/id -o StrictHostKeyChecking=accept-new"


@dataclass(frozen=True)
class Cluster:
    """The hosts of `ray up`, and the machine at which a person sits."""

    person: Host
    head: Host
    workers: list[Host]
    shared: Path
    """SHARED as it is seen from here."""

    @property
    def gate(self) -> Gate:
        """For the networks that wait at it."""
        return Gate(self.shared / "gate")


def edited(head: str, workers: list[str]) -> str:
    """clusters/onprem.yaml with what a person fills in.

    The hosts share this machine's virtual environment instead of installing one.
    """
    config = yaml.safe_load((ROOT / "clusters" / "onprem.yaml").read_text())
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": "~/.ssh/id"}
    own_networks = quote(str(ROOT / "tests" / "tuner"))
    gate = f"echo export PYTHONPATH={own_networks} {GATE}={SHARED}/gate >> ~/.bashrc"
    link = f"ln -sfn {quote(sys.prefix)} ~/transform-tuner/.venv"
    config["setup_commands"] = [link, gate, config["setup_commands"][-1]]
    text = yaml.safe_dump(config, width=10_000)
    for asked, here in HEALTH.items():
        assert asked in text
        text = text.replace(asked, here)
    return text


def succeeds(host: Host, command: str, timeout: float = 60) -> str:
    code, output = host.run(command, timeout)
    assert code == 0, output
    return output


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("hosts")
    with fake_hosts(directory, 4) as (person, head, *workers):
        (person.home / "onprem.yaml").write_text(
            edited(head.address, [worker.address for worker in workers])
        )
        (directory / "shared" / "gate").mkdir()
        succeeds(person, "ray get-auth-token --generate")
        succeeds(person, f"ray up -y {FILE}", timeout=150)
        yield Cluster(person, head, workers, directory / "shared")
        succeeds(person, f"ray down -y {FILE}")
        # `ray down` stops the head only; the README's line stops the workers
        stop = [
            f"{SSH} root@{worker.address} transform-tuner/.venv/bin/ray stop" for worker in workers
        ]
        succeeds(person, f"({' & '.join(stop)} & wait)")
        for host in (head, *workers):
            until(lambda host=host: not host.processes(), f"Ray goes on at {host.address}")
