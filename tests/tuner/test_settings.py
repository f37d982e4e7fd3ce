"""Each setting that makes no sense gets its sentence, and settings come back from JSON."""

import json
import math
import re
from typing import Any

import pytest

from trainables.errors import UsageError
from trainables.settings_fields import flag
from trainables.training.early_stopping import CRITERIA
from trainables.training.precision import PRECISIONS
from tuner.settings import SETTINGS, SearchConfig

RANGE = "LOW HIGH: LOW"


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("model", "lenet", "no network 'lenet': choose one of fc, cnn, separable, kron, can"),
        ("model", "package:", "no network 'package:'"),
        ("search", "grid", "--search grid: choose one of random, tpe"),
        ("scheduler", "pbt", "--scheduler pbt: choose one of asha, median, none"),
        ("startup_trials", 0, "--startup-trials ≥ 1 must hold, but got 0"),
        ("startup_trials", 250, "--startup-trials < 250 must hold, but got 250"),
        ("early_stopping", "never", "--early-stopping never: choose one of best, window"),
        ("compile", "yes", "--compile yes: choose one of on, off"),
        (
            "compile",
            "auto",
            "--compile auto: on an NVIDIA H100 a compiled plain loop was not faster either; "
            "choose on or off",
        ),
        (
            "precision",
            "float16",
            "--precision float16: choose one of auto, float32, tf32, bfloat16",
        ),
        ("wandb", "on", "--wandb on: choose one of disabled, offline, online"),
        (
            "loss",
            "mae",
            "--loss mae: choose one of mse, perceptual, name a function of your own as",
        ),
        (
            "loss",
            "mse,",
            "--loss mse,: choose one of mse, perceptual, name a function of your own as",
        ),
        ("loss", "mse,perceptual,mse", "--loss mse,perceptual,mse: name each loss once"),
        (
            "mse_weight",
            0.5,
            "--mse-weight: --loss mse does not use that; add --loss perceptual, or leave it out",
        ),
        ("images", 0, "--images ≥ 1 must hold, but got 0"),
        ("samples", -3, "--samples ≥ 1 must hold, but got -3"),
        ("max_epochs", 0, "--max-epochs ≥ 1 must hold, but got 0"),
        ("grace_epochs", 0, "--grace-epochs ≥ 1 must hold, but got 0"),
        ("batch_size", 0, "--batch-size ≥ 1 must hold, but got 0"),
        ("workers_per_trial", 0, "--workers-per-trial ≥ 1 must hold, but got 0"),
        ("samples", 10**23, "--samples < 1000001 must hold, but got 1"),
        ("wait_for_nodes", 0, "--wait-for-nodes ≥ 1 must hold, but got 0"),
        ("wait_sec", 0.0, "--wait-sec > 0 must hold, but got 0.0"),
        ("concurrency", 0, "--concurrency ≥ 1 must hold, but got 0"),
        ("finalists", 0, "--finalists ≥ 1 must hold, but got 0"),
        ("confirm_seeds", -1, "--confirm-seeds ≥ 0 must hold, but got -1"),
        ("seed", -1, "--seed ≥ 0 must hold, but got -1"),
        ("seed", 2**32, "--seed < 4294967296 must hold, but got 4294967296"),
        ("gpus_per_trial", -0.5, "--gpus-per-trial ≥ 0 must hold, but got -0.5"),
        ("gpus_per_trial", math.nan, "--gpus-per-trial ≥ 0 must hold, but got nan"),
        ("gpus_per_trial", 1.5, "--gpus-per-trial 1.5: give a fraction below 1 or a whole number"),
        ("memory_gib_per_trial", -1.0, "--memory-gib-per-trial ≥ 0 must hold, but got -1.0"),
        ("cpus_per_trial", 0.0, "--cpus-per-trial > 0 must hold, but got 0.0"),
        ("cpus_per_trial", math.nan, "--cpus-per-trial > 0 must hold, but got nan"),
        ("timeout", 0.0, "--timeout > 0 must hold, but got 0.0"),
        ("reduction_factor", 1.0, "--reduction-factor > 1 must hold, but got 1.0"),
        (
            "learning_rate",
            (0.1, 0.01),
            f"--learning-rate {RANGE} ≤ HIGH must hold, but got 0.1 0.01",
        ),
        (
            "learning_rate",
            (math.nan, 1.0),
            f"--learning-rate {RANGE} ≤ HIGH must hold, but got nan 1.0",
        ),
        ("learning_rate", (0.0, 0.01), f"--learning-rate {RANGE} > 0 must hold, but got 0.0"),
        ("dropout", (0.5, 0.1), f"--dropout {RANGE} ≤ HIGH must hold, but got 0.5 0.1"),
        (
            "dropout",
            (-0.1, 0.1),
            "--dropout LOW HIGH: LOW ≥ 0 must hold, but got -0.1",
        ),
        (
            "dropout",
            (0.0, 1.0),
            "--dropout LOW HIGH: HIGH < 1 must hold, but got 1.0",
        ),
        ("patience", (5, 2), f"--patience {RANGE} ≤ HIGH must hold, but got 5 2"),
        ("set", ("hidden",), "--set hidden: write NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=A,B,C or"),
        ("set", ("a=3", "a=4"), "--set a=3 twice: say once what a is to be"),
        ("set", "a=3", "--set 'a=3': give a list"),
        (
            "schedule",
            "linear",
            "--schedule linear: choose one of constant, cosine, one-cycle, or several with commas",
        ),
        ("schedule", "cosine,", "--schedule cosine,: choose one of constant, cosine, one-cycle"),
        ("schedule", "cosine,cosine", "--schedule cosine,cosine: name each schedule once"),
        ("patience", (0, 2), f"--patience {RANGE} ≥ 1 must hold, but got 0"),
        (
            "storage",
            "gs://bucket/x",
            "gs://bucket/x: give a directory, which may be a mounted one, or s3://BUCKET/PATH",
        ),
        (
            "storage",
            "s3://KEY:SECRET@bucket/x",
            "keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    ],
)
def test_a_setting_that_makes_no_sense_is_told_with_its_flag_and_value(
    setting: str, value: Any, told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as error:
        SearchConfig.from_flat({setting: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["mean", "sd", "images", "kind", "run", "subject", "series"])
def test_a_metric_has_the_name_of_no_other_column_of_scores(column: str) -> None:
    told = f"--metric my.py:{column}: a metric can't be called {column}, as another column"
    with pytest.raises(UsageError, match=told):
        SearchConfig(metric=f"my.py:{column}")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("gpus_per_trial", math.inf),
        pytest.param("learning_rate", (1e-3, math.inf)),
    ],
)
def test_infinity_is_refused_with_the_flag(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=flag(setting)):
        SearchConfig.from_flat({setting: value})


