"""A trained network as one file that runs without this project: ONNX, or a program of torch.export.

    python -m trainables.export RUN --to onnx
    python -m trainables.export results/networks/run=RUN/best.safetensors --to torch --out net.pt2
    python -m trainables.export RUN --storage s3://BUCKET/PATH   # RUN.onnx in this directory

The exported network takes `images`, (N, 3, H, W) uint8, and returns `outputs`, (N, c, h, w)
float32, for any N. It is checked against the network itself before it gets its name. Exit status:
0, 1 when the network can't be exported, 2 for a mistake on the command line.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from trainables.atomic_write import atomic_write
from trainables.errors import (
    FAILED,
    UsageError,
    command,
    complain,
    extra_packages,
    first_line,
    known_runs,
    prog,
)
from trainables.networks.base import EndToEnd
from trainables.networks.registry import find
from trainables.networks.weights import load_network, read_header
from trainables.tasks import Shape, Task

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
BUCKET = "s3://"
BEST = "best.safetensors"
WEIGHTS = ".safetensors"
TOLERANCE = 1e-4  # of outputs in [0, 1]: three orders above what reordered float32 sums differ by
CHECKED_COUNTS = (1, 2, 61)

Exported = Callable[[Tensor], Tensor]


def export(network: nn.Module, task: Task, to: str, path: Path) -> float:
    """Write a network to a file, whole or not at all.

    Args:
        network: It is brought to the CPU and into eval mode.
        task: What it was built for.
        to: A key of ENDINGS.
        path: Ends as ENDINGS says.

    Returns:
        The largest difference of an output from the network's own.

    Raises:
        UsageError: The packages for it are missing, PyTorch can't trace the network, or the
            exported network computes something else.
    """
    module = EndToEnd(network.cpu()).eval()
    with atomic_write(path) as aside:
        _write(module, task.input_shape, to, aside)
        difference = _largest_difference(module, task, load_exported(aside))
        if not difference <= TOLERANCE:
            raise UsageError(
                f"the exported network differs from the network itself by {difference:.1e}: "
                f"not written"
            )
    return difference


def load_exported(path: Path) -> Exported:
    """Load an exported file as a function of images (N, 3, H, W) uint8 on the CPU."""
    if path.suffix == ENDINGS["torch"]:
        return torch.export.load(path).module()
    onnxruntime = _onnx_package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Idle threads leave the cores to others
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _write(module: nn.Module, input_shape: Shape, to: str, path: Path) -> None:
    # Two, since the number of images would be taken for a constant if it were one
    images = torch.zeros(2, *input_shape, dtype=torch.uint8)
    shapes = {"images": {0: torch.export.Dim("N", min=1)}}
    try:
        if to == "onnx":
            for name in ("onnxscript", "onnxruntime"):
                _onnx_package(name)
            torch.onnx.export(
                module,
                (images,),
                path,
                input_names=["images"],
                output_names=["outputs"],
                dynamo=True,
                dynamic_shapes=shapes,
                external_data=False,  # one file
                verbose=False,
            )
        else:
            torch.export.save(torch.export.export(module, (images,), dynamic_shapes=shapes), path)
    except (UsageError, OSError):
        raise
    except (Exception, SystemExit) as error:  # of PyTorch, and whatever the network raises
        raise UsageError(
            f"PyTorch can't export this network for any number of images: {first_line(error)}"
        ) from error


def _onnx_package(name: str) -> Any:
    with extra_packages("ONNX", "export"):
        return importlib.import_module(name)


@torch.inference_mode()
def _largest_difference(module: nn.Module, task: Task, exported: Exported) -> float:
    """Compare outputs for several numbers of images, as a share of their range.

    Raises UsageError where the exported network does not take one of them.
    """
    generator = torch.Generator().manual_seed(0)
    differences = []
    for count in CHECKED_COUNTS:
        images = torch.randint(
            0, 256, (count, *task.input_shape), dtype=torch.uint8, generator=generator
        )
        try:
            difference = (exported(images) - module(images)).abs().max() / task.span
        except (Exception, SystemExit) as error:  # of ONNX Runtime, and whatever the network raises
            raise UsageError(
                f"the exported network does not work for any number of images: {first_line(error)}"
            ) from error
        differences.append(difference)
    return float(torch.stack(differences).max())


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; returns the exit status."""
    options = parser().parse_args(arguments)
    with TemporaryDirectory() as fetched:
        weights = _weights(options.run, options.storage, Path(fetched))
        path = _out(options, weights)
        network = load_network(weights, find(options.model) if options.model else None)
        task = read_header(weights).task
    try:
        difference = export(network, task, options.to, path)
    except (UsageError, OSError) as error:
        complain(error)
        return FAILED
    print(
        f"{path}  {path.stat().st_size:,} bytes; "
        f"differs from {weights.name} by at most {difference:.1e}"
    )
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("trainables.export"), description="Export a trained network."
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="name of a search, whose best network is taken, or a weights file",
    )
    parser.add_argument(
        "--to", choices=sorted(ENDINGS), default="onnx", help="file format (default: onnx)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where to write it (default: beside the weights; of a bucket, here)",
    )
    parser.add_argument(
        "--storage",
        default="results",
        help="where searches are kept; s3://BUCKET/PATH too (default: results)",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="the class of a network of your own, as package.module:Class or path/file.py:Class",
    )
    return parser


