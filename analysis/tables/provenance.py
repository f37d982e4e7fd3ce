"""What a reader needs to trust a number: versions, commit, processor."""

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = [
    *("torch", "torchvision", "ray", "numpy", "pandas", "pyarrow", "optuna", "wandb"),
    *("onnxruntime", "opencv-python-headless", "pillow", "kornia", "transform-tuner"),
]


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that can change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def code_version() -> tuple[str | None, bool | None]:
    """Return the commit, and whether the code differs from it; None when run from no checkout."""
    try:
        # Not some other repository around a virtual environment
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def cpu_model() -> str:
    """Return the processor's name as Linux has it, else what Python knows."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
