"""Ray's token: made for its owner alone, and a line where others can read one."""

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.cluster import auth_token


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the token of a person lies whose home others may enter."""
    for name in auth_token.ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    before = os.umask(0o022)
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        monkeypatch.setenv("HOME", home)
        Path(home).chmod(0o755)
        yield Path(home, ".ray", "auth_token")
    os.umask(before)


def test_the_token_is_made_for_its_owner_alone_and_of_the_form_of_rays_own(token: Path) -> None:
    auth_token.make()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert re.fullmatch("[0-9a-f]{64}", token.read_text())
    assert [entry.name for entry in token.parent.iterdir()] == ["auth_token"]
    assert auth_token.warning() == ""


def test_a_token_that_is_there_stays_also_one_that_comes_at_the_last_moment(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(source: str, target: Path) -> None:
        target.write_text("of another search")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    for _ in range(2):
        auth_token.make()
        assert token.read_text() == "of another search"


@pytest.mark.parametrize(
    ("home", "mode", "told"),
    [(0o755, 0o644, True), (0o750, 0o640, True), (0o755, 0o600, False), (0o700, 0o644, False)],
)
def test_a_token_that_others_can_read_is_told_with_the_cure(
    token: Path, home: int, mode: int, told: bool
) -> None:
    auth_token.make()
    token.chmod(mode)
    token.parents[1].chmod(home)
    sentence = auth_token.warning()
    assert sentence.endswith("chmod 600 ~/.ray/auth_token") == told
    assert bool(sentence) == told


@pytest.mark.parametrize("variable", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"])
def test_where_ray_takes_the_token_from_elsewhere_or_none_no_file_is_made(
    token: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "disabled")
    auth_token.make()
    assert auth_token.warning() == ""
    assert not token.parent.exists()
