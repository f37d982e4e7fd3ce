"""Who is timed: every subject once on every device, as far as this machine has what it needs."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import pytest

from analysis.timing import subjects
from analysis.timing.engines import ENGINES, EXPORTED, MATRICES
from analysis.timing.subjects import FACTORS, TORCHVISION, Finalist, Subject, catalogue, chosen
from trainables.tasks import Task
from trainables.training import precision

FINALISTS = [Finalist(3, "cnn", "a.safetensors"), Finalist(12, "cnn", "b.safetensors")]
OWN = ["mine:fast", "mine:faster"]
EVERYTHING = {"cv2", "PIL", "kornia_rs", "kornia", "onnxruntime", "onnxscript"}


@pytest.fixture
def machine_with(monkeypatch: pytest.MonkeyPatch):
    """A machine that has these packages, and bfloat16 in hardware or not."""

    def make(packages: Collection[str] = EVERYTHING, bfloat16: bool = True) -> None:
        monkeypatch.setattr(
            subjects, "find_spec", lambda name: "a module" if name in packages else None
        )
        monkeypatch.setattr(
            precision, "bfloat16_unit", lambda device: "a unit" if bfloat16 else None
        )

    make()
    return make


def names(found: list[Subject], device: str = "cpu") -> list[str]:
    return [subject.name for subject in found if subject.device == device]


def by_name(found: list[Subject], name: str) -> Subject:
    (subject,) = [subject for subject in found if subject.name == name]
    return subject


@pytest.mark.usefixtures("machine_with")
def test_the_catalogue_of_a_cpu_is_complete_and_in_a_fixed_order() -> None:
    assert names(catalogue(["cpu"], FINALISTS[:1], OWN[:1])) == [
        *("torchvision uint8", "torchvision float32", "matrix, dense", "matrix, factors"),
        *("OpenCV", "Pillow", "kornia-rs", "Kornia"),
        *("trial 3", "trial 3, compiled", "trial 3, bfloat16", "trial 3, ONNX"),
        *("fc", "fc, compiled", "fc, bfloat16", "fc, ONNX"),
        *("separable", "separable, compiled", "separable, bfloat16", "separable, ONNX"),
        "mine:fast",
    ]


@pytest.mark.usefixtures("machine_with")
def test_a_gpu_runs_neither_onnx_runtime_nor_opencv_nor_pillow() -> None:
    both = catalogue(["cpu", "cuda"], FINALISTS, OWN)
    on_cpu_alone = {"OpenCV", "Pillow", "kornia-rs"} | {
        name for name in names(both) if name.endswith("ONNX")
    }
    assert set(names(both)) - set(names(both, "cuda")) == on_cpu_alone
    assert len(on_cpu_alone) == 3 + 4
    assert not set(names(both, "cuda")) - set(names(both))


@pytest.mark.usefixtures("machine_with")
def test_a_name_means_one_subject_on_each_device() -> None:
    counts = Counter((one.name, one.device) for one in catalogue(["cpu", "cuda"], FINALISTS, OWN))
    assert set(counts.values()) == {1}
    assert {device for _, device in counts} == {"cpu", "cuda"}


@pytest.mark.usefixtures("machine_with")
def test_every_engine_is_one_that_can_be_built() -> None:
    found = catalogue(["cpu", "cuda"], FINALISTS, OWN)
    found += catalogue(["cpu"], [], [], Task(pipeline="mine.py:blur"))
    assert {subject.engine for subject in found} == {*ENGINES, *EXPORTED, *MATRICES}


COLOUR = Task(
    pipeline="mine.py:blur",
    input_shape=(3, 64, 64),
    output_shape=(3, 64, 64),
    takes="pil",
    batched=False,
    affine_residual=0.002,
)


@pytest.mark.usefixtures("machine_with")
def test_of_an_own_task_its_own_callable_and_the_networks_that_fit_are_timed() -> None:
    found = catalogue(["cpu"], [], [], COLOUR)
    assert all(subject.task == COLOUR for subject in found)
    (pipeline,) = (subject for subject in found if subject.kind == "pipeline")
    assert (pipeline.name, pipeline.single) == ("mine.py:blur", True)
    assert {subject.kind for subject in found} == {"pipeline", "untrained"}  # its matrix is large
    # A search chooses how large kron and can are
    assert {subject.model for subject in found} - {None} == {"fc", "cnn", "separable"}
    small = replace(COLOUR, input_shape=(3, 16, 16), output_shape=(3, 9, 16), kronecker_rank=1)
    found = catalogue(["cpu", "cuda"], [], [], small)
    assert [one.name for one in found if one.kind == "matrix" and one.device == "cpu"] == [
        "matrix, dense",
        FACTORS,
    ]
    assert {one.model for one in found} - {None} == {"fc", "separable"}
    on_gpu = [one for one in found if one.kind == "pipeline" and one.device == "cuda"]
    assert [one.single for one in on_gpu] == [True]  # its process says why it does not work there
    found = catalogue(["cpu"], [], [], replace(small, kronecker_rank=None))
    assert [one.name for one in found if one.kind == "matrix"] == ["matrix, dense"]


@pytest.mark.usefixtures("machine_with")
def test_a_trained_network_is_not_timed_untrained_as_well() -> None:
    found = catalogue(["cpu"], FINALISTS, [])
    untrained = {subject.model for subject in found if subject.kind == "untrained"}
    assert untrained == {"fc", "separable"}
    assert {one.model for one in catalogue(["cpu"], [], []) if one.kind == "untrained"} == {
        "fc",
        "cnn",
        "separable",
    }


@pytest.mark.usefixtures("machine_with")
def test_every_finalist_is_a_subject_that_knows_its_weights() -> None:
    found = catalogue(["cpu"], FINALISTS, [])
    for finalist in FINALISTS:
        variants = [subject for subject in found if subject.trial == finalist.trial]
        assert len(variants) == 4
        assert {one.weights for one in variants} == {finalist.weights}
        assert {(one.kind, one.model) for one in variants} == {("trial", "cnn")}
    assert all(subject.weights is None for subject in found if subject.kind != "trial")


@pytest.mark.usefixtures("machine_with")
def test_each_subject_says_in_which_precision_it_computes() -> None:
    found = catalogue(["cpu"], FINALISTS, [])
    assert by_name(found, "torchvision uint8").precision == "uint8"
    assert by_name(found, "torchvision float32").precision == "float32"
    peers = {one.name: (one.precision, one.single) for one in found if one.kind == "peer"}
    assert peers == {
        "OpenCV": ("uint8", True),
        "Pillow": ("uint8", True),
        "kornia-rs": ("uint8", True),
        "Kornia": ("float32", False),
    }
    bfloat16 = [one.name for one in found if one.precision == "bfloat16"]
    assert bfloat16 == [name for name in names(found) if name.endswith(", bfloat16")]


@pytest.mark.usefixtures("machine_with")
def test_only_the_peers_that_take_single_images_are_single() -> None:
    assert {one.name for one in catalogue(["cpu"], FINALISTS, OWN) if one.single} == {
        "OpenCV",
        "Pillow",
        "kornia-rs",
    }


def test_without_its_unit_bfloat16_is_not_timed(machine_with) -> None:
    machine_with(bfloat16=False)
    assert not [
        one for one in catalogue(["cpu", "cuda"], FINALISTS, []) if one.precision == "bfloat16"
    ]


@pytest.mark.parametrize(
    ("missing", "without"),
    [
        ("cv2", "OpenCV"),
        ("PIL", "Pillow"),
        ("kornia_rs", "kornia-rs"),
        ("kornia", "Kornia"),
        ("onnxruntime", "ONNX"),
        ("onnxscript", "ONNX"),
    ],
)
def test_what_is_not_installed_is_not_timed(machine_with, missing: str, without: str) -> None:
    whole = names(catalogue(["cpu"], FINALISTS, OWN))
    machine_with(EVERYTHING - {missing})
    assert names(catalogue(["cpu"], FINALISTS, OWN)) == [
        name for name in whole if without not in name
    ]
    assert any(without in name for name in whole)


def test_the_names_that_others_rely_on_are_in_the_catalogue() -> None:
    assert {*TORCHVISION, FACTORS} <= set(names(catalogue(["cpu"], [], [])))


@pytest.mark.parametrize(
    ("kind", "is_network"),
    [
        ("trial", True),
        ("untrained", True),
        ("pipeline", False),
        ("matrix", False),
        ("peer", False),
        ("own", False),
    ],
)
def test_only_trials_and_untrained_networks_have_variants_that_must_agree(
    kind: str, is_network: bool
) -> None:
    assert Subject(name="x", kind=kind, engine="eager", device="cpu").is_network is is_network


@pytest.mark.usefixtures("machine_with")
@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["fc"], ["fc"]),
        (
            ["fc*", "torch*uint8"],
            ["torchvision uint8", "fc", "fc, compiled", "fc, bfloat16", "fc, ONNX"],
        ),
        (["trial 3", "trial 3"], ["trial 3"]),
        (["trial 1*ONNX"], ["trial 12, ONNX"]),
        (["matrix, *", "*dense"], ["matrix, dense", "matrix, factors"]),
    ],
)
def test_patterns_choose_by_the_whole_name_and_keep_the_order(
    patterns: list[str], expected: list[str]
) -> None:
    assert names(chosen(catalogue(["cpu"], FINALISTS, []), patterns)) == expected


@pytest.mark.usefixtures("machine_with")
def test_a_persons_own_is_timed_whatever_the_patterns() -> None:
    assert names(chosen(catalogue(["cpu"], FINALISTS, OWN), ["fc"])) == ["fc", *OWN]


@pytest.mark.usefixtures("machine_with")
def test_a_pattern_that_fits_on_one_device_only_is_no_mistake() -> None:
    found = chosen(catalogue(["cpu", "cuda"], [], []), ["Pillow", "Kornia"])
    assert [(one.name, one.device) for one in found] == [
        ("Pillow", "cpu"),
        ("Kornia", "cpu"),
        ("Kornia", "cuda"),
    ]


@pytest.mark.usefixtures("machine_with")
def test_without_a_pattern_all_are_chosen() -> None:
    everything = catalogue(["cpu", "cuda"], FINALISTS, OWN)
    assert chosen(everything, []) == everything


@pytest.mark.parametrize("pattern", ["FC", "fc,", "trial 4"])
def test_a_pattern_that_fits_nothing_is_refused_with_every_name_once(
    machine_with, pattern: str
) -> None:
    machine_with(packages=(), bfloat16=False)
    everything = catalogue(["cpu", "cuda"], FINALISTS[:1], [])
    with pytest.raises(
        ValueError, match=re.escape(f"--only {pattern!r} fits no subject: there are")
    ) as error:
        chosen(everything, ["fc", pattern])
    listed = re.findall(r"'([^']+)'", str(error.value).partition("there are")[2])
    assert listed == names(everything)
