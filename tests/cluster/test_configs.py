"""The three cluster files: what Ray makes of them, and what holds for each."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.paths import ROOT

FILES = ("cluster.yaml", "clusters/onprem.yaml", "clusters/gcp.yaml")
CLOUDS = ("cluster.yaml", "clusters/gcp.yaml")
RAYS_ROLE = "ray-autoscaler-v1"
SHARED_KEYS = (
    "file_mounts",
    "rsync_exclude",
    "setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
EACH_FILE = pytest.mark.parametrize("file", FILES)
EACH_CLOUD = pytest.mark.parametrize("file", CLOUDS)


def config(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())
    return loaded


def commands(file: str) -> list[str]:
    """Everything that is run on a node."""
    return [
        command
        for key, lines in config(file).items()
        if key.endswith("_commands")
        for command in lines
    ]


@EACH_FILE
def test_ray_takes_the_file(file: str) -> None:
    validate_config(prepare_config(config(file)))


@pytest.mark.parametrize("key", SHARED_KEYS)
def test_all_three_set_up_and_start_nodes_alike(key: str) -> None:
    assert (
        config("cluster.yaml")[key]
        == config("clusters/onprem.yaml")[key]
        == config("clusters/gcp.yaml")[key]
    )


@EACH_FILE
def test_whatever_is_installed_is_pinned_and_as_the_constraints_say(file: str) -> None:
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    installs = [command for command in commands(file) if "pip install" in command]
    assert installs
    for command in installs:
        assert "--constraint constraints.txt" in command
        for name, version in re.findall(r"([\w-]+)==([\w.]+)", command):
            assert pinned.get(name, version) == version


@EACH_FILE
def test_python_is_pinned_to_one_that_the_project_takes(file: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (version,) = re.findall(r"--python (\d+\.\d+\.\d+)", " ".join(commands(file)))
    least = project["requires-python"].removeprefix(">=")
    assert version.startswith(f"{least}.")


@EACH_FILE
def test_nodes_get_what_an_installation_needs_and_the_token_and_nothing_else(file: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {pattern.removesuffix("*") for pattern in found}
    read = {project["project"]["readme"], *project["project"]["license-files"]}
    needed = {*packages, "pyproject.toml", "constraints.txt", *read}
    assert config(file)["file_mounts"] == {
        "~/.ray/auth_token": "~/.ray/auth_token",
        **{f"~/transform-tuner/{name}": name for name in needed},
    }
    assert config(file)["rsync_exclude"] == ["__pycache__"]


@EACH_FILE
def test_ray_never_starts_without_the_token(file: str) -> None:
    starts = [command for command in commands(file) if "ray start" in command]
    assert len(starts) == 2
    for start in starts:
        assert re.search(r"RAY_AUTH_MODE=token (\w+=\w+ )*ray start ", start)
        assert start.startswith("chmod 600 ~/.ray/auth_token;")


@EACH_FILE
def test_the_dashboard_listens_on_the_loopback_only(file: str) -> None:
    (head,) = [
        command for command in config(file)["head_start_ray_commands"] if "ray start" in command
    ]
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in (ROOT / file).read_text()


@EACH_FILE
def test_the_head_trains_nothing(file: str) -> None:
    (head,) = [
        command for command in config(file)["head_start_ray_commands"] if "ray start" in command
    ]
    assert "--num-cpus=0" in head


@EACH_CLOUD
def test_gpu_workers_come_from_none_when_trials_ask_and_can_be_taken_away(file: str) -> None:
    loaded = config(file)
    head, workers = loaded["available_node_types"]["head"], loaded["available_node_types"]["gpu"]
    assert loaded["head_node_type"] == "head"
    assert head["resources"] == {"CPU": 0}
    assert workers["resources"]["GPU"] >= 1
    assert workers["min_workers"] == 0 < workers["max_workers"] == loaded["max_workers"]
    assert "spot" in str(workers["node_config"]).lower()


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto's AWS, in which Ray finds the head's role as after a first `ray up`."""
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps the key pair there
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "moto's")
    with mock_aws():
        iam = boto3.client("iam")
        iam.create_role(RoleName=RAYS_ROLE, AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName=RAYS_ROLE)
        iam.add_role_to_instance_profile(InstanceProfileName=RAYS_ROLE, RoleName=RAYS_ROLE)
        yield


@pytest.mark.usefixtures("aws")
def test_aws_launches_both_kinds_of_node_and_opens_ssh_and_nothing_else() -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    ready = AWSNodeProvider.bootstrap_config(prepare_config(config("cluster.yaml")))
    provider = AWSNodeProvider(ready["provider"], ready["cluster_name"])
    for node_type in ready["available_node_types"].values():
        provider.create_node(node_type["node_config"], {}, 1)
    ec2 = boto3.resource("ec2", region_name=ready["provider"]["region"])
    assert sorted(instance.instance_type for instance in ec2.instances.all()) == [
        "g6.2xlarge",
        "m7i.xlarge",
    ]
    (group,) = {
        group["GroupId"] for instance in ec2.instances.all() for group in instance.security_groups
    }
    among_nodes, ssh = ec2.SecurityGroup(group).ip_permissions
    assert [pair["GroupId"] for pair in among_nodes["UserIdGroupPairs"]] == [group]
    assert not among_nodes["IpRanges"]
    assert (ssh["IpProtocol"], ssh["FromPort"], ssh["ToPort"]) == ("tcp", 22, 22)


@EACH_FILE
def test_no_file_holds_a_secret(file: str) -> None:
    text = (ROOT / file).read_text()
    assert not re.search(
        r"AKIA|ASIA[A-Z0-9]{12}|PRIVATE KEY|(?i:password|secret)|RAY_AUTH_TOKEN=|[0-9a-f]{40}", text
    )
