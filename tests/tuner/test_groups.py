"""Trials of two workers that fail: what is told, and what goes on."""

import psutil

from tests.tuner.conftest import TINY, Command, until
from tests.tuner.nodes import free_port, head, own_token

GROUP = ("--workers-per-trial", "2", "--samples", "1", "--finalists", "1", *TINY)


def test_a_network_that_raises_fails_its_trial_once(command: Command) -> None:
    code, output = command.run(
        "--name", "run", "--model", "own_networks:Picky", "--dropout", "0.3", "0.4", *GROUP
    )
    assert code == 1, output
    trials = command.table("trials", "run")
    assert (trials.stop_reason[0], trials.restarts[0]) == ("error", 0)
    assert "RuntimeError: this network does not like dropout" in trials.error[0]


def test_groups_that_asha_stops_make_room_for_the_next_beside_another_cluster(
    command: Command,
) -> None:
    search = (
        "--model",
        "separable",
        "--workers-per-trial",
        "2",
        "--samples",
        "3",
        "--max-epochs",
        "3",
    )
    with own_token(), head("--num-cpus=0", port=free_port()):
        code, output = command.run("--name", "run", *search, "--finalists", "1", *TINY)
    assert code == 0, output
    reasons = command.table("trials", "run").stop_reason.tolist()
    assert len(reasons) == 3
    assert "asha" in reasons


def workers() -> list[psutil.Process]:
    """The processes in which the group of this test trains."""
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if "RayTrainWorker" in " ".join(process.cmdline())]


def test_a_group_that_loses_a_worker_goes_on_from_its_checkpoint(command: Command) -> None:
    epochs = ("--max-epochs", "16", "--patience", "16", "16")
    driver = command.start("--name", "run", "--model", "own_networks:Slow", *epochs, *GROUP)
    command.wait_for_epochs("run", 2)
    until(lambda: len(workers()) == 2)
    workers()[1].kill()
    output, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, output
    assert command.table("trials", "run").restarts.tolist() == [1]
    assert sorted(command.table("epochs", "run").epoch) == list(range(1, 17))
