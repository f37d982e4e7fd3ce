"""A run that would go on as another than it began is refused."""

from pathlib import Path
from typing import Any

import pytest

from analysis.tables.parameters import space_text
from tests.tuner.planning.plans import config, planned
from tests.tuner.test_arguments import store
from trainables.errors import UsageError


@pytest.mark.parametrize("other", ["train", "validation", "test"])
def test_a_run_that_goes_on_with_other_images_is_refused(
    few: str, tmp_path: Path, other: str
) -> None:
    plan = planned(few, tmp_path)
    data = plan.data
    prints: dict[str, Any] = {
        "space": space_text(plan.spaces["fc"].parameters),
        "probe_outputs": data.probes,
    }
    prints |= {
        f"{part.split}_fingerprint": part.fingerprint
        for part in (data.train, data.validation, data.test)
    }
    store(tmp_path, config(storage=str(tmp_path)), **prints)
    assert planned(few, tmp_path, resume="r").earlier is not None
    store(tmp_path, config(storage=str(tmp_path)), **prints | {f"{other}_fingerprint": "others"})
    message = f"--resume r: the {other} images in {few} are not those that the run began with: "
    with pytest.raises(UsageError, match=message):
        planned(few, tmp_path, resume="r")
