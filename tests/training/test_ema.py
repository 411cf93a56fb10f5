import torch
from torch import nn

from macnn.training.ema import ExponentialMovingAverage


def networks(steps):
    """A network whose weights and buffers take random steps; yields after each."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    yield network
    for _ in range(steps):
        with torch.no_grad():
            for value in network.state_dict().values():
                value += torch.randn(value.shape).to(value.dtype) + 1
        yield network


def test_the_average_follows_its_formula_with_a_decay_that_warms_up():
    walk = networks(5)
    network = next(walk)
    average = ExponentialMovingAverage(network, 0.3)
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    for step, network in enumerate(walk, start=1):
        average.update_parameters(network)
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            whole = not value.is_floating_point()
            mean = value if whole else decay * expected[name] + (1 - decay) * value
            expected[name] = mean.clone()
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[name])
