"""The command line, alone and on top of a run that goes on."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import split
from typing import Any

import pytest

from analysis.tables.files import publish, rows_of, table_path
from analysis.tables.schema import TABLES
from docs.generate import flag_rows
from tests.analysis.collecting import row
from tests.paths import ROOT
from trainables.errors import UsageError
from trainables.losses.loss_settings import Perceptual
from trainables.settings_fields import flag
from tuner.command_line import from_command_line, parser
from tuner.settings import SETTINGS, SearchConfig
from tuner.settings_sources import SOURCES

STORED = SearchConfig(
    name="first",
    model="cnn",
    samples=7,
    ranges={"learning_rate": (1e-3, 1e-2)},
    timeout=9.0,
    trace="trace.json",
    wandb="disabled",
    data="photos",
)

PERCEPTUAL = ("--loss", "perceptual")
TABLE = {
    "loss": "perceptual",
    "perceptual_layers": (2, 7),
    "perceptual_weights": (1.0, 0.5),
    "mse_weight": 2.0,
}


def store(storage: Path, config: SearchConfig, **more: Any) -> None:
    facts = {"config": json.dumps(config.flat()), "data": config.data, **more}
    publish(storage / "tables", "runs", config.name, [row("runs", config.name, **facts)])


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    store(tmp_path, replace(STORED, storage=str(tmp_path)))
    return tmp_path


def resume(storage: Path, *more: str) -> SearchConfig:
    return from_command_line(["--storage", str(storage), "--resume", "first", *more])


def test_defaults_leave_no_trace() -> None:
    assert vars(parser().parse_args([])) == {}
    assert vars(parser().parse_args(["--samples", "3"])) == {"samples": 3}


def test_every_setting_has_a_flag_and_every_flag_a_setting() -> None:
    flags = {option for action in parser()._actions for option in action.option_strings}
    assert flags - {"-h", "--help", "-v"} == {flag(name) for name in (*SETTINGS, *SOURCES)}


def test_help_and_documentation_say_of_every_setting_what_it_does_and_its_default() -> None:
    text = " ".join(parser().format_help().split())
    table = "\n".join(flag_rows(SETTINGS))
    for name, setting in SETTINGS.items():
        assert f"{setting.meaning} (default: {setting.shown_default})" in text
        assert f"`{flag(name)}` | {setting.shown_default} | {setting.meaning} |" in table


def test_values_arrive_with_their_types() -> None:
    config = from_command_line(
        split(
            "--learning-rate 1e-3 1e-2 --dropout 0 0.2 --patience 2 4 --timeout 60 "
            "--gpus-per-trial 0.5 --name x -v --set hidden=32:64:log --set weight_decay=0"
        )
    )
    assert config == SearchConfig(
        ranges={"learning_rate": (1e-3, 1e-2), "dropout": (0.0, 0.2), "patience": (2, 4)},
        set=("hidden=32:64:log", "weight_decay=0"),
        timeout=60.0,
        gpus_per_trial=0.5,
        name="x",
        verbose=True,
    )


@pytest.mark.parametrize(
    ("model", "start"),
    [("separable", "separable"), ("tests.tuner.own_networks:Mine", "mine")],
    ids=["registered", "own class"],
)
def test_a_run_without_a_name_gets_one_of_model_date_and_time(model: str, start: str) -> None:
    name = from_command_line(["--model", model]).name
    assert re.fullmatch(start + r"-\d{8}-\d{6}", name)


def test_a_class_with_any_name_gets_a_run_name() -> None:
    assert from_command_line(["--model", "package:_Mine"]).name


@pytest.mark.parametrize(
    "arguments", [["--samples", "many"], ["--learning-rate", "1"], ["--no-such-flag"]]
)
def test_what_cannot_be_parsed_ends_with_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        from_command_line(arguments)
    assert exit_.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_bad_value_is_a_sentence_with_and_without_resume(storage: Path) -> None:
    for more in ([], ["--resume", "first", "--storage", str(storage)]):
        with pytest.raises(UsageError, match="--samples ≥ 1 must hold, but got 0"):
            from_command_line([*more, "--samples", "0"])


def test_an_unknown_run_is_told_with_the_latest_runs_there_are(storage: Path) -> None:
    for number in range(6):
        store(storage, replace(STORED, name=f"run-{number}"))
    with pytest.raises(
        UsageError,
        match=r"--resume nope: there is no such run in .*; "
        r"give one of first, run-0, .*, run-5, or leave",
    ):
        from_command_line(["--storage", str(storage), "--resume", "nope"])


def test_an_unknown_run_in_an_empty_storage_is_told_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=f"no such run in {tmp_path}; there is none yet: leave --resume out to start",
    ):
        from_command_line(["--storage", str(tmp_path), "--resume", "nope"])


def test_a_torn_runs_table_is_named(storage: Path) -> None:
    path = table_path(storage / "tables", "runs", "first")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match=re.escape(str(path))):
        resume(storage)


def test_the_stored_settings_come_back_but_the_time_limit_and_the_trace(storage: Path) -> None:
    assert resume(storage) == replace(
        STORED, storage=str(storage), resume="first", timeout=None, trace=None
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "fc"], "--model was cnn, is fc"),
        (
            ["--learning-rate", "1e-3", "1e-1"],
            "--learning-rate was 0.001 0.01, is 0.001 0.1",
        ),
        (["--dropout", "0", "0.1"], "--dropout was not given, is 0.0 0.1"),
        (["--seed", "1", "--images", "5"], "--seed was 0, is 1; --images was not given, is 5"),
        (["--name", "other"], "--name was first, is other"),
        # The run's own --search decides whether it uses that, and no default of another one
        (["--startup-trials", "4"], "--startup-trials was 5, is 4"),
        (["--start", "lr=1e-3"], "--start was not given, is lr=1e-3"),
    ],
)
def test_a_changed_setting_is_refused_with_the_old_and_the_new_value(
    storage: Path, arguments: list[str], told: str
) -> None:
    with pytest.raises(
        UsageError, match=f"--resume first with other settings: {told}: leave them out to go on"
    ):
        resume(storage, *arguments)


def test_more_trials_may_be_asked_for_and_fewer_are_refused(storage: Path) -> None:
    assert resume(storage, "--samples", "8").samples == 8
    told = "--resume first --samples 6: the run has 7 trials; give more, or leave --samples out"
    with pytest.raises(UsageError, match=f"^{told}$"):
        resume(storage, "--samples", "6")


def test_settings_given_again_unchanged_pass(storage: Path) -> None:
    again = resume(storage, "--samples", "7", "--learning-rate", "1e-3", "1e-2", "--name", "first")
    assert again == resume(storage)


def test_what_does_not_change_the_search_may_change(storage: Path) -> None:
    config = resume(
        storage, *split("--concurrency 3 --address auto --timeout 5 --wandb online --verbose")
    )
    assert (config.concurrency, config.address, config.timeout, config.wandb) == (
        3,
        "auto",
        5.0,
        "online",
    )
    assert config.verbose
    waiting = resume(storage, *split("--wait-for-nodes 2 --wait-sec 9.5"))
    assert (waiting.wait_for_nodes, waiting.wait_sec) == (2, 9.5)
    assert (config.model, config.samples) == ("cnn", 7)


def test_images_that_were_moved_are_looked_for_where_they_were_last(tmp_path: Path) -> None:
    store(tmp_path, replace(STORED, storage=str(tmp_path)), data="moved/once")
    assert resume(tmp_path).data == "moved/once"
    assert resume(tmp_path, "--data", "moved/again").data == "moved/again"


def test_a_storage_that_was_moved_is_the_one_in_which_the_run_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("moved", "results"):
        store(tmp_path / place, replace(STORED, storage="/elsewhere"))
    assert resume(tmp_path / "moved").storage == str(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert from_command_line(["--resume", "first"]).storage == "results"


def test_values_of_the_loss_arrive_with_their_types() -> None:
    config = from_command_line(
        split(
            "--loss mse,perceptual --perceptual-layers 2 7 --perceptual-weights 1 .5 "
            "--mse-weight 2 "
            "--perceptual-size 64 --vgg-weights file --vgg-normalisation features --name x"
        )
    )
    assert config == SearchConfig(
        **{**TABLE, "loss": "mse,perceptual"},
        perceptual_size=64,
        vgg_weights="file",
        vgg_normalisation="features",
        name="x",
    )
    assert (list(config.losses), config.mixed_losses) == (["mse", "perceptual"], True)
    assert config.perceptual == Perceptual(
        layers=(2, 7), layer_weights=(1.0, 0.5), mse_weight=2.0, size=64
    )
    assert SearchConfig.from_flat(json.loads(json.dumps(config.flat()))) == config


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "--perceptual-size 64 --vgg-weights f",
            "--perceptual-size and --vgg-weights: --loss mse does not use that",
        ),
        ("--loss perceptual --perceptual-size 31", "--perceptual-size ≥ 32 must hold, but got 31"),
        (
            "--loss perceptual --perceptual-layers 3",
            "--perceptual-layers must be convolutions of VGG16, at least one, ascending, "
            "each named once: choose from 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28, "
            "but got 3",
        ),
        (
            "--loss perceptual --perceptual-weights 1 2",
            "--perceptual-weights must be as many as --perceptual-layers, 5, but got 2",
        ),
        (
            "--loss perceptual --mse-weight -1",
            "--mse-weight ≥ 0 must hold, but got -1.0",
        ),
        (
            "--loss perceptual --perceptual-weights 1 1 1 1 nan",
            "--perceptual-weights ≥ 0 must hold, but got nan",
        ),
        (
            "--loss perceptual --vgg-normalisation z",
            "--vgg-normalisation z: choose one of imagenet, features",
        ),
    ],
)
def test_a_flag_of_the_loss_that_makes_no_sense_is_told(arguments: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        from_command_line(split(arguments))


def test_flags_of_the_loss_are_checked_without_pytorch() -> None:
    code = (
        "import sys\nfrom tuner.run import from_command_line\n"
        "loss = ['--loss', 'mse,perceptual', '--perceptual-size', '64', '--vgg-weights', 'x']\n"
        "from_command_line(loss)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_driver_waits_for_no_import_of_what_only_a_timing_a_chart_or_tpe_needs() -> None:
    slow = ("triton", "optuna", "torchvision", "skimage", "sklearn", "altair", "torch._dynamo")
    code = f"""
