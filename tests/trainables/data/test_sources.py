from pathlib import Path

import pytest

from trainables.data import sources
from trainables.errors import UsageError


def test_names_and_directories_pass(tmp_path: Path) -> None:
    for source in (*sources.SOURCES, str(tmp_path)):
        sources.check(source)


def test_a_source_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(UsageError, match="there is no such directory") as error:
        sources.check(str(missing))
    message = str(error.value)
    assert str(missing) in message
    assert all(source in message for source in sources.SOURCES)
    assert "\n" not in message
