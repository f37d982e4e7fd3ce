"""Settings out of a file and of an earlier run, with flags over them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tuner.test_arguments import STORED, store
from trainables.errors import UsageError
from tuner.command_line import from_command_line
from tuner.settings import SearchConfig

EVERY_FORM = """
name = "from-file"
model = "kron"
learning-rate = [5e-4, 1]
image_size = 64
reduction_factor = 4
set = ["terms=1,8", "width=32"]
start = "lr=1e-3"
loss = ["mse", "perceptual"]
verbose = true
"""


def write(directory: Path, text: str) -> str:
    path = directory / "search.toml"
    path.write_text(text)
    return str(path)


def test_a_file_has_settings_as_flags_give_them(tmp_path: Path) -> None:
    path = write(tmp_path, EVERY_FORM)
    flags = (
        "--name from-file --model kron --learning-rate 5e-4 1 --image-size 64 --reduction-factor 4 "
        "--set terms=1,8 --set width=32 --start lr=1e-3 --loss mse,perceptual --verbose"
    )
    typed = from_command_line(flags.split())
    config = from_command_line(["--config", path])
    assert config == typed
    assert config.flat() == typed.flat()
    assert set(typed.origins.values()) == {"flag"}
    assert config.origins == dict.fromkeys(typed.origins, "file")


def test_a_file_may_begin_with_the_mark_that_windows_editors_write(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + EVERY_FORM)
    assert from_command_line(["--config", path]).model == "kron"


def test_a_flag_comes_before_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, EVERY_FORM)
    config = from_command_line(["--config", path, "--model", "fc", "--image-size", "32", "48"])
    assert (config.model, config.image_size) == ("fc", (32, 48))
    assert config.set == ("terms=1,8", "width=32")
    assert {name for name, origin in config.origins.items() if origin == "flag"} == {
        "model",
        "image_size",
    }


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("modle = 'kron'", "there is no setting modle; did you mean model?"),
        ("max-epoch = 3", "there is no setting max-epoch; did you mean max-epochs?"),
        ("max_epoch = 3", "there is no setting max_epoch; did you mean max_epochs?"),
        (
            "x = 1",
            "there is no setting x; python -m tuner.run --help lists all: a setting has the name "
            "of its flag",
        ),
        ("resume = 'fc-1'", "resume can't be in a file: type --resume"),
        ("like = 'fc-1'", "like can't be in a file: type --like"),
        ("samples = 'many'", "--samples 'many': give a whole number"),
        ("samples = 3.0", "--samples 3.0: give a whole number"),
        ("samples = [3, 4]", "--samples [3, 4]: give a whole number"),
        ("samples = 0", "--samples ≥ 1 must hold, but got 0"),
        ("search = 'grid'", "--search grid: choose one of random, tpe"),
        ("learning-rate = 0.001", "--learning-rate (0.001,): give a list of 2"),
        ("timeout = 1" + "0" * 400, "--timeout: give a number below 1e308"),
        ("verbose = 1", "--verbose 1: give true or false"),
        ("[model]\nname = 'kron'", "[model]: settings have no headings: leave it out"),
        ("[search]\nmodel = 'kron'", "[search]: settings have no headings: leave it out"),
        ("loss = ['mse', 1]", "--loss ['mse', 1]: give a text"),
    ],
)
def test_a_mistake_in_a_file_names_file_and_key(tmp_path: Path, line: str, told: str) -> None:
    path = write(tmp_path, line)
    with pytest.raises(UsageError, match=f"^{re.escape(f'--config {path}: {told}')}$"):
        from_command_line(["--config", path])


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "modle = 'kron'\nsamples = 0\nwait-sec = 3\nwait_sec = 4")
    with pytest.raises(UsageError) as mistakes:
        from_command_line(["--config", path])
    assert [line.partition(": ")[2][:20] for line in str(mistakes.value).splitlines()] == [
        "there is no setting ",
        "--samples ≥ 1 must h",
        "wait_sec is there tw",
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"can't be read \(No such file or directory\)"),
        (b"samples = ", "is no TOML file: Invalid value"),
        (b"name = '\xff'", "is no TOML file: 'utf-8' codec"),
        (b"name = " + b"[" * 2000, "is no TOML file: maximum recursion depth"),
    ],
)
def test_a_file_that_is_none_is_a_sentence(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "search.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=f"^--config {path} {told}"):
        from_command_line(["--config", str(path)])


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    store(tmp_path, replace(STORED, storage=str(tmp_path)))
    return tmp_path


def like(storage: Path, *more: str) -> SearchConfig:
    return from_command_line(["--storage", str(storage), "--like", "first", *more])


def test_a_run_like_another_has_its_settings_and_a_name_of_its_own(storage: Path) -> None:
    config = like(storage)
    assert config.name.startswith("cnn-20")
    expected = replace(STORED, name=config.name, storage=str(storage), trace=None)
    assert config == expected
    assert config.origins == {
        **dict.fromkeys(("model", "samples", "learning_rate", "timeout", "wandb", "data"), "run"),
        "storage": "flag",
    }


def test_a_flag_comes_before_the_run_that_is_followed(storage: Path) -> None:
    config = like(storage, "--samples", "3", "--name", "second", "--seed", "5")
    assert (config.samples, config.name, config.seed) == (3, "second", 5)
    assert config.origins["samples"] == "flag"


@pytest.mark.parametrize(
    ("earlier", "typed", "expected"),
    [
        ({"grace_epochs": 2}, ["--scheduler", "none"], {"grace_epochs": None}),
        ({"startup_trials": 7}, ["--search", "random"], {"startup_trials": 5}),
        (
            {"loss": "perceptual", "perceptual_size": 32, "vgg_weights": "IMAGENET1K_V1"},
            ["--loss", "mse"],
            {"perceptual_size": None, "vgg_weights": None},
        ),
        ({"data": "auto", "pairs": "there"}, ["--data", "photos"], {"pairs": None}),
        ({}, ["--pairs", "there"], {"data": "auto", "pairs": "there"}),
        ({"pipeline": "a.py:f", "takes": "pil"}, ["--pipeline", "blur"], {"takes": None}),
        ({"grace_epochs": 2}, ["--max-epochs", "9"], {"grace_epochs": 2}),
    ],
)
def test_what_a_flag_leaves_without_use_is_not_taken_over(
    tmp_path: Path, earlier: dict[str, object], typed: list[str], expected: dict[str, object]
) -> None:
    stored = replace(STORED, storage=str(tmp_path), **earlier)
    store(tmp_path, stored, data=stored.source)
    config = like(tmp_path, *typed)
    assert {name: getattr(config, name) for name in expected} == expected


def test_images_that_were_moved_when_the_run_went_on_are_found_where_it_found_them(
    tmp_path: Path,
) -> None:
    store(tmp_path, replace(STORED, storage=str(tmp_path)), data="moved")
    assert like(tmp_path).data == "moved"


def test_an_unknown_run_to_follow_is_told_with_those_there_are(storage: Path) -> None:
    with pytest.raises(UsageError, match=r"^--like nope: there is no such run in .*one of first"):
        from_command_line(["--storage", str(storage), "--like", "nope"])


def test_two_sources_are_refused_and_any_beside_resume(storage: Path) -> None:
    both = ["--config", "search.toml", "--like", "first"]
    told = "^--config search.toml and --like first: both say what the settings are; give one$"
    with pytest.raises(UsageError, match=told):
        from_command_line(both)
    told = (
        "^--resume first and --like first: a run goes on with its own settings; leave --like out$"
    )
    with pytest.raises(UsageError, match=told):
        like(storage, "--resume", "first")