import sys
from tuner import search_run
from trainables.hyperparameters import Asked
from trainables.tasks import STUDY
from trainables.training.network_facts import build_all
for model in ("fc", "separable", "kron"):
    build_all(model, STUDY, Asked({{"learning_rate": (0.1, 0.2)}}), "")
print([name for name in {slow} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_run_keeps_its_loss(tmp_path: Path) -> None:
    place = str(tmp_path)
    store(
        tmp_path,
        SearchConfig(name="first", storage=place, perceptual_size=64, vgg_weights="f", **TABLE),
    )
    resume = ["--storage", place, "--resume", "first"]
    config = from_command_line(resume)
    assert config.perceptual == Perceptual(
        layers=(2, 7), layer_weights=(1.0, 0.5), mse_weight=2.0, size=64
    )
    assert (
        from_command_line([*resume, "--perceptual-weights", "1", "0.5", "--perceptual-size", "64"])
        == config
    )
    with pytest.raises(UsageError, match="--perceptual-size was 64, is 32"):
        from_command_line([*resume, "--perceptual-size", "32"])
    with pytest.raises(UsageError, match="--loss was perceptual, is mse"):
        from_command_line([*resume, "--loss", "mse"])


def damaged(storage: Path, text: str) -> str:
    """Keep other settings for the run; what `--resume` says then, after the file's name."""
    path = table_path(storage / "tables", "runs", "first")
    (row,) = rows_of(storage / "tables", "runs", "first")
    publish(storage / "tables", "runs", "first", [row | {"config": text}])
    with pytest.raises(UsageError) as error:
        resume(storage)
    said = str(error.value)
    assert str(path) in said
    assert "\n" not in said
    return said.partition(str(path))[2]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: "",
        lambda whole: whole.replace(":", ",", 1),
        lambda whole: f"[{whole}]",
        lambda whole: "null",
        lambda whole: "[" * 100_000,
        lambda whole: "9" * 5_000,
    ],
    ids=["cut", "empty", "malformed", "list", "null", "nested", "long number"],
)
def test_settings_that_are_no_json_are_told_with_the_file_and_what_to_do(
    spoil: Callable[[str], str], storage: Path
) -> None:
    assert damaged(storage, spoil(json.dumps(STORED.flat()))) == (
        ": column config, row 1: is no object in JSON; "
        "put a sound copy in its place, or move it away"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"samples": "three"}, "--samples 'three': give a whole number"),
        (
            {"weather": 1},
            "these are settings of another version of transform-tuner: it has weather",
        ),
        (
            {"model": "lenet"},
            "there is no network 'lenet': choose one of fc, cnn, separable, kron, can",
        ),
    ],
)
def test_settings_that_this_version_does_not_take_are_told_with_the_file_and_what_to_do(
    change: dict[str, object], told: str, storage: Path
) -> None:
    said = damaged(storage, json.dumps({**STORED.flat(), **change}))
    assert said.startswith(f", column config: {told}")
    assert said.endswith("; put a sound copy in its place, or start a new run without --resume")


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_table_is_told_before_anything_is_started(table: str, storage: Path) -> None:
    path = table_path(storage / "tables", table, "first")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"torn")
    with pytest.raises(UsageError, match=f"{re.escape(str(path))}: can't be read: "):
        resume(storage)


def test_a_run_that_kept_another_s_name_goes_on_under_its_own(storage: Path) -> None:
    store(storage, replace(STORED, name="second"))
    (other,) = rows_of(storage / "tables", "runs", "second")
    publish(storage / "tables", "runs", "first", [other | {"run": "first"}])
    assert resume(storage).name == "first"
