import math
import runpy
import sys

import pytest
import torch

from trainables import profile
from trainables.data.examples import random_examples
from trainables.losses.loss_settings import CONVOLUTIONS, POOLED, Perceptual
from trainables.losses.vgg16_weights import random_vgg16
from trainables.networks.registry import NETWORKS
from trainables.profile import (
    PARTS,
    REST,
    Profile,
    fitting_images,
    flops_per_image,
    lines,
    main,
    measure,
    parser,
)
from trainables.tasks import STUDY
from trainables.training import matrix_rate
from trainables.training.loop import Training, TrainingConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FIRST, SECOND = 3072 * 128, 128 * 784  # the two matrices of fc
CNN_FORWARD = 2 * 16 * (31**2 * 3 * 64 + 30**2 * 64 * 64 + 29**2 * 64 * 64 + 28**2 * 64)
MADE_UP = Profile(
    part_sec=dict(zip((*PARTS, REST), (1.0, 2.0, 0.5, 4.0, 0.25, 1.75, 0.5), strict=True)),
    epoch_sec=8.0,
    images=400,
    flops=320 * 10**9,
    precision="float32",
    matrix_gflops=80.0,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_rate, "MATRIX_SIZE", {"cpu": 64})


def config(model: str, **settings) -> TrainingConfig:
    return TrainingConfig(model=model, learning_rate=1e-4, max_epochs=1, seed=0, **settings)


def counted(settings: TrainingConfig) -> tuple[int, int]:
    few = random_examples(2, STUDY)
    vgg = random_vgg16() if settings.loss == "perceptual" else None
    return flops_per_image(Training(settings, few, few, device=CPU, vgg=vgg))


def test_the_flops_of_fc_are_its_products_weight_gradients_and_the_gradient_between() -> None:
    assert counted(config("fc")) == (2 * (2 * FIRST + 3 * SECOND), 2 * (FIRST + SECOND))


def test_the_flops_of_the_cnn_are_three_times_forward_but_for_the_images_gradient() -> None:
    assert counted(config("cnn")) == (3 * CNN_FORWARD - 2 * 16 * 31**2 * 3 * 64, CNN_FORWARD)


def test_the_flops_of_the_perceptual_loss_are_vgg16s_for_outputs_targets_and_the_gradient() -> None:
    side, forward, last = 32, 0, 0
    for layer, (into, out) in CONVOLUTIONS.items():
        last = 2 * 9 * (into if layer else 2) * out * side**2  # a grey channel and one of ones
        forward += last
        side //= 2 if layer in POOLED else 1
    training, validation = counted(config("fc", loss="perceptual", perceptual=Perceptual(size=32)))
    # Of the last layer only the difference is compared, and not the targets
    assert training == 2 * (2 * FIRST + 3 * SECOND) + 3 * forward - last
    assert validation == 2 * (FIRST + SECOND) + 2 * forward - last


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("model", ["fc", "cnn", "separable"])
def test_every_part_of_an_epoch_takes_some_of_its_time(model: str) -> None:
    found = measure(config(model, batch_size=8), images=18, epochs=1, device=CPU)
    assert tuple(found.part_sec) == (*PARTS, REST)
    assert min(found.part_sec.values()) > 0
    assert found.epoch_sec > 0
    train_flops, validation_flops = counted(config(model))
    assert (found.images, found.flops) == (18, 18 * train_flops + 2 * validation_flops)


@pytest.mark.usefixtures("small")
def test_the_parts_are_those_of_the_median_epoch_and_not_each_ones_own_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed = [{"forward": 5.0, REST: 1.0}, {"forward": 2.0, REST: 2.0}, {"forward": 1.0, REST: 4.0}]
    monkeypatch.setattr(profile, "time_epochs", lambda training, epochs: ([3.0, 9.0, 4.0], timed))
    found = measure(config("fc"), images=10, epochs=3, device=CPU)
    assert (found.part_sec, found.epoch_sec) == ({"forward": 1.0, REST: 4.0}, 4.0)


@pytest.mark.usefixtures("small")
def test_the_rate_is_the_better_of_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([50.0, 40.0])
    monkeypatch.setattr(profile, "matrix_gflops", lambda device, precision: next(found))
    assert measure(config("fc"), images=10, epochs=1, device=CPU).matrix_gflops == 50.0


