"""The real `ray up -y cluster.yaml` up to the head's launch, against moto's AWS in a lone network.

This file is also what runs in that network.
"""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.cluster.hosts import ROOT, SYSTEM_PATH, missing
from tests.waiting import until

MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

PORT = 5000
BIN = Path(sys.executable).parent
REGION = "us-west-2"
OUTSIDE = ("198.51.100.1", 22)
LAUNCH_SEC = 180


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What AWS has after the launch."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("0" * 64)
    nowhere = (
        "unshare --net --pid --fork --mount-proc --kill-child"  # all ends with the first process
    )
    done = subprocess.run(
        [*nowhere.split(), sys.executable, "-m", "tests.cluster.test_aws"],
        cwd=ROOT,
        env={
            "HOME": str(home),
            "TMPDIR": str(home),
            "PATH": f"{BIN}:{SYSTEM_PATH}",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
            "AWS_ACCESS_KEY_ID": "moto's",
            "AWS_SECRET_ACCESS_KEY": "moto's",
            "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * LAUNCH_SEC,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_no_packet_could_leave(launched: dict[str, Any]) -> None:
    assert launched["outside"] == "[Errno 101] Network is unreachable"


def test_the_head_alone_is_launched_as_the_file_says(launched: dict[str, Any]) -> None:
    (head,) = launched["instances"]
    assert head["InstanceType"] == "m7i.xlarge"
    assert "SpotInstanceRequestId" not in head
    tags = {tag["Key"]: tag["Value"] for tag in head["Tags"]}
    assert tags["ray-cluster-name"] == "transform-tuner"
    assert tags["ray-node-type"] == tags["ray-user-node-type"] == "head"
    assert head["IamInstanceProfile"]["Arn"].endswith("/ray-autoscaler-v1")


def test_its_security_group_opens_ssh_and_nothing_else(launched: dict[str, Any]) -> None:
    (group,) = launched["groups"]
    (head,) = launched["instances"]
    assert [of_head["GroupId"] for of_head in head["SecurityGroups"]] == [group["GroupId"]]
    opened = [rule for rule in group["IpPermissions"] if rule["IpRanges"] or rule.get("Ipv6Ranges")]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in opened] == [
        ("tcp", 22, 22)
    ]
    among_nodes = [
        pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]
    ]
    assert among_nodes == [group["GroupId"]]


def test_the_key_that_ray_made_stays_here_and_is_read_by_nobody_else(
    launched: dict[str, Any],
) -> None:
    (head,) = launched["instances"]
    assert launched["keys"] == {f"{head['KeyName']}.pem": 0o600}


def launch() -> dict[str, Any]:
    """In the network: bring moto and `ray up`, and look what there is once there is a head."""
    subprocess.run("ip link set lo up", shell=True, check=True)
    subprocess.Popen(
        [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(PORT)], stderr=subprocess.DEVNULL
    )
    until(lambda: reached(("127.0.0.1", PORT)) is None, "moto's server does not start", LAUNCH_SEC)
    log = Path.home() / "ray-up"
    with log.open("w") as file:
        up = subprocess.Popen([BIN / "ray", "up", "-y", "cluster.yaml"], stdout=file, stderr=file)
    ec2 = boto3.client("ec2", region_name=REGION)
    until(lambda: instances(ec2) or up.poll() is not None, "there is no head", LAUNCH_SEC)
    if not instances(ec2):
        sys.exit(
            f"`ray up` ended with status {up.poll()} before it launched a head:\n{log.read_text()}"
        )
    groups = [
        group
        for group in ec2.describe_security_groups()["SecurityGroups"]
        if group["GroupName"] != "default"
    ]
    return {
        "instances": instances(ec2),
        "groups": groups,
        "keys": {
            path.name: path.stat().st_mode & 0o777 for path in (Path.home() / ".ssh").glob("*.pem")
        },
        "outside": reached(OUTSIDE),
    }


def instances(ec2: Any) -> list[dict[str, Any]]:
    return [
        one
        for reservation in ec2.describe_instances()["Reservations"]
        for one in reservation["Instances"]
    ]


def reached(address: tuple[str, int]) -> str | None:
    """What comes in the way of a connection; None when there is one."""
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError as error:
        return str(error)
    return None


if __name__ == "__main__":
    print(json.dumps(launch(), default=str))