def test_a_schedule_is_asked_for_as_any_hyperparameter_and_once() -> None:
    config = SearchConfig(schedule="cosine,one-cycle", set=("hidden=64",))
    assert config.asked.settings == ("hidden=64", "schedule=cosine,one-cycle")
    with pytest.raises(UsageError) as error:
        SearchConfig(schedule="cosine", set=("schedule=one-cycle",))
    assert str(error.value) == (
        "--set schedule=one-cycle and --schedule: say once what schedule is to be"
    )


def test_grace_epochs_beyond_the_last_epoch_are_refused() -> None:
    with pytest.raises(
        UsageError, match="--grace-epochs ≤ --max-epochs must hold, but got 5 and 4"
    ):
        SearchConfig(grace_epochs=5, max_epochs=4)
    assert SearchConfig(grace_epochs=4, max_epochs=4).grace_epochs == 4


@pytest.mark.parametrize(
    "name", ["a/b", "..", "../x", ".hidden", "-x", "a b", "a\n", "a=b", "*", "é", "x" * 65]
)
@pytest.mark.parametrize("setting", ["name", "resume"])
def test_a_name_that_could_lead_elsewhere_is_refused(setting: str, name: str) -> None:
    with pytest.raises(
        UsageError, match="letters, digits, dots, dashes and underscores, at most 64, but got"
    ) as error:
        SearchConfig(**{setting: name})
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("name", ["a", "fc-20260101-120000", "A.b_c-9", "x" * 64])
def test_a_plain_name_is_taken(name: str) -> None:
    assert SearchConfig(name=name, resume=name).name == name


