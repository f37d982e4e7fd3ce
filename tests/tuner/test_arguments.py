"""The command line, alone and on top of a run that goes on."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import split

import pytest

from analysis.tables.files import publish, table_path
from analysis.tables.schema import TABLES
from trainables.settings_fields import flag, flag_rows
from tuner.arguments import from_command_line, parser
from tuner.settings import SETTINGS, SearchConfig

STORED = SearchConfig(
    name="first",
    model="cnn",
    samples=7,
    ranges={"learning_rate": (1e-3, 1e-2)},
    timeout=9.0,
    wandb="disabled",
    data="photos",
)


def store(storage: Path, config: SearchConfig) -> None:
    row = {c.name: None if c.nullable else 0 for c in TABLES["runs"]}
    row |= {c.name: "" for c in TABLES["runs"] if c.type == "string"}
    row |= {
        "run": config.name,
        "config": config.to_json(),
        "dirty": False,
        "started_at": datetime.now(UTC),
    }
    publish(storage / "tables", "runs", config.name, [row])


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
    assert flags - {"-h", "--help", "-v"} == {flag(name) for name in SETTINGS}


def test_help_and_documentation_say_of_every_setting_what_it_does_and_its_default() -> None:
    text = " ".join(parser().format_help().split())
    table = "\n".join(flag_rows(SETTINGS))
    for name, setting in SETTINGS.items():
        assert f"{setting.meaning} (default: {setting.shown_default})" in text
        assert f"`{flag(name)}` | {setting.shown_default} | {setting.meaning} |" in table


def test_values_arrive_with_their_types() -> None:
    config = from_command_line(
        split(
            "--learning-rate 1e-3 1e-2 --dropout 0 0.2 --patience 2 4 --timeout 60 --gpus-per-trial 0.5 --name x -v"
        )
    )
    assert config == SearchConfig(
        ranges={"learning_rate": (1e-3, 1e-2), "dropout": (0.0, 0.2), "patience": (2, 4)},
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
        with pytest.raises(ValueError, match="--samples ≥ 1 must hold, but got 0"):
            from_command_line([*more, "--samples", "0"])


def test_an_unknown_run_is_told_with_the_latest_runs_there_are(storage: Path) -> None:
    for number in range(6):
        store(storage, replace(STORED, name=f"run-{number}"))
    with pytest.raises(
        ValueError,
        match=r"--resume nope: there is no such run in .*; give one of first, run-0, .*, run-5, or leave",
    ):
        from_command_line(["--storage", str(storage), "--resume", "nope"])


def test_an_unknown_run_in_an_empty_storage_is_told_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=f"no such run in {tmp_path}; there is none yet: leave --resume out to start",
    ):
        from_command_line(["--storage", str(tmp_path), "--resume", "nope"])


def test_a_torn_runs_table_is_named(storage: Path) -> None:
    path = table_path(storage / "tables", "runs", "first")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        resume(storage)


def test_the_stored_settings_come_back_but_the_time_limit(storage: Path) -> None:
    assert resume(storage) == replace(STORED, storage=str(storage), resume="first", timeout=None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--samples", "8"], "--samples was 7, is 8"),
        (["--model", "fc"], "--model was cnn, is fc"),
        (
            ["--learning-rate", "1e-3", "1e-1"],
            r"--learning-rate was \(0.001, 0.01\), is \(0.001, 0.1\)",
        ),
        (["--dropout", "0", "0.1"], r"--dropout was None, is \(0.0, 0.1\)"),
        (["--seed", "1", "--images", "5"], "--seed was 0, is 1; --images was None, is 5"),
        (["--name", "other"], "--name was first, is other"),
    ],
)
def test_a_changed_setting_is_refused_with_the_old_and_the_new_value(
    storage: Path, arguments: list[str], told: str
) -> None:
    with pytest.raises(
        ValueError, match=f"--resume first with other settings: {told}: leave them out to go on"
    ):
        resume(storage, *arguments)


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


def test_a_storage_that_was_moved_is_the_one_in_which_the_run_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("moved", "results"):
        store(tmp_path / place, replace(STORED, storage="/elsewhere"))
    assert resume(tmp_path / "moved").storage == str(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert from_command_line(["--resume", "first"]).storage == "results"
