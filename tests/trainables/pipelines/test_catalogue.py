"""Pipelines by name: the list, and what is said of a name that is none or can't be used here."""

import re
import subprocess
import sys

import pytest

from analysis.timing.__main__ import main as time_it
from tests.paths import ROOT
from trainables.errors import UsageError
from trainables.pipelines import catalogue
from trainables.pipelines.catalogue import PIPELINES, Kind, check, listed, load
from trainables.task import main as card


def test_there_are_twenty_with_short_names_a_sentence_each_and_one_of_every_kind() -> None:
    assert len(PIPELINES) == 20
    assert catalogue.LIST not in PIPELINES
    for name, one in PIPELINES.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)?", name)
        assert one.sentence[0].isupper()
        assert one.sentence.endswith(".")
        assert not one.sentence.count(". ")
    assert {one.kind for one in PIPELINES.values()} == set(Kind)
    assert len({one.place for one in PIPELINES.values()}) == 20


@pytest.mark.parametrize("command", [card, time_it])
def test_the_list_has_name_kind_and_sentence_and_says_what_needs_opencv(
    command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["--pipeline", "list"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    for line, (name, one) in zip(lines, PIPELINES.items(), strict=True):
        assert re.split(r" {2,}", line) == [name, one.kind, one.words]
    need_it = {line.split()[0] for line in lines if line.endswith(" Needs OpenCV.")}
    assert need_it == {"median", "bilateral", "clahe"}
    assert last == 'OpenCV comes with: pip install "transform-tuner[peers]"'


def test_a_search_lists_them_before_pytorch_or_ray_is_imported() -> None:
    code = (
        "import sys; from tuner.run import main; status = main(['--pipeline', 'list']); "
        "print(status, [name for name in ('torch', 'torchvision', 'ray') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == f"{listed()}\n0 []\n"


@pytest.mark.parametrize(
    ("name", "guess"),
    [("grayscale", "greyscale"), ("Sobel", "sobel"), ("down_up", "down-up"), ("7", None)],
)
def test_an_unknown_name_is_told_the_nearest_and_where_all_are(
    name: str, guess: str | None
) -> None:
    with pytest.raises(UsageError) as error:
        check(name)
    meant = f"did you mean {guess}? " if guess else ""
    assert str(error.value) == (
        f"--pipeline {name}: there is none of that name; {meant}--pipeline list prints all, and "
        f"one of your own is package.module:object or path/file.py:object"
    )


def test_one_that_needs_opencv_says_what_to_install_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    told = (
        "--pipeline median needs OpenCV, which is not installed: "
        'pip install "transform-tuner[peers]"'
    )
    for use in (check, load):
        with pytest.raises(UsageError) as error:
            use("median")
        assert str(error.value) == told
    assert card(["--pipeline", "median"]) == 2
    assert capsys.readouterr().err == f"error: {told}\n"
    for name, one in PIPELINES.items():
        if not one.needs_opencv:
            check(name)


def test_what_a_registered_one_is_called_with_is_known() -> None:
    with pytest.raises(UsageError, match="--takes pil: --pipeline blur is called as it has to be"):
        check("blur", "pil")
