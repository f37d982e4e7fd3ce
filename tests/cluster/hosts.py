"""Several hosts on this one machine, for the real `ray up`.

Each has an address, processes, a name, sshd, /root, /tmp, /run and /dev/shm of its own, and /srv is
one directory that all of them share; the rest of the file system is this machine's. Nothing leads
out of their network. All of that lies in namespaces that end with their last process, except a
bridge between the hosts.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from tests.paths import ROOT
from tests.waiting import until

DEBIAN_PACKAGES = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "ip": "iproute2",
}
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
OWN = ("/root", "/tmp")
SHARED = Path("/srv")
SETS = iter("abcdefgh")  # of hosts that one test process has had

SSHD_CONFIG = """
HostKey /root/.ssh/id
AuthorizedKeysFile /root/.ssh/id.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
"""


def missing() -> str | None:
    """Why there can be no such hosts here; None if there can."""
    if not shutil.which("unshare") or subprocess.call(
        "unshare --net --pid --mount --uts true 2>/dev/null", shell=True
    ):
        return "needs Linux, root, and the right to make namespaces"
    path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
    packages = [
        package
        for program, package in DEBIAN_PACKAGES.items()
        if not shutil.which(program, path=path)
    ]
    return f"needs Debian's {', '.join(packages)}" if packages else None


@dataclass(frozen=True)
class Host:
    """One of them; `init` is its first process, with which everything in it ends."""

    address: str
    directory: Path
    card: str
    """Its end of the bridge."""
    init: int
    network: int

    @property
    def name(self) -> str:
        """As it calls itself."""
        return self.directory.name

    @property
    def home(self) -> Path:
        """What is /root there, as it is seen from here."""
        return self.directory / "root"

    def start(self, command: str, output: Path) -> subprocess.Popen[bytes]:
        """Start a shell command there in the checkout; output to a file, since ssh holds pipes."""
        enter = ["nsenter", f"--target={self.init}", "--net", "--pid", "--mount", "--uts"]
        there = ["env", "-i", "HOME=/root", f"PATH={sys.prefix}/bin:{SYSTEM_PATH}", "bash", "-c"]
        line = [*enter, *there, f"cd {quote(str(ROOT))} && {command}"]
        with output.open("w") as file:
            return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def run(self, command: str, timeout: float = 60) -> tuple[int, str]:
        """Run a shell command there in the checkout; its exit status and output."""
        output = self.directory / "output"
        process = self.start(command, output)
        try:
            return process.wait(timeout), output.read_text()
        finally:
            process.kill()

    def cut(self) -> None:
        """Take the cable out."""
        _ip(f"link set {self.card} down")

    def join(self) -> None:
        """Put the cable in."""
        _ip(f"link set {self.card} up")

    def kill_everything(self) -> None:
        """As when a spot instance is taken away and a new one comes under the same address."""
        for number in self._running():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def processes(self) -> list[str]:
        """The command line of everything that runs there, but the host's own two."""
        return [line for line in map(_command_line, self._running()) if line]

    def _running(self) -> list[int]:
        inside = [number for number in _numbers() if _network(number) == self.network]
        return [
            n
            for n in inside
            if not any(own in _command_line(n) for own in ("/usr/sbin/sshd", "sshd:"))
        ]


@contextmanager
def fake_hosts(directory: Path, count: int) -> Iterator[list[Host]]:
    """So many hosts with the same ssh key; all of it is gone afterwards."""
    number = os.getpid()
    with ExitStack() as stack:
        bridge = f"tt{number}{next(SETS)}"
        _ip(f"link add {bridge} type bridge")
        stack.callback(_ip, f"link delete {bridge}")
        _ip(f"link set {bridge} up")
        (directory / "shared").mkdir(parents=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "id"], check=True
        )
        yield [
            stack.enter_context(
                _host(directory, f"h{place}", f"10.78.{number % 256}.{place}", bridge)
            )
            for place in range(1, count + 1)
        ]


@contextmanager
def _host(directory: Path, name: str, address: str, bridge: str) -> Iterator[Host]:
    own = directory / name
    keys = own / "root" / ".ssh"
    keys.mkdir(parents=True)
    (own / "tmp").mkdir()
    (own / "root" / ".bashrc").touch()
    (keys / "sshd_config").write_text(SSHD_CONFIG)
    for file in ("id", "id.pub"):
        shutil.copy(directory / file, keys)
    # Ends with us
    namespaces = "setpriv --pdeathsig=KILL unshare --net --pid --fork --mount --uts --kill-child"
    with (own / "log").open("w") as log:
        process = subprocess.Popen(
            [*namespaces.split(), "bash", "-euc", _boot(own, name, address, directory / "shared")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"HOME": "/root", "PATH": SYSTEM_PATH},
        )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: children.read_text(), f"{name} does not start")
    init = int(children.read_text())
    card = f"{bridge}{name}"
    host = Host(address, own, card, init, os.stat(f"/proc/{init}/ns/net").st_ino)
    try:
        _ip(f"link add {card} master {bridge} type veth peer name eth0 netns {host.init}")
        _ip(f"link set {card} up")
        until(lambda: "Server listening" in (own / "log").read_text(), f"{name} has no sshd")
        yield host
    finally:
        with suppress(ProcessLookupError):
            os.kill(host.init, signal.SIGKILL)
        process.wait()
        until(
            lambda: host.network not in map(_network, _numbers()),
            f"{name} has processes that do not end",
        )
        until(
            lambda: not Path(f"/sys/class/net/{card}").exists(),
            f"{name} leaves its network card behind",
        )


def _boot(own: Path, name: str, address: str, shared: Path) -> str:
    """What the first process does: the host's own directories, the network, sshd."""
    needed = {Path(sys.base_prefix), Path(sys.prefix), ROOT}
    lines = ["mount --make-rprivate /", "mount -t proc proc /proc", f"hostname {name}"]
    for hidden in OWN:
        new = own / hidden.strip("/")
        for path in sorted(path for path in needed if path.is_relative_to(hidden)):
            place = quote(str(new / path.relative_to(hidden)))
            lines += [f"mkdir -p {place}", f"mount --rbind {quote(str(path))} {place}"]
    lines += [f"mount --bind {quote(str(shared))} {SHARED}"]
    lines += [f"mount --rbind {quote(str(own / hidden.strip('/')))} {hidden}" for hidden in OWN]
    lines += ["mount -t tmpfs tmpfs /dev/shm", "mount -t tmpfs tmpfs /run", "mkdir /run/sshd"]
    lines += ["until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done", "ip link set lo up"]
    # The default route leads nowhere; Ray finds out its address by it
    lines += [
        f"ip address add {address}/24 dev eth0",
        "ip link set eth0 up",
        "ip route add default dev eth0",
    ]
    return "\n".join([*lines, "exec /usr/sbin/sshd -D -e -f /root/.ssh/sshd_config"])


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, env={"PATH": SYSTEM_PATH})


def _numbers() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _network(process: int) -> int | None:
    """Which network a process is in; None when it is gone."""
    try:
        return os.stat(f"/proc/{process}/ns/net").st_ino
    except OSError:
        return None


def _command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