def test_the_rate_is_that_of_vgg16s_precision_where_it_does_most_of_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}
    )  # fc itself stays in float32
    asked: list[str] = []
    monkeypatch.setattr(
        profile, "matrix_gflops", lambda device, precision: float(not asked.append(precision))
    )
    perceptual = config("fc", loss="perceptual", perceptual=Perceptual(size=32))
    assert measure(perceptual, images=1, epochs=1, device=CPU).precision == "bfloat16"
    measure(config("fc"), images=1, epochs=1, device=CPU)
    assert asked == ["bfloat16", "bfloat16", "float32", "float32"]


@pytest.mark.parametrize(
    ("image_sec", "device", "images"),
    [
        (1.0, CPU, 4),
        (1.5 / 100, CPU, 64),
        (1.5 / 64, CPU, 64),
        (1.5 / 63, CPU, 32),
        (1e-9, CPU, 16_384),
        (1e-9, CUDA, 45_000),
    ],
)
def test_left_to_choose_it_takes_as_many_images_as_the_machine_does_in_a_while(
    image_sec: float, device: torch.device, images: int
) -> None:
    assert fitting_images(image_sec, device) == images


def test_what_is_printed_has_every_part_its_share_and_the_share_of_the_matrix_rate() -> None:
    said = lines(MADE_UP, CPU)
    rows = {line[:28].strip(): [float(cell) for cell in line[28:].split()] for line in said[1:10]}
    assert rows == {
        "reading and converting": [1.0, 10.0],
        "forward": [2.0, 20.0],
        "loss": [0.5, 5.0],
        "backward": [4.0, 40.0],
        "optimiser": [0.25, 2.5],
        "validation": [1.75, 17.5],
        "the rest": [0.5, 5.0],
        "epoch, part by part": [10.0, 100.0],
        "epoch, left alone": [8.0, 80.0],
    }
    assert said[10:] == [
        "50.0 training images/s, validation included",
        "320.0 GFLOP an epoch, 40.0 GFLOP/s: 50% of the 80.0 GFLOP/s that a matrix product "
        "in float32 reaches on 1 threads",
    ]


def test_on_a_gpu_it_says_that_parts_were_waited_for_and_names_no_threads() -> None:
    said = "\n".join(lines(MADE_UP, CUDA))
    assert "Each part was waited for; left alone nothing is, and CUDA graphs are used" in said
    assert "threads" not in said


@pytest.mark.usefixtures("small")
def test_the_command_profiles_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--model",
        "cnn",
        "--images",
        "5",
        "--batch-size",
        "4",
        "--epochs",
        "1",
        "--threads",
        "1",
    ]
    given = [
        "--device",
        "cpu",
        "--precision",
        "float32",
        "--loss",
        "perceptual",
        "--perceptual-size",
        "32",
    ]
    assert main([*arguments, *given]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "measuring the matrix rate in float32 (as asked) …"
    assert said[1].startswith(
        "cnn, dropout 0.250, channels 64, depth 4, perceptual, batch 4: 5 random images, "
        "one epoch to warm up"
    )
    assert [line[:28].strip() for line in said[3:9]] == list(PARTS)
    share = float(said[-1].partition("GFLOP/s: ")[2].partition("%")[0])
    assert math.isfinite(share)
    assert share > 0


def test_its_help_names_every_network() -> None:
    assert f"{', '.join(NETWORKS)}, package.module:Class" in " ".join(
        parser().format_help().split()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "mlp"], "there is no network 'mlp': choose one of fc, cnn, separable"),
        (["--model", "no.such:Network"], "--model no.such:Network: there is no module 'no.such'"),
        (["--images", "0"], "--images ≥ 1 must hold, but got 0"),
        (["--batch-size", "-1"], "--batch-size ≥ 1 must hold, but got -1"),
        (["--threads", "0"], "--threads ≥ 1 must hold, but got 0"),
        (["--epochs", "0"], "--epochs ≥ 1 must hold, but got 0"),
        (["--perceptual-size", "8"], "--perceptual-size ≥ 32 must hold, but got 8"),
        (["--device", "cuda"], "--device cuda: PyTorch finds no CUDA device here"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {message}" if arguments[0] != "--model" else "error: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_as_a_module_it_ends_with_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["profile", "--model", "mlp"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("trainables.profile", run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: there is no network 'mlp'")
