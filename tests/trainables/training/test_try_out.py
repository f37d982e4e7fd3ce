"""The process in which a network is tried out: what comes of it, and that it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.paths import ROOT
from tests.trainables.made_up import task_for
from tests.trainables.training import misbehaving
from tests.waiting import until
from trainables import own_process
from trainables.errors import UsageError
from trainables.networks.registry import NETWORKS, find
from trainables.tasks import STUDY
from trainables.training.network_facts import NetworkFacts
from trainables.training.try_out import TryOut, check

HERE = misbehaving.__name__
LOUD, HANGING = f"{HERE}:Loud", f"{HERE}:Hanging"


def is_gone(process: int) -> bool:
    return not psutil.pid_exists(process) or psutil.Process(process).status() == "zombie"


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The number of the process that has left its mark, as soon as there is one."""
    path = tmp_path / "mark"
    monkeypatch.setenv(misbehaving.MARK, str(path))

    def wait() -> int:
        until(lambda: path.exists() and path.read_text())
        return int(path.read_text())

    return wait


@pytest.mark.parametrize("model", NETWORKS)
def test_a_network_of_this_project_needs_no_process(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    with TryOut(model) as network:
        assert network.facts(task_for(model)) == {model: NetworkFacts.of(find(model))}


def test_a_network_that_prints_forks_and_leaves_threads_has_its_facts_and_nothing_stays(
    mark: Callable[[], int], capfd: pytest.CaptureFixture[str]
) -> None:
    with TryOut(LOUD) as network:
        assert network.facts(STUDY) == {LOUD: NetworkFacts.of(misbehaving.Loud)}
        forked = mark()
    until(lambda: is_gone(forked))
    assert capfd.readouterr() == ("", "")


def test_what_can_not_be_imported_is_told_before_the_task_is_known(tmp_path: Path) -> None:
    (tmp_path / "broken_net.py").write_text("import no_such_package\n")
    with TryOut(f"{tmp_path}/broken_net.py:Net") as network:
        network.start()

        def is_told() -> bool:
            try:
                network.check()
            except UsageError as mistake:
                return "No module named 'no_such_package'" in str(mistake)
            return False

        until(is_told)


def test_a_network_waits_for_its_task_and_losses_and_metrics_are_tried_beside_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "functions.py").write_text(
        "def error(outputs, targets):\n    return (outputs - targets).abs().flatten(1).mean(1)\n"
        "error.higher_is_better = False\n"
    )
    error = f"{tmp_path}/functions.py:error"
    with TryOut("fc", losses=[error], metrics=[error]) as network:
        network.start()
        network.check()
        facts = network.facts(STUDY)["fc"]
        network.check()
    assert facts == NetworkFacts(
        space=NetworkFacts.of(find("fc")).space,
        habits=NetworkFacts.of(find("fc")).habits,
        higher_is_better={"error": False},
    )


def test_the_process_ends_with_the_command_even_with_one_that_is_killed(
    mark: Callable[[], int],
) -> None:
    code = (
        "from trainables.tasks import STUDY; from trainables.training.try_out import TryOut; "
        f"network = TryOut({HANGING!r}); network.start(STUDY); input()"
    )
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE)
    tried = mark()
    assert not is_gone(tried)
    command.kill()
    command.communicate()
    until(lambda: is_gone(tried))


@pytest.fixture
def stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A shell script in place of the process, which would import PyTorch."""

    def install(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return install


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", "ended its process with exit status 0"),
        ("exit 7", "ended its process with exit status 7"),
        ("kill -SEGV $$", "ended its process by SIGSEGV"),
        ("kill -KILL $$", "ended its process by SIGKILL, most likely for want of memory"),
        ("exec sleep 1000", "took more than 0.2 s, so it seems to hang"),
        ("""echo '{"mistake": "it is no network"}'""", "it is no network"),
    ],
)
def test_a_process_that_ends_or_hangs_is_told_in_one_sentence(
    script: str, told: str, stands_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_process, "LIMIT_SEC", 0.2 if "sleep" in script else 60)
    stands_in(script)
    with TryOut(HANGING) as network, pytest.raises(UsageError, match=told) as error:
        network.facts(STUDY)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=told):
        check(HANGING)


def test_ctrl_c_is_not_for_the_process_and_one_that_is_not_waited_for_is_ended(
    stands_in: Callable[[str], None], mark: Callable[[], int]
) -> None:
    stands_in(f"echo $$ > ${misbehaving.MARK}; exec sleep 1000")
    with TryOut(HANGING) as network:
        network.start(STUDY)
        process = mark()
        assert os.getpgid(process) == process
        os.kill(process, signal.SIGCONT)
    assert is_gone(process)


def test_a_module_that_is_not_there_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(UsageError, match="--model nowhere:Net: there is no module 'nowhere'"):
        check("nowhere:Net")
