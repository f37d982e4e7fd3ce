import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.paths import ROOT
from tests.trainables import made_up

PEAK = """
import sys
import torch
from trainables.losses.vgg16_weights import load
from trainables.losses import vgg16_files

def peak_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

before = peak_mib()
load(sys.argv[1], normalisation="imagenet", through=2)
print(peak_mib() - before)
"""


@pytest.mark.parametrize("zipped", [True, False])
def test_the_classifier_is_never_in_memory(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pth"
    tensors = made_up.vgg16(2).tensors | {"classifier.0.weight": torch.ones(100 * 2**18)}
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    assert path.stat().st_size > 100 * 2**20
    command = [sys.executable, "-c", PEAK, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 50
