"""Who is timed: the pipeline in its forms, its peers, networks, a person's own function."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.util import find_spec

from trainables.errors import UsageError
from trainables.hyperparameters import KNOWN
from trainables.networks.registry import NETWORKS
from trainables.tasks import RECORDED, STUDY, Task

PEERS = {"OpenCV": "cv2", "Pillow": "PIL", "kornia-rs": "kornia_rs", "Kornia": "kornia"}
TORCHVISION = {"torchvision uint8": "uint8", "torchvision float32": "float32"}
"""Names and precisions."""
FACTORS = "matrix, factors"
COMPILED = "torch.compile"
"""The engine that compiles a network for each batch size."""
PIPELINE = "pipeline"
"""The kind of subjects that are the pipeline itself, which all others are compared with."""
STEADY, DEFAULT = "steady", "default"
ENVIRONMENTS = (STEADY, DEFAULT)
"""In which subjects run: with threads that sleep and memory that is kept, or as it is."""
LARGEST_MATRIX = 2**26  # numbers, 256 MiB


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One subject on one device: plain values, from which its own process builds it.

    Attributes:
        kind: pipeline, matrix, peer, trial, untrained or own.
        engine: Who runs it: a key of `MATRICES`, `EXPORTED` or `ENGINES` in `engines`.
        environment: One of ENVIRONMENTS.
        single: Takes one image at a time, so that only batch size 1 makes sense.
    """

    name: str
    kind: str
    engine: str
    device: str
    precision: str = "float32"
    model: str | None = None
    trial: int | None = None
    weights: str | None = None
    environment: str = STEADY
    single: bool = False
    task: Task = STUDY

    @property
    def is_network(self) -> bool:
        """Say whether it has weights, and so variants that must agree with each other."""
        return self.kind in ("trial", "untrained")


@dataclass(frozen=True)
class Finalist:
    """A trained network of a run."""

    trial: int
    model: str
    weights: str


def catalogue(
    devices: Iterable[str], finalists: Sequence[Finalist], own: Sequence[str], task: Task = STUDY
) -> list[Subject]:
    """List every subject on every device, in a fixed order.

    Args:
        devices: `cpu` and `cuda`.
        finalists: Trained networks of a run.
        own: Functions of the person's own, as package.module:function or path/file.py:function.
        task: What they all do.
    """
    found = []
    for device in devices:
        found += [*_pipelines(device, task), *_matrices(device, task)]
        found += [*_peers(device, task), *_networks(device, finalists, task)]
        found += [Subject(name=name, kind="own", engine="own", device=device) for name in own]
    return [replace(subject, task=task) for subject in found]


def in_environments(subjects: Sequence[Subject], environments: Sequence[str]) -> list[Subject]:
    """List each subject once for each of ENVIRONMENTS; in the default one its name says so."""
    found = []
    for environment in environments:
        ending = "" if environment == STEADY else f", {environment} environment"
        found += [replace(one, name=one.name + ending, environment=environment) for one in subjects]
    return found


def chosen(subjects: Sequence[Subject], patterns: Sequence[str]) -> list[Subject]:
    """List those whose name fits one of the shell patterns, and a person's own.

    Without a pattern these are all.

    Raises UsageError for a pattern that fits none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(subject.name, pattern) for subject in subjects):
            names = ", ".join(dict.fromkeys(repr(subject.name) for subject in subjects))
            raise UsageError(f"--only {pattern!r} fits no subject: there are {names}")
    if not patterns:
        return list(subjects)
    return [
        subject
        for subject in subjects
        if subject.kind == "own" or any(fnmatchcase(subject.name, pattern) for pattern in patterns)
    ]


def _pipelines(device: str, task: Task) -> list[Subject]:
    """The pipeline as people call it. Where that does not work on a GPU, its process says why."""
    if task.pipeline == STUDY.pipeline:
        return [
            Subject(
                name=name, kind=PIPELINE, engine="torchvision", device=device, precision=precision
            )
            for name, precision in TORCHVISION.items()
        ]
    if task.pipeline == RECORDED:
        return []
    return [
        Subject(
            name=task.pipeline.rpartition("/")[2],  # without the file's directory, for tables
            kind=PIPELINE,
            engine="own pipeline",
            device=device,
            precision="float32" if task.takes == "float" else "uint8",
            single=not task.batched,
        )
    ]


def _matrices(device: str, task: Task) -> list[Subject]:
    """The pipeline as what it is, where it is affine: its matrix if that is small, its factors."""
    if not task.is_affine:
        return []
    found = []
    if task.input_size * task.output_size <= LARGEST_MATRIX:
        found.append(
            Subject(name="matrix, dense", kind="matrix", engine="dense matrix", device=device)
        )
    if task.kronecker_rank is not None:
        found.append(Subject(name=FACTORS, kind="matrix", engine="factors", device=device))
    return found


def _peers(device: str, task: Task) -> list[Subject]:
    """The study's steps in other libraries that are installed; only Kornia runs on a GPU."""
    if task != STUDY:
        return []
    return [
        Subject(
            name=name,
            kind="peer",
            engine=name,
            device=device,
            precision="float32" if name == "Kornia" else "uint8",
            single=name != "Kornia",
        )
        for name, module in PEERS.items()
        if find_spec(module) is not None and (device == "cpu" or name == "Kornia")
    ]


def _networks(device: str, finalists: Sequence[Finalist], task: Task) -> list[Subject]:
    from trainables.networks.base import space_of  # here for the same reason as below
    from trainables.networks.registry import find, misfit

    trained = {finalist.model for finalist in finalists}
    found = []
    for finalist in finalists:
        found += _variants(
            f"trial {finalist.trial}",
            device,
            kind="trial",
            model=finalist.model,
            trial=finalist.trial,
            weights=finalist.weights,
        )
    for model in NETWORKS:
        # Untrained it takes as long as trained, but not where a search chooses how large it is
        has_one_size = all(
            parameter.is_fixed
            for name, parameter in space_of(find(model)).items()
            if name not in KNOWN
        )
        if has_one_size and model not in trained and not misfit(find(model), task):
            found += _variants(model, device, kind="untrained", model=model)
    return found


def _variants(name: str, device: str, **settings: object) -> list[Subject]:
    # Here, since the dashboard reads this file's names and has no use for PyTorch's 2 s
    import torch

    from trainables.training.precision import bfloat16_unit

    engines = [("", "eager", "float32"), (", compiled", COMPILED, "float32")]
    if bfloat16_unit(torch.device(device)):
        engines.append((", bfloat16", "eager", "bfloat16"))
    if device == "cpu" and find_spec("onnxruntime") and find_spec("onnxscript"):
        engines.append((", ONNX", "ONNX Runtime", "float32"))
    return [
        Subject(name=name + ending, engine=engine, precision=precision, device=device, **settings)  # type: ignore[arg-type]
        for ending, engine, precision in engines
    ]
