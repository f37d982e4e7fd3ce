import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from trainables.training.schedules import FALLING

LEARNING_RATE = 0.03


def rates_of_pytorch(schedule: str, updates: int) -> list[float]:
    """Return the learning rate of each update as PyTorch's own schedulers have it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LEARNING_RATE)
    scheduler = {
        "cosine": lambda: CosineAnnealingLR(optimizer, T_max=updates),
        "one-cycle": lambda: OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=updates, cycle_momentum=False
        ),
    }[schedule]()
    rates = []
    for _ in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("updates", [1, 2, 3, 4, 10, 97])
@pytest.mark.parametrize("schedule", FALLING)
@pytest.mark.filterwarnings("ignore:To get the last learning rate")
def test_each_update_has_the_rate_of_pytorchs_scheduler(schedule: str, updates: int) -> None:
    share = FALLING[schedule]
    rates = [LEARNING_RATE * share(update, updates) for update in range(updates)]
    assert rates == pytest.approx(rates_of_pytorch(schedule, updates), rel=1e-9)


@pytest.mark.parametrize("schedule", FALLING)
def test_the_last_updates_have_next_to_nothing_of_the_rate(schedule: str) -> None:
    assert max(FALLING[schedule](update, 1000) for update in range(1000)) > 0.9999
    assert FALLING[schedule](999, 1000) < 1e-5
