"""A search of a person's own colour pipeline, as the dashboard shows it in a browser."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from analysis.timing.__main__ import main as time_it
from tests.analysis.dashboard.conftest import Dashboard, Visit, Visitor, dashboard
from tests.paths import ROOT
from tests.tuner.conftest import Command
from tests.tuner.few_images import write_few_images
from tests.tuner.simulated_tune import simulated

PIPELINE = "tests/ten_pipelines.py:normalised"
SHOWN_AS = "ten_pipelines.py:normalised"  # in tables of timings: without the file's directory
COLOURED = 60  # between the channels of a pixel, of 255


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """One run: two trials of `separable`, which are timed beside the pipeline itself."""
    storage = tmp_path_factory.mktemp("colour")
    images = write_few_images(tmp_path_factory.mktemp("few") / "images")
    with simulated(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        status, output = Command(storage).call(
            *("--name", "own", "--model", "separable", "--pipeline", PIPELINE),
            *("--data", str(images), "--images", "64", "--samples", "2", "--max-epochs", "2"),
            *("--timing", "none", "--wandb", "disabled"),
        )
        assert status == 0, output
        only = ("--only", SHOWN_AS, "trial ?", "--series-sec", "1.5", "--images", "40")
        assert time_it(["--run", "own", "--storage", str(storage), *only]) == 0
    with dashboard(storage) as running:
        yield running


def shown(page: Visit) -> np.ndarray:
    """The pixels of the page's first picture: (height, width, 3)."""
    picture = page.page.locator(".pictures img").first
    picture.wait_for()
    return np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB"), dtype=np.int16)


def test_quality_shows_colour_images_and_names_the_pipeline(
    colour: Dashboard, visit: Visitor
) -> None:
    page = visit(f"{colour.address}quality", charts=1)
    pixels = shown(page)
    assert ((pixels.max(axis=2) - pixels.min(axis=2)) > COLOURED).mean() > 0.05
    assert page.errors == []
    page.text("pipeline without Normalize")


def test_speed_shows_the_persons_pipeline(colour: Dashboard, visit: Visitor) -> None:
    page = visit(f"{colour.address}speed", charts=1)
    page.text(SHOWN_AS)
    assert page.errors == []
