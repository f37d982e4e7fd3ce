"""The short timing after a search: the best network, at most 1,000 images, one line if it fails."""

from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.console import Console
from analysis.timing import conductor, summary
from trainables.data.examples import Examples, Splits
from trainables.errors import UsageError
from tuner import search_run
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage


def examples(count: int) -> Examples:
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(count, -1, -1, -1)
    return Examples(images, torch.zeros(1, 1, 28, 28).expand(count, -1, -1, -1))


def splits(count: int) -> Splits:
    return Splits(examples(1), examples(1), examples(count), available_images=1)


def storage_in(directory: Path) -> RunStorage:
    return RunStorage(str(directory), "r")


@pytest.mark.parametrize(("count", "timed"), [(2500, 1000), (300, 300)])
def test_the_best_network_is_timed_on_at_most_1000_images_for_its_run(
    count: int, timed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(conductor, "conduct", lambda *given: seen.append(given) or [])
    monkeypatch.setattr(summary, "print_timings", lambda *given: True)
    config, storage = SearchConfig(model="separable", name="r", seed=5), storage_in(tmp_path)
    search_run.time_best(
        config, storage, {"trial": 7, "model": "separable"}, splits(count), Console()
    )
    ((settings, subjects, test, affine, tables, run, _),) = seen
    assert (len(test), affine, tables, run) == (timed, {}, tmp_path / "tables", "r")
    assert settings.seed == 5
    own = [subject for subject in subjects if subject.kind == "trial"]
    assert {(subject.trial, subject.model) for subject in own} == {(7, "separable")}
    assert own[0].weights == str(storage.weights(7))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UsageError("another timing is under way"), "Nothing was timed: another timing is under"),
        (OSError("disk full"), "Nothing was timed: disk full"),
        (KeyboardInterrupt(), "The timing was interrupted; the search is complete."),
    ],
)
def test_what_goes_wrong_with_it_is_one_line_since_the_search_is_complete(
    error: BaseException,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(conductor, "conduct", failing)
    config = SearchConfig(model="separable", name="r")
    search_run.time_best(
        config, storage_in(tmp_path), {"trial": 7, "model": "separable"}, splits(3), Console()
    )
    assert capsys.readouterr().out.startswith(line)