def test_every_setting_survives_json() -> None:
    config = SearchConfig(
        model="cnn",
        ranges={"learning_rate": (1e-4, 0.1), "dropout": (0.0, 0.3), "patience": (2, 2)},
        set=("hidden=32:64:log", "weight_decay=0"),
        perceptual_layers=(2, 7),
        loss="mse,perceptual",
        samples=3,
        name="x",
        timeout=1.5,
    )
    again = SearchConfig.from_flat(json.loads(json.dumps(config.flat())))
    assert again == config
    assert isinstance(again.ranges["patience"], tuple)
    assert json.loads(json.dumps(config.flat()))["patience"] == [2, 2]  # as reports read it


def test_settings_of_another_version_are_told() -> None:
    kept = {**SearchConfig().flat(), "weather": 1, "colour": 2}
    del kept["seed"]
    with pytest.raises(UsageError) as error:
        SearchConfig.from_run(json.loads(json.dumps(kept)))
    assert str(error.value) == (
        "these are settings of another version of transform-tuner: "
        "it lacks seed and has colour, weather"
    )


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("samples", "three", "--samples 'three': give a whole number"),
        ("samples", 2.5, "--samples 2.5: give a whole number"),
        ("samples", True, "--samples True: give a whole number"),
        ("samples", [3], "--samples (3,): give a whole number"),
        ("samples", -(10**400), "--samples ≥ 1 must hold, but got -1000"),
        ("model", None, "--model None: give a text"),
        ("model", 3, "--model 3: give a text"),
        ("loss", {}, "--loss {}: give a text"),
        ("compile", ["auto"], "--compile ('auto',): give a text"),
        ("cpus_per_trial", "1", "--cpus-per-trial '1': give a number"),
        ("verbose", "no", "--verbose 'no': give true or false"),
        ("perceptual_layers", 2, "--perceptual-layers 2: give a list"),
        ("perceptual_layers", [[2]], "--perceptual-layers [2]: give a whole number"),
        ("patience", [2], "--patience (2,): give a list of 2"),
        ("patience", 2, "--patience 2: give a list of 2"),
        ("patience", [2.5, 3], "--patience 2.5: give a whole number"),
    ],
)
def test_a_setting_of_another_type_is_told_with_its_flag(
    setting: str, value: Any, told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        SearchConfig.from_run({**SearchConfig().flat(), setting: value})


def test_what_a_run_keeps_may_have_whole_numbers_for_numbers() -> None:
    kept = {
        **SearchConfig().flat(),
        "cpus_per_trial": 2,
        "learning_rate": [1, 2],
        "samples": 10**5,
    }
    assert SearchConfig.from_run(kept).cpus_per_trial == 2


@pytest.mark.parametrize("setting", ["resume", "storage", "data", "pipeline"])
def test_an_empty_text_is_refused_with_the_flag(setting: str) -> None:
    with pytest.raises(UsageError, match=f"--{setting} '': the text is empty; give one, or leave"):
        SearchConfig(**{setting: ""})


def test_what_is_a_persons_own_is_named_as_it_was_given() -> None:
    own = SearchConfig(model="nets:Mine", loss="mse,my.py:f", metric="my.py:g")
    assert own.own_names == ["nets:Mine", "my.py:f", "my.py:g"]
    assert SearchConfig(model="fc", loss="mse,perceptual").own_names == []


def test_layers_of_vgg16_without_weights_weigh_one_each() -> None:
    config = SearchConfig(loss="perceptual", perceptual_layers=(2, 28))
    assert config.perceptual.layer_weights == (1.0, 1.0)


def test_precisions_and_criteria_are_those_that_training_has() -> None:
    assert SETTINGS["precision"].choices == ("auto", *PRECISIONS)
    assert SETTINGS["early_stopping"].choices == tuple(CRITERIA)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"scheduler": "none", "grace_epochs": 2},
            "--grace-epochs 2: --scheduler none does not use that; leave it out, or give "
            "--scheduler asha or median",
        ),
        (
            {"scheduler": "median", "reduction_factor": 2.0},
            "--reduction-factor 2.0: --scheduler median does not use that; leave it out, or give "
            "--scheduler asha",
        ),
        (
            {"search": "random", "startup_trials": 7},
            "--startup-trials 7: --search random does not use that; leave it out, or give "
            "--search tpe",
        ),
    ],
)
def test_a_setting_of_another_searcher_or_scheduler_is_refused(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        SearchConfig(**settings)


def test_the_median_rule_has_a_grace_and_tpe_random_trials() -> None:
    assert SearchConfig(scheduler="median", grace_epochs=2).grace_epochs == 2
    assert SearchConfig(search="tpe", startup_trials=7).startup_trials == 7
