import pytest

from macnn.config.settings import TrainSettings
from macnn.model import Network, NetworkSpec
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.training.optimisers import convolution_optimiser, set_rates


@pytest.fixture
def optimiser():
    network = Network(NetworkSpec("tiny", None, 32, 0, 2), Backbone(BackboneSpec("tiny")))
    return convolution_optimiser(network, TrainSettings(rate=1.0, conv_multiplier=0.1))


def rates(optimiser, done, warm):
    set_rates(optimiser, done, warm)
    return [group["lr"] for group in optimiser.param_groups]


def test_convolutions_learn_at_their_share_of_the_base_rate(optimiser):
    assert rates(optimiser, 0.0, 0.0) == pytest.approx([0.1, 1.0])
    assert rates(optimiser, 0.5, 0.0) == pytest.approx([0.05, 0.5])
    assert rates(optimiser, 1.0, 0.0) == pytest.approx([0.0, 0.0])


def test_convolutions_wait_until_the_classifiers_know_something(optimiser):
    assert rates(optimiser, 0.0, 0.5) == pytest.approx([0.0, 1.0])
    assert rates(optimiser, 0.5, 0.5) == pytest.approx([0.05, 0.5])
    halfway = rates(optimiser, 0.25, 0.5)
    assert halfway[0] == pytest.approx(0.05 * halfway[1])
