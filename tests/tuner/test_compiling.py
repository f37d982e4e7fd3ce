"""`--compile on`: trials train through torch.compile, and the tables say so."""

import json
import re

from tests.tuner.conftest import TINY, Command


def test_trials_are_compiled_where_that_is_asked_for_and_the_tables_say_so(
    command: Command,
) -> None:
    asked = [
        "--model",
        "separable",
        "--samples",
        "2",
        "--max-epochs",
        "2",
        "--finalists",
        "1",
        "--compile",
        "on",
    ]
    code, output = command.run("--name", "run", *asked, *TINY)
    assert code == 0, output
    assert re.search(r"thread a worker, through torch\.compile$", output, re.MULTILINE)
    assert command.table("trials", "run").compiled.all()
    assert json.loads(command.table("runs", "run").config[0])["compile"] == "on"
