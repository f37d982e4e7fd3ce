import subprocess
import sys
from pathlib import Path

import torch

from tests.paths import ROOT
from tests.trainables import made_up

PEAK = """
import sys
from pathlib import Path
from trainables.losses.vgg16_weights import read

def peak_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

before = peak_mib()
for path in sys.argv[1:]:
    read(Path(path), 2)
print(peak_mib() - before)
"""


def test_the_classifier_is_never_in_memory(tmp_path: Path) -> None:
    tensors = made_up.vgg16(2).tensors | {"classifier.0.weight": torch.ones(60 * 2**18)}
    paths = {tmp_path / "mapped.pth": True, tmp_path / "skipped.pth": False}
    for path, zipped in paths.items():
        torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
        assert path.stat().st_size > 60 * 2**20
    command = [sys.executable, "-c", PEAK, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30
