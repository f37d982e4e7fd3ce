import sys
from pathlib import Path

import pytest

from trainables.errors import UsageError
from trainables.own_code import check_there, is_file, is_own, load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "beside_it.py").write_text("VALUE = 7\n")
    (tmp_path / "sub" / "mine_alone.py").write_text("from beside_it import VALUE\n")
    return tmp_path


def test_an_object_in_a_file_is_found_with_what_lies_beside_it(here: Path) -> None:
    assert load("sub/mine_alone.py:VALUE") == 7
    assert load(f"{here}/sub/beside_it.py:VALUE") == 7


def test_an_object_of_a_package_is_found_by_its_module() -> None:
    assert load("trainables.own_code:load") is load


@pytest.mark.parametrize(
    ("name", "own", "file"),
    [("a.py:x", True, True), ("a.b:x", True, False), ("a", False, False), (":x", False, False)],
)
def test_a_name_says_of_which_form_it_is(name: str, own: bool, file: bool) -> None:
    assert (is_own(name), is_file(name)) == (own, file)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sub/nowhere.py:x", "--pipeline sub/nowhere.py:x: there is no file 'sub/nowhere.py'"),
        ("nowhere.at_all:x", "--pipeline nowhere.at_all:x: there is no module 'nowhere.at_all'"),
    ],
)
def test_what_is_not_there_is_told_without_an_import(here: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_there("--pipeline", name)


def test_a_file_that_does_not_survive_its_import_leaves_no_module(here: Path) -> None:
    (here / "broken_one.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(UsageError, match=r"'broken_one\.py:x' can't be imported: SystemExit: 3"):
        load("broken_one.py:x")
    assert "broken_one" not in sys.modules