def _weights(run: str, storage: str, fetched: Path) -> Path:
    """Find the weights file that is meant; one in a bucket is brought into `fetched`."""
    if run.endswith(WEIGHTS):
        return Path(run)
    if storage.startswith(BUCKET):
        return fetch_best(storage, run, fetched)
    if "://" in storage:
        raise UsageError(f"--storage {storage}: give a directory or {BUCKET}BUCKET/PATH")
    networks = Path(storage) / "networks"
    path = networks / f"run={run}" / BEST
    if not path.is_file():
        known = known_runs((f.parent for f in networks.glob(f"run=*/{BEST}")), "give a file")
        raise UsageError(f"{storage} has no finished run {run!r}: {known}")
    return path


def fetch_best(storage: str, run: str, directory: Path) -> Path:
    """Bring a run's best weights into `directory`; returns the file.

    Args:
        storage: The bucket's address, as `--storage` has it.
        run: The name of the run.
        directory: Where to write.

    Raises:
        UsageError: The bucket or the run is not there.
    """
    from pyarrow import ArrowException  # here: what lies on this machine does not need it
    from pyarrow.fs import FileSelector, FileSystem, FileType

    if "@" in storage:  # not printed again: screens and logs are read by others
        raise UsageError(
            "--storage: a bucket's keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "not its address"
        )
    try:
        files, root = FileSystem.from_uri(storage)
        weights = f"{root}/networks/run={run}/{BEST}"
        (info,) = files.get_file_info([weights])
        if info.type == FileType.File:
            with files.open_input_stream(weights, compression=None) as file:
                (directory / BEST).write_bytes(file.read())
            return directory / BEST
        selector = FileSelector(f"{root}/networks", recursive=True, allow_not_found=True)
        paths = [PurePosixPath(found.path) for found in files.get_file_info(selector)]
        known = known_runs((path.parent for path in paths if path.name == BEST), "give a file")
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"--storage {storage} can't be read ({first_line(error)}): "
            f"check the address, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
        ) from error
    raise UsageError(f"{BUCKET}{root} has no finished run {run!r}: {known}")


def _out(options: argparse.Namespace, weights: Path) -> Path:
    """Say where the export goes: beside the weights, or here where the run lies in a bucket.

    Raises UsageError for a name with another ending.
    """
    ending = ENDINGS[options.to]
    if options.out is None:
        is_fetched = options.storage.startswith(BUCKET) and not options.run.endswith(WEIGHTS)
        return Path(f"{options.run}{ending}") if is_fetched else weights.with_suffix(ending)
    if Path(options.out).suffix != ending:
        raise UsageError(
            f"--out {options.out}: give a name that ends with {ending} for --to {options.to}"
        )
    return Path(options.out)


if __name__ == "__main__":
    sys.exit(main())
