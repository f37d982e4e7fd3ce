"""What is sent to nodes; that they can train with it is tested on nodes."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

from tests.tuner.conftest import ROOT
from trainables.errors import UsageError
from trainables.own_code import sent_as
from tuner.cluster import runtime_env
from tuner.cluster.runtime_env import JOB, LEFT_OUT, PACKAGES, runtime_environment

NOWHERE = Path()  # no file is sent
OURS = [str(ROOT / name) for name in PACKAGES]


@pytest.mark.parametrize(
    "model",
    [
        "fc",
        "trainables.networks.fc:FC",
        "torch.nn:Linear",
        "json:JSONDecoder",
        "sys:X",
        "nowhere:X",
    ],
)
def test_only_the_projects_packages_are_sent_where_the_network_is_there_anyway(model: str) -> None:
    assert runtime_environment([model], NOWHERE) == {"py_modules": OURS, "excludes": LEFT_OUT}


def test_installed_packages_of_the_project_are_sent_and_those_of_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime_env, "INSTALLED", [ROOT, *runtime_env.INSTALLED])
    assert runtime_environment(["tests.tuner.own_networks:Mine"], NOWHERE)["py_modules"] == OURS


def test_a_module_of_ones_own_is_sent_as_its_file_and_a_package_as_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_one_file.py").touch()
    (tmp_path / "of_many" / "nets").mkdir(parents=True)
    (tmp_path / "of_many" / "__init__.py").touch()
    assert runtime_environment(["of_one_file:Mine"], NOWHERE)["py_modules"] == [
        *OURS,
        str(tmp_path / "of_one_file.py"),
    ]
    assert runtime_environment(["of_many.nets:Mine"], NOWHERE)["py_modules"] == [
        *OURS,
        str(tmp_path / "of_many"),
    ]


def test_data_results_and_environments_in_a_package_stay_and_subpackages_of_those_names_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "with_much"
    # The project has packages `data` and `report`, whose files have to be sent all the same
    stay = ("data", "wandb", "a/results", "a [0]*/data", "results/data", "own env", "report")
    for directory in stay:
        (package / directory / "deeper" / "results").mkdir(parents=True)
        (package / directory / "deeper" / "results" / "large").touch()
        (package / directory / "large").touch()
    for environment in ("own env", "report"):
        (package / environment / "pyvenv.cfg").touch()
    code = (".", "a", "a/data", "results", "venv")
    for directory in code:
        (package / directory).mkdir(parents=True, exist_ok=True)
        (package / directory / "__init__.py").touch()
    environment = runtime_environment(["with_much:Mine"], NOWHERE)
    assert sent(package, environment["excludes"]) == {
        f"{name}/__init__.py".removeprefix("./") for name in code
    }
    for path in map(Path, OURS):
        assert sent(path, environment["excludes"]) == sent(path, LEFT_OUT) != set()


def test_a_file_is_sent_with_what_it_imports_of_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, copies = tmp_path / "project", tmp_path / "copies"
    (project / "parts" / "data").mkdir(parents=True)
    copies.mkdir()
    sources = {
        "net.py": "import sys, torch, tuner, wandb\nfrom parts.one import a\nimport helper as h",
        "helper.py": "def f():\n    import deep",
        "deep.py": "from . import nothing",
        "parts/one.py": "import common",
        "parts/data/large": "",
        "common.py": "not Python",
        "unrelated.py": "",
        "loss.py": "from helper import f",
        "wandb": None,
    }
    for name, source in sources.items():
        if source is None:
            (project / name).mkdir()
        else:
            (project / name).write_text(source)
    monkeypatch.chdir(project)
    names = ["net.py:Mine", f"{project}/net.py:loss", "loss.py:loss", "fc"]
    modules = runtime_environment(names, copies)["py_modules"]
    directories = [Path(path) for path in modules[len(OURS) :]]
    assert {path.parent for path in directories} == {copies}
    assert {path.name for path in directories} == {
        sent_as(project / "net.py"),
        sent_as(project / "loss.py"),
    }
    net, loss = (copies / sent_as(project / name) for name in ("net.py", "loss.py"))
    expected = {"net.py", "helper.py", "deep.py", "parts/one.py", "common.py"}
    assert sent(net, LEFT_OUT) == expected
    assert sent(loss, LEFT_OUT) == {"loss.py", "helper.py", "deep.py"}


def test_beside_a_module_a_directory_of_its_name_stays_unless_it_is_the_package(
    tmp_path: Path,
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    sources = {
        "my.py": "import data, parts, films, spread.one",
        "data.py": "",
        "data/large": "",
        "data/make.py": "",
        "parts.py": "",
        "parts/__init__.py": "",
        "films/large": "",
        "spread/one.py": "",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "parts" / ".#one.py").symlink_to("who@where.1234")  # as an editor locks a file
    (own,) = runtime_environment([f"{tmp_path}/my.py:f"], copies)["py_modules"][len(OURS) :]
    assert sent(Path(own), LEFT_OUT) == {"my.py", "data.py", "parts/__init__.py", "spread/one.py"}


@pytest.mark.parametrize("place", ["parts/pipe", "parts.py"])
def test_what_can_not_be_copied_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    (tmp_path / "my.py").write_text("import parts")
    if place == "parts.py":
        (tmp_path / place).touch()
        monkeypatch.setattr(Path, "read_bytes", refuse_parts(Path.read_bytes))
    else:
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts" / "__init__.py").touch()
        os.mkfifo(tmp_path / place)
    told = (
        rf"^{tmp_path}/my.py can't be sent to the nodes with what it imports \(.*{place}.*\): see"
    )
    with pytest.raises(UsageError, match=told) as error:
        runtime_environment([f"{tmp_path}/my.py:f"], copies)
    assert "\n" not in str(error.value)


def refuse_parts(read: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
    """Read files as anybody but the superuser may."""

    def read_or_refuse(path: Path) -> bytes:
        if path.name == "parts.py":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    return read_or_refuse


def sent(path: Path, excludes: list[str]) -> set[str]:
    """What Ray sends of a directory; its own function, which leaves out what the patterns match."""
    found: set[str] = set()

    def note(entry: Path) -> None:
        if entry.is_file():
            found.add(entry.relative_to(path).as_posix())

    _dir_travel(path, [_get_excludes(path, excludes)], note, include_gitignore=False)
    return found


@pytest.mark.parametrize(
    ("of_job", "added"),
    [
        ({"working_dir": "gcs://code.zip"}, {"py_modules", "excludes"}),
        ({"working_dir": "gcs://code.zip", "excludes": ["films"]}, {"py_modules"}),
        ({"py_modules": ["gcs://code.zip"]}, {"excludes"}),
        (None, {"py_modules", "excludes"}),
    ],
)
def test_what_a_job_brings_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, of_job: dict[str, Any] | None, added: set[str]
) -> None:
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": of_job}))
    assert set(runtime_environment(["fc"], NOWHERE)) == added
