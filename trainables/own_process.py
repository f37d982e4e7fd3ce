"""A process for code of a person's own: none of it runs in the command's.

    with OwnProcess("trainables.pipelines.process") as it:
        ...  # whatever else takes its time, while the process imports what is this project's
        it.ask({"pipeline": "my.py:preprocess"})
        answer = it.answer("--pipeline my.py:preprocess: its import and its calls")

What the code prints goes nowhere. The process ends with the command, however that ends, with all
that it has started itself. `serve` is its own side, and `hear` gets what it is told later.
"""

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from trainables.errors import UsageError, in_one_line

LIMIT_SEC = 120.0  # without a word; a machine with much load takes half a minute to import PyTorch
FIRST_TO_GO = "1000"  # of all processes, when the machine is short of memory
TOLD_AFTER_SEC = 1.0  # of work, a line says so
LOOK_SEC = 0.2  # between looks whether it still lives
Say = Callable[[str], None]
_heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


class OwnProcess:
    """Such a process, from its start until the block is left.

    Args:
        module: What runs, as after `python -m`. It calls `serve`.
    """

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            # It finds what is found here
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,  # closed when this process ends, however it does
            bufsize=0,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is the command's own business
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        with self._process:
            pass

    def _end(self) -> None:
        """End the process with all that it has started itself, and leave no zombie."""
        if self._process.returncode is None:  # else its number may be another's by now
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, so that `answer` does not wait."""
        return self._process.poll() is not None

    def ask(self, message: Mapping[str, Any]) -> None:
        """Say what it is to do: until then none of a person's code runs.

        Args:
            message: The arguments, as JSON takes them; and later what it waits for in `hear`.
        """
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended, as `answer` says
                self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def answer(self, doing: str, progress: Say | None = None) -> dict[str, Any]:
        """Wait for what was found.

        Args:
            doing: What a sentence about the process begins with: what was asked, and what it does.
            progress: Gets each line of progress.

        Raises:
            UsageError: The code is at fault: it said so, ended its process, or hangs.
        """
        for message in self._messages():
            if "mistake" in message:
                raise UsageError(message["mistake"])
            if "answer" in message:
                self._end()
                found: dict[str, Any] = message["answer"]
                return found
            if progress and "progress" in message:
                progress(message["progress"])
        status = self._process.poll()
        self._end()
        if status is None:
            raise UsageError(f"{doing} took more than {LIMIT_SEC:g} s, so it seems to hang")
        raise UsageError(f"{doing} ended its process {_how(status)}")

    def _messages(self) -> Iterator[dict[str, Any]]:
        """Yield what it says, until it has ended, or has been silent for LIMIT_SEC."""
        pipe = self._process.stdout
        if pipe is None:
            return
        text, heard = b"", time.monotonic()
        while time.monotonic() - heard < LIMIT_SEC:
            has_ended = self._process.poll() is not None
            # Something that it has started may hold the pipe open after its end
            while select.select([pipe], [], [], 0 if has_ended else LOOK_SEC)[0]:
                part = os.read(pipe.fileno(), 65_536)
                if not part:
                    time.sleep(0 if has_ended else LOOK_SEC)  # it closed the pipe, and goes on
                    break
                text, heard = text + part, time.monotonic()
                *lines, text = text.split(b"\n")
                yield from map(json.loads, lines)
            if has_ended:
                return


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "by SIGKILL, most likely for want of memory"
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"


def serve(work: Callable[[dict[str, Any], Say], dict[str, Any]], subject: str) -> NoReturn:
    """Be such a process: wait for arguments, do the work, say what came of it, and end.

    Args:
        work: Gets the arguments, and what says a line of progress. It raises UsageError for a
            mistake.
        subject: The argument that names the code, with its flag before: `--pipeline`.
    """
    pipe = _set_up()
    arguments = hear()
    name = f"--{subject} {arguments[subject]}"

    def say(**message: Any) -> None:
        text = json.dumps(message).encode() + b"\n"
        while text:
            text = text[os.write(pipe, text) :]

    try:
        say(answer=work(arguments, lambda line: say(progress=line)))
    except UsageError as mistake:
        said = str(mistake)
        say(mistake=said if said.startswith("--") else f"{name}: {said}")
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: they are the code's
        say(mistake=f"{name} can't be used: {in_one_line(error)}")
    os._exit(0)  # threads that the code started don't hold it


def _set_up() -> int:
    """Leave standard streams to the code, and see that this process ends with the command.

    Returns the file that the command reads.
    """
    command, answer = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    threading.Thread(target=_end_with, args=(command,), daemon=True).start()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    return answer


@contextmanager
def saying(say: Say, line: str) -> Iterator[None]:
    """Say a line now and then while a block takes long that runs none of a person's code."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(TOLD_AFTER_SEC):
            say(line)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def hear() -> dict[str, Any]:
    """Return the next of what the command asks, once it does."""
    return _heard.get()


def _end_with(command: int) -> None:
    with open(command, "rb") as lines:  # until the end of the command
        for line in lines:
            _heard.put(json.loads(line))
    os.killpg(os.getpid(), signal.SIGKILL)
