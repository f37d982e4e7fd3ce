"""A cluster that can't be joined: nobody answers, or wants another token; and what to type."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from ray._private.runtime_env import packaging

from tests.paths import ROOT
from tests.tuner.on_nodes.conftest import Cluster, InProcess

# Each is refused before Ray itself tries, which takes 20 s. In a process of its own: Ray ends the
# process in which a token disappears that it has used.
REFUSED = """
import json, os, sys
from ray._private.authentication_test_utils import reset_auth_token_state
from tuner.cluster import connect
from tuner.run import main

def join(*_, **__):
    sys.exit("Ray was asked")

connect.join = join
for address, more in json.loads(sys.argv[1]):
    os.environ.update(more)
    for name in [name for name, value in more.items() if not value]:
        del os.environ[name]
    reset_auth_token_state()
    print(main(["--storage", sys.argv[2], "--address", address]), flush=True)
"""


def test_who_can_not_join_is_told_why_and_what_to_type_without_rays_own_patience(
    cluster: Cluster, tmp_path: Path
) -> None:
    there = cluster.address
    told = [
        (
            there,
            {"RAY_AUTH_TOKEN": secrets.token_hex(32)},
            "the cluster there has another token than this machine; copy ~/.ray/auth_token from "
            "its head, and unset RAY_AUTH_TOKEN if it is set",
        ),
        (
            there,
            {"RAY_AUTH_TOKEN": "", "HOME": str(tmp_path)},
            "there is no token on this machine; copy ~/.ray/auth_token from the head of the "
            "cluster, or set RAY_AUTH_MODE=disabled if it was started without one",
        ),
        (
            there,
            {"RAY_AUTH_MODE": "disabled"},
            "the cluster there asks for a token, and RAY_AUTH_MODE=disabled sends none; "
            "unset RAY_AUTH_MODE",
        ),
        (
            "127.0.0.1:1",
            {},
            "no Ray cluster answers there (Connection refused); give the HOST:PORT that "
            "`ray start --head` told on its head, or leave --address out to start one on this "
            "machine",
        ),
        (
            "somewhere",
            {},
            "there is no such cluster (Invalid address format: somewhere); give its head as "
            "HOST:PORT, or leave --address out to start one on this machine",
        ),
        (
            "local",
            {},
            "it names no cluster that runs; give its head as HOST:PORT, or leave --address out "
            "to start one on this machine",
        ),
    ]
    cases = json.dumps([(address, more) for address, more, _ in told])
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, cases, str(tmp_path / "results")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "2\n" * len(told), done.stderr
    assert done.stderr.splitlines() == [
        f"error: --address {address}: {problem}" for address, _, problem in told
    ]


def test_a_package_that_is_too_large_for_ray_is_told_with_the_limit_and_the_way_out(
    search: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "heavy"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from trainables.networks.separable import Separable as Mine\n"
    )
    (package / "weights.bin").write_bytes(os.urandom(5 * 2**20))
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 4 * 2**20)
    monkeypatch.syspath_prepend(tmp_path)
    code, output = search("--model", "heavy:Mine")
    sys.modules.pop("heavy", None)
    assert code == 2, output
    assert output == (
        f"error: the code of heavy:Mine can't be sent to the nodes (Failed to upload module "
        f"{package} to the Ray cluster: Package size (5.00MiB) exceeds the maximum size of "
        f"4.00MiB); Ray takes packages below 4 MiB: move large files out of the package, or into "
        f"a directory `data` in it, which stays here\n"
    )
