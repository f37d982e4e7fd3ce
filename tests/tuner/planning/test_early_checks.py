"""What names and files show to be impossible is refused before Ray starts."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tuner.planning.plans import config
from trainables.data import decoding
from trainables.errors import UsageError
from tuner.planning.early_checks import check_early


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_images_are_read_at_the_size_asked_for_with_a_line_of_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "QUIET_SEC", 0.0)
    for number in range(4):
        Image.new("RGB", (90, 70)).save(tmp_path / f"{number}.png")
    lines: list[str] = []
    images = check_early(config(data=str(tmp_path), image_size=(20, 30)), lines.append)
    assert images.train.shape == (3, 3, 20, 30)
    assert lines[0].startswith("images read: 1 of 4, about ")


def test_wandb_online_without_a_key_is_told(home: Path) -> None:
    sentence = (
        r"--wandb online: W&B is not logged in \(No API key configured\. .*\); "
        r"type `wandb login` first, or --wandb offline"
    )
    with pytest.raises(UsageError, match=sentence):
        check_early(config(wandb="online"))


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_without_going_online_no_key_is_needed(home: Path, mode: str) -> None:
    check_early(config(wandb=mode))


@pytest.mark.parametrize("host", ["api.wandb.ai", "my.host:8080"])
def test_a_key_will_do_wherever_wandb_itself_keeps_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    keys, key = home / ".netrc", "0" * 40
    if host == "my.host:8080":
        keys = home / "keys of another host"
        monkeypatch.setenv("NETRC", str(keys))
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(home))
        (home / "settings").write_text(f"[default]\nbase_url = http://{host}\n")
    keys.write_text(f"machine {host}\n  login user\n  password {key}\n")
    check_early(config(wandb="online"))


def test_warnings_that_would_end_rays_processes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning")
    with pytest.raises(UsageError, match="would end there; unset PYTHONWARNINGS"):
        check_early(config())
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    check_early(config())


def test_waiting_for_nodes_without_a_cluster_is_told() -> None:
    with pytest.raises(
        UsageError, match="--wait-for-nodes 2: without --address there is one node; leave"
    ):
        check_early(config(wait_for_nodes=2))
    check_early(config(wait_for_nodes=2, address="auto"))
    check_early(config())


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"start": ("lr=abc",)}, "--start lr=abc: learning_rate of fc is a number, "),
        ({"start": ("hiden=64",)}, "--start hiden=64: fc has no hyperparameter 'hiden'; it has "),
        ({"start": ("lr=0.5",)}, "--start lr=0.5: learning_rate of fc is 0.0001 to 0.01 (log) "),
        ({"start": ("size=3",), "model": "auto"}, "size=3: fc has no hyperparameter 'size'; it "),
    ],
)
def test_a_point_that_no_network_has_is_told_before_ray_starts(
    more: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        check_early(config(**more))


def test_points_that_a_network_has_pass_and_those_of_own_networks_wait_for_their_process() -> None:
    check_early(config(start=("lr=0.5",), ranges={"learning_rate": (0.1, 1.0)}))
    check_early(config(model="auto", start=("lr=1e-3", "terms=2")))
    check_early(config(model="tests.tuner.own_networks:Mine", start=("lr=abc",)))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"data": "/no/such/place"}, "--data /no/such/place: there is no such directory"),
        (
            {"loss": "perceptual", "vgg_weights": "/no/such/file"},
            "--vgg-weights /no/such/file: there is no such file",
        ),
        ({"model": "nowhere:Net"}, "--model nowhere:Net: there is no module 'nowhere'"),
    ],
)
def test_files_that_are_not_there_are_told_at_once(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as error:
        check_early(config(**asked))
    assert "\n" not in str(error.value)


def test_all_that_is_not_there_is_told_at_once() -> None:
    names = {"data": "/no/such/place", "model": "nowhere:Net", "wait_for_nodes": 2}
    with pytest.raises(UsageError) as error:
        check_early(config(**names, loss="perceptual", vgg_weights="/no/such/file"))
    waiting, model, weights, data = str(error.value).splitlines()
    assert waiting.startswith("--wait-for-nodes 2: without --address")
    assert model.startswith("--model nowhere:Net: there is no module 'nowhere'")
    assert data.startswith("--data /no/such/place: there is no such directory")
    assert weights.startswith("--vgg-weights /no/such/file: there is no such file")
