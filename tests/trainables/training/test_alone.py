"""`Training` by itself, as the documentation has it."""

import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT
from tests.test_docs import FENCE


def test_the_example_of_the_documentation_trains(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    (code,) = (block for block in FENCE.findall(page) if "Training(" in block)
    assert len([line for line in code.splitlines() if line]) <= 10
    code += "print(training.best_epoch, 'ray' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    *epochs, last = done.stdout.splitlines()
    first, second = ([float(word) for word in line.split()] for line in epochs)
    assert (first[0], second[0]) == (1, 2)
    assert second[1] < first[1]  # the training loss
    assert last == "2 False"


def test_importing_the_package_does_not_import_pytorch() -> None:
    code = "import trainables, sys; print('torch' in sys.modules, trainables.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False ['Training', 'TrainingConfig']\n"
