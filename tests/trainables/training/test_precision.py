import pytest
import torch
from torch import nn

from trainables.data.examples import Examples
from trainables.training.loop import Training, TrainingConfig
from trainables.training.precision import Precision, bfloat16_unit, choose

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
AMX = {"amx_bf16": True, "amx_tile": True, "avx512_bf16": True}


def pretend(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


@pytest.mark.parametrize(
    ("capabilities", "unit"),
    [
        (AMX, "AMX"),
        ({"amx_bf16": True}, "AMX"),
        ({"amx_tile": True}, "AMX"),
        ({"amx_bf16": False, "amx_tile": False, "avx512_bf16": True}, "AVX512-BF16"),
        ({"avx2": True, "avx512_f": True}, None),
        ({}, None),
    ],
)
def test_bfloat16_is_taken_where_the_cpu_multiplies_it_in_hardware(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], unit: str | None
) -> None:
    pretend(monkeypatch, capabilities)
    assert bfloat16_unit(CPU) == unit
    chosen = choose("auto", pays=True, device=CPU)
    assert chosen.name == ("bfloat16" if unit else "float32")
    assert (unit or "no bfloat16 unit") in chosen.reason


@pytest.mark.parametrize(
    ("capability", "name"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_bfloat16_is_taken_on_gpus_with_tensor_cores_for_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose("auto", pays=True, device=CUDA).name == name


@pytest.mark.parametrize(
    ("model", "name"), [("cnn", "bfloat16"), ("fc", "float32"), ("separable", "float32")]
)
def test_with_amx_only_convolutions_train_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, train: Examples, validation: Examples, model: str, name: str
) -> None:
    pretend(monkeypatch, AMX)
    settings = TrainingConfig(model=model, learning_rate=1e-3, max_epochs=1, seed=0)
    assert Training(settings, train, validation, device=CPU).precision.name == name


@pytest.mark.parametrize(("capability", "name"), [((7, 5), "float32"), ((8, 0), "tf32")])
def test_tf32_is_taken_where_it_is_asked_for_and_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose("tf32", pays=False, device=CUDA).name == name
    assert choose("tf32", pays=True, device=CPU) == Precision("float32", "this cpu has no TF32")


def test_a_gpu_rounds_what_it_multiplies_only_where_tf32_is_asked_for() -> None:
    backends = torch.backends
    try:
        for name, rounded in (
            ("tf32", True),
            ("float32", False),
            ("tf32", True),
            ("bfloat16", False),
        ):
            Precision(name, "").set_products()
            assert (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32) == (
                rounded,
                rounded,
            )
            assert torch.get_float32_matmul_precision() == ("high" if rounded else "highest")
    finally:
        Precision("float32", "").set_products()


@pytest.mark.parametrize(
    ("name", "rounded"), [("bfloat16", True), ("tf32", True), ("float32", False)]
)
@pytest.mark.parametrize("before", [True, False])
def test_convolutions_that_stay_in_float32_beside_bfloat16_may_round_and_exact_ones_may_not(
    monkeypatch: pytest.MonkeyPatch, name: str, rounded: bool, before: bool
) -> None:
    """Whatever the network's own precision has set, which is as before afterwards."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    with Precision(name, "").tf32_convolutions():
        assert torch.backends.cudnn.allow_tf32 == rounded
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
@pytest.mark.parametrize("capabilities", [AMX, {}])
@pytest.mark.parametrize("pays", [True, False])
def test_what_is_asked_for_is_taken(
    monkeypatch: pytest.MonkeyPatch, asked: str, capabilities: dict[str, bool], pays: bool
) -> None:
    pretend(monkeypatch, capabilities)
    assert choose(asked, pays=pays, device=CPU) == Precision(asked, "as asked")


@pytest.mark.parametrize(
    ("name", "dtype", "memory_format"),
    [
        ("bfloat16", torch.bfloat16, torch.channels_last),
        ("tf32", torch.float32, torch.channels_last),
        ("float32", torch.float32, torch.contiguous_format),
    ],
)
def test_the_network_runs_in_the_precision_while_its_weights_stay_float32(
    name: str, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    precision = Precision(name, "")
    layer = nn.Conv2d(3, 1, 4)
    with precision.autocast(CPU):
        outputs = layer(torch.rand(1, 3, 8, 8))
    assert outputs.dtype == dtype
    assert layer.weight.dtype == torch.float32
    assert precision.memory_format == memory_format
