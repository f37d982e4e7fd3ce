"""Slurm of Debian's packages, on hosts of this machine: one controls, jobs run on the others."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import hosts
from tests.cluster.hosts import SHARED, SYSTEM_PATH, Host, fake_hosts
from tests.waiting import until

DEBIAN_PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
}
CONFIG = SHARED / "slurm.conf"

# Without control groups, and with one core a node. A job that is queued again starts after 10 s,
# not after 2 to 3 min
SETTINGS = """
ClusterName=test
SlurmctldHost={controller.name}({controller.address})
SlurmUser=root
AuthInfo=cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SchedulerParameters=sched_interval=2,bf_interval=2
StateSaveLocation=/tmp/slurmctld
SlurmdSpoolDir=/tmp/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/tmp/slurmctld.log
SlurmdLogFile=/tmp/slurmd.log
{nodes}
PartitionName=all Nodes=ALL Default=YES State=UP
"""
# As on Debian, a host's own name is 127.0.1.1; nobody is asked for the others
NAMES = "127.0.0.1 localhost\n127.0.1.1 {host.name}\n"
MUNGE = "munged --force " + " ".join(
    f"--{kind}-file=/root/munge.{kind}" for kind in ("key", "log", "seed")
)


def missing() -> str | None:
    """Why there can be no Slurm here; None if there can."""
    path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
    packages = [
        package
        for program, package in DEBIAN_PACKAGES.items()
        if not shutil.which(program, path=path)
    ]
    return hosts.missing() or (f"needs Debian's {', '.join(packages)}" if packages else None)


@dataclass(frozen=True)
class Slurm:
    """A cluster that takes jobs."""

    controller: Host
    shared: Path
    """SHARED as it is seen from here."""

    def run(self, command: str) -> str:
        """Run a command in the shared directory; its output."""
        code, output = self.controller.run(f"cd {SHARED} && SLURM_CONF={CONFIG} {command}")
        assert code == 0, output
        return output

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job, by Slurm's names."""
        shown = self.run(f"scontrol --oneliner show job {number}")
        return dict(part.partition("=")[::2] for part in shown.split())


@contextmanager
def slurm(directory: Path, nodes: int) -> Iterator[Slurm]:
    """A controller and so many nodes, all of which are gone afterwards."""
    with fake_hosts(directory, nodes + 1) as (controller, *workers):
        shared = directory / "shared"
        lines = [f"NodeName={host.name} NodeAddr={host.address} CPUs=1" for host in workers]
        settings = SETTINGS.format(controller=controller, nodes="\n".join(lines))
        (shared / CONFIG.name).write_text(settings)
        key = os.urandom(64)
        for host in (controller, *workers):
            (host.home / "hosts").write_text(NAMES.format(host=host))
            (host.home / "munge.key").touch(mode=0o600)
            (host.home / "munge.key").write_bytes(key)
            daemon = "slurmctld -i" if host is controller else f"slurmd -N {host.name}"
            code, output = host.run(
                f"mount --bind /root/hosts /etc/hosts && mkdir -m 755 /run/munge && {MUNGE} && "
                f"mkdir -p /tmp/slurmctld && SLURM_CONF={CONFIG} {daemon}"
            )
            assert code == 0, output
        cluster = Slurm(controller, shared)
        until(lambda: cluster.run("sinfo -h -t idle -o %D").strip() == str(nodes))
        yield cluster
