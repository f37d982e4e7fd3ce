"""Commands that are printed for a person to type."""

import shlex

from analysis.commands import command_text


def test_the_default_storage_is_not_typed() -> None:
    assert command_text("analysis.report", "fc-1") == "python -m analysis.report fc-1"
    assert command_text("analysis.report", "fc-1", storage="results") == (
        "python -m analysis.report fc-1"
    )


def test_a_shell_reads_back_what_was_meant() -> None:
    line = command_text("tuner.run", "--data", "my images", storage="/mnt/a $b")
    words = ["python", "-m", "tuner.run", "--data", "my images", "--storage", "/mnt/a $b"]
    assert shlex.split(line) == words
