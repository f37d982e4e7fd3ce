"""Command lines that can't work: each ends with status 2 and a sentence, and leaves no file."""

import io
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

from analysis.timing import timing_settings
from tests.faults.outcomes import Outcomes
from tests.tuner.conftest import as_a_process
from trainables.settings_fields import Setting, flag
from tuner import settings

# By module: a mistake that only its words show
MISTAKES: Mapping[str, Sequence[Sequence[str]]] = {
    "tuner.run": [
        ["--model", "resnet"],
        ["--model", "no_such_module:Net"],
        ["--model", "pathlib:NoSuchClass"],
        ["--model", ":"],
        ["--model", ""],
        ["--data", "no/such/place"],
        ["--data", "s3://nowhere"],
        ["--data", ""],
        ["--data", "empty"],
        ["--data", "file.txt"],
        ["--loss", "l1"],
        ["--loss", "mse,mse"],
        ["--loss", ""],
        ["--resume", "nothing"],
        ["--resume", "../up"],
        ["--name", "../escape"],
        ["--name", "a b"],
        ["--name", "x" * 65],
        ["--storage", "file.txt"],
        ["--storage", "s3://"],
        ["--vgg-weights", "no.pth"],
        ["--mse-weight", "1"],
        ["--loss", "perceptual", "--vgg-weights", "no.pth"],
        ["--loss", "perceptual", "--perceptual-layers", "99"],
        ["--loss", "perceptual", "--perceptual-weights", "1", "2"],
        ["--learning-rate", "1", "0.1"],
        ["--learning-rate", "-1", "0.1"],
        ["--learning-rate", "0.1"],
        ["--dropout", "0.5", "1.5"],
        ["--patience", "0", "3"],
        ["--model", "separable", "--dropout", "0", "0.1"],
        ["--set", "hidden"],
        ["--set", "hidden=64:32"],
        ["--set", "hidden=0:32:log"],
        ["--set", "hiden=64"],
        ["--set", "hidden=0"],
        ["--start", "lr"],
        ["--start", "lr=1e9"],
        ["--start", "hiden=64"],
        ["--start", "lr=1e-3,lr=1e-4"],
        ["--scheduler", "none", "--grace-epochs", "2"],
        ["--scheduler", "median", "--reduction-factor", "2"],
        ["--search", "random", "--startup-trials", "7"],
        ["--wait-for-nodes", "2"],
        ["--grace-epochs", "9", "--max-epochs", "3"],
        ["--address", "nowhere"],
        ["--address", "127.0.0.1:1"],
    ],
    "analysis.timing": [
        ["--run", "nothing"],
        ["--run", "nothing", "--data", "photos"],
        ["--data", "no/such/place"],
        ["--devices", "tpu"],
        ["--threads", "4096"],
        ["--subject", "no colon"],
        ["--data", "few", "--only", "nobody*"],
        ["--data", "few", "--batch-sizes", "999999"],
        ["--data", "few", "--images", "999999"],
        ["--storage", "file.txt", "--run", "nothing"],
    ],
    "analysis.report": [
        [],
        ["nothing"],
        ["../up"],
        ["one", "two"],
        ["nothing", "--storage", "no/such"],
    ],
    "analysis.aggregate": [
        [],
        ["few"],
        ["no/such", "--out", "out"],
        ["s3://nowhere/at/all?region", "--out", "out"],
        ["few", "--out", "file.txt"],
    ],
    "analysis.dashboard": [
        ["no/such", "--port", "x"],
        ["few", "--port", "99999999"],
        ["few", "--port", "-1"],
        ["few", "--allow-host", "*gpu"],
        ["few", "more"],
        ["few", "--address", "no such host"],
    ],
    "trainables.export": [
        [],
        ["nothing"],
        ["file.txt"],
        ["nothing", "--to", "tensorflow"],
        ["nothing", "--storage", "no/such"],
        ["nothing", "--model", "no_such_module:Net"],
    ],
    "trainables.profile": [
        ["--model", "resnet"],
        ["--model", "no_such_module:Net"],
        ["--images", "x"],
        ["--images", "0"],
        ["--batch-size", "-1"],
    ],
}
SETTINGS = {"tuner.run": settings.SETTINGS, "analysis.timing": timing_settings.SETTINGS}
# What may stand beside a mistake
HARMLESS = {
    "tuner.run": [["--seed", "3"], ["--samples", "2"], ["--wandb", "disabled"], ["-v"]],
    "analysis.timing": [["--seed", "3"], ["--images", "2"], ["--series-sec", "2"]],
}


def wrong_values(name: str, one: Setting) -> Iterator[list[str]]:
    """Yield a setting's flag with what it can't be."""
    if one.type is bool:
        yield [f"{flag(name)}=yes"]
        return
    yield [flag(name)]  # without a value
    if one.choices:
        yield [flag(name), "nonsense"]
    if one.type in (int, float):
        values = ["x", "", "1,5", "0x10", "NaN" if one.type is int else "--1"]
        values += [] if one.least is None else [str(one.type(one.least - 1))]
        values += [] if one.above is None else [str(one.type(one.above))]
        values += [] if one.below is None else [str(one.type(one.below))]
        limited = one.least is not None or one.above is not None
        values += ["nan", "inf"] if one.type is float and limited else []
        for value in values:
            yield [flag(name), *[value] * (one.nargs if isinstance(one.nargs, int) else 1)]


def all_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield each mistake of each command, and flags that there are not."""
    for module, mistakes in MISTAKES.items():
        yield from ((module, list(mistake)) for mistake in mistakes)
        yield module, ["--no-such-flag"]
        for name, one in SETTINGS.get(module, {}).items():
            yield from ((module, line) for line in wrong_values(name, one))


def try_command_lines(count: int, chance: random.Random, outcomes: Outcomes) -> None:
    """Try so many, none twice before all were tried, in a directory with a few things."""
    lines: list[tuple[str, list[str]]] = []
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        Path("file.txt").write_text("no image, no table, no run\n")
        Path("empty").mkdir()
        _few_images(Path("few"))
        before = _there()
        for number in range(count):
            if not lines:
                lines = sorted(all_lines())
                chance.shuffle(lines)
            module, mistake = lines.pop()
            beside = HARMLESS.get(module, [])
            more = chance.sample(beside, chance.randint(0, len(beside)))
            # What takes several values would take what follows as well
            line = [part for flags in more for part in flags] + mistake
            problem = _problem(module, line, import_module(_place(module)).main)
            left = _there() - before
            before |= left
            if problem or left:
                what = problem or f"it leaves {sorted(left)[:3]}"
                outcomes.problem("command line", f"{module} {line}: {what}")
            else:
                outcomes.add("command line", "status 2 and a sentence")
            if number % 50 == 49:
                print(f"{number + 1} command lines", flush=True)


def _problem(module: str, line: list[str], main: Callable[[list[str]], int]) -> str:
    """How the command ends, where that is not with a sentence and status 2."""
    output = io.StringIO()
    with as_a_process(module, *line), redirect_stdout(output), redirect_stderr(output):
        try:
            status = main(line)
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as error:
            return repr(error)
    last = (output.getvalue().strip() or "nothing").splitlines()[-1]
    is_well = status == 2 and "error: " in last and "Traceback" not in output.getvalue()
    return "" if is_well else f"status {status}, {last[:200]}"


def _place(module: str) -> str:
    """Where its `main` is: a package's is in `__main__`."""
    return module + ".__main__" * hasattr(import_module(module), "__path__")


def _there() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


def _few_images(directory: Path) -> None:
    from tests.tuner.few_images import write_few_images

    write_few_images(directory)
