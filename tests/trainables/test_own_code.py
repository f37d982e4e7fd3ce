import os
import sys
from pathlib import Path

import pytest

from trainables.errors import UsageError
from trainables.own_code import absolute, check_there, is_file, is_own, load, sent_as, short


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


def test_a_file_is_imported_once_and_again_when_it_was_changed(here: Path) -> None:
    file = here / "counts.py"
    file.write_text("class Mine: pass\n")
    first = load("counts.py:Mine")
    assert load(f"{file}:Mine") is first
    file.write_text("class Mine: value = 2\n")
    os.utime(file, ns=(0, 7))
    assert load("counts.py:Mine").value == 2


def test_a_file_with_the_name_of_another_module_leaves_that_alone(here: Path) -> None:
    import queue

    (here / "queue.py").write_text("VALUE = 3\n")
    assert load("queue.py:VALUE") == 3
    assert sys.modules["queue"] is queue


def test_an_absolute_name_means_the_same_in_every_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = absolute("sub/mine_alone.py:VALUE")
    monkeypatch.chdir("sub")
    assert load(name) == 7
    assert absolute(name) == name
    assert (absolute("fc"), absolute("a.b:C")) == ("fc", "a.b:C")
    assert (short(name), short("a.b:C"), short("fc")) == ("VALUE", "C", "fc")


def test_what_was_sent_is_what_is_imported(here: Path) -> None:
    """On a machine where the path is not there, or leads to something else."""
    for path in (here / "sub" / "beside_it.py", Path("/nowhere/at/all/beside_it.py")):
        sent = here / "received" / sent_as(path)
        sent.mkdir(parents=True)
        (sent / path.name).write_text("VALUE = 8\n")
    sys.path.append(str(here / "received"))
    assert load("/nowhere/at/all/beside_it.py:VALUE") == 8
    assert load(f"{here}/sub/beside_it.py:VALUE") == 8


def test_a_file_that_is_not_there_when_it_is_needed_is_told(here: Path) -> None:
    told = r"'gone\.py:x' can't be imported: there is no file 'gone\.py'; correct the path, or type"
    with pytest.raises(UsageError, match=told):
        load("gone.py:x")
