"""The gallery's pipelines as parameters of tests: what needs OpenCV is skipped without it."""

from importlib.util import find_spec

import pytest

from trainables.pipelines.catalogue import PIPELINES

EVERY = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(one.needs_opencv and not find_spec("cv2"), reason="needs OpenCV"),
    )
    for name, one in PIPELINES.items()
]
EVERY_BUT_STUDY = [one for one in EVERY if one.values != ("study",)]
