"""The RayJob for Kubernetes is one by KubeRay's own schema, and the image has what it runs."""

import re
import shlex
import tomllib
from typing import Any

import pytest
import yaml

from tests.cluster.kuberay_schema import faults
from tests.paths import ROOT
from trainables.networks.registry import NETWORKS
from tuner import command_line
from tuner.cluster.runtime_env import PACKAGES

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
)


@pytest.fixture
def job() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "clusters" / "kuberay.yaml").read_text())
    return loaded


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    """What the head and each kind of worker are."""
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["template"]["spec"]["containers"]
    return dict(only)


def test_kuberays_schema_takes_the_file(job: dict[str, Any]) -> None:
    assert faults(job) == []


def test_kuberays_schema_finds_what_is_misspelt_missing_or_of_a_wrong_type(
    job: dict[str, Any],
) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    cluster["authOptions"]["mode"] = "tokens"
    cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    cluster["workerGroupSpecs"][0]["replica"] = 2
    del cluster["workerGroupSpecs"][0]["groupName"]
    container_ = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    container_["resources"] = {"limit": {}}
    told = "\n".join(faults(job))
    for what in ("'tokens' is not one of", "0 is not of type 'string'", "'replica' was unexpected"):
        assert what in told
    for what in ("'groupName' is a required property", "'limit' was unexpected"):
        assert what in told


def test_the_head_trains_nothing_and_the_workers_have_a_gpu(job: dict[str, Any]) -> None:
    head, *workers = pods(job)
    assert head["rayStartParams"] | {"num-cpus": "0", "num-gpus": "0"} == head["rayStartParams"]
    assert "nvidia.com/gpu" not in container(head)["resources"]["limits"]
    for worker in workers:
        assert container(worker)["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_ray_asks_for_a_token_which_is_in_a_secret(job: dict[str, Any]) -> None:
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for pod in pods(job):
        names = {variable["name"] for variable in container(pod)["env"]}
        assert not {name for name in names if "TOKEN" in name or "SECRET" in name or "KEY" in name}


def test_the_search_waits_for_all_workers_and_keeps_its_results_in_a_bucket(
    job: dict[str, Any],
) -> None:
    name, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (name, command) == ("transform-tuner", "run")
    asked = command_line.parser().parse_args(arguments)
    assert asked.address == "auto"
    assert asked.storage.startswith("s3://")
    assert asked.wait_for_nodes == sum(worker["replicas"] for worker in pods(job)[1:])
    assert asked.model in NETWORKS


def test_ray_is_the_one_of_the_image(job: dict[str, Any]) -> None:
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == PINNED["ray"]
    assert len({container(pod)["image"] for pod in pods(job)}) == 1


def test_the_image_installs_what_the_constraints_pin() -> None:
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert installs == [
        'pip install --no-cache-dir --constraint /source/constraints.txt "/source[dashboard]"'
    ]
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dashboard"]]
    for requirement in wanted:
        assert re.split(r"[\[<>=]", requirement)[0].lower() in {name.lower() for name in PINNED}


def test_the_image_is_made_of_files_that_are_there_and_reach_docker() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    copied = {
        source
        for line in re.findall(r"^COPY (.+)", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert set(PACKAGES) < copied
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"} < copied
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_has_the_python_that_is_tested_and_a_user_who_is_not_root() -> None:
    (python,) = re.findall(r"^FROM python:(\d+\.\d+)-slim", DOCKERFILE, re.MULTILINE)
    assert f">={python}" == PROJECT["requires-python"]
    (user,) = re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0
