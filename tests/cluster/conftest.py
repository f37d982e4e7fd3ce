"""A cluster of three hosts on this machine, brought up with the real `ray up`, and the machine of a person."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import pytest
import yaml

from tests.cluster.hosts import ROOT, Host, fake_hosts
from tests.waiting import until

FILE = "~/onprem.yaml"
SSH = "ssh -i ~/.ssh/id -o StrictHostKeyChecking=accept-new"


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
    own_networks = f"echo export PYTHONPATH={quote(str(ROOT / 'tests' / 'tuner'))} >> ~/.bashrc"
    link = f"ln -sfn {quote(sys.prefix)} ~/transform-tuner/.venv"
    config["setup_commands"] = [link, own_networks, config["setup_commands"][-1]]
    return yaml.safe_dump(config)


def succeeds(host: Host, command: str, timeout: float = 60) -> str:
    code, output = host.run(command, timeout)
    assert code == 0, output
    return output


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("hosts")
    with fake_hosts(directory, 4) as (person, head, *workers):
        (person.home / "onprem.yaml").write_text(
            edited(head.address, [worker.address for worker in workers])
        )
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
