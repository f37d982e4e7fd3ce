from torch import nn

from trainables.networks.base import parameter_count


def test_only_what_training_adjusts_is_counted() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    assert parameter_count(network) == 8 + 4 + 3
    network[0].requires_grad_(False)
    assert parameter_count(network) == 4 + 3
