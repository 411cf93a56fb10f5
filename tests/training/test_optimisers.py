import pytest

from macnn.config.training import TrainSettings
from macnn.errors import UsageError
from macnn.model import Network, NetworkSpec
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.training.optimisers import convolution_optimiser, layer_factors, set_rates


@pytest.fixture
def optimiser():
    network = Network(NetworkSpec("tiny", None, 32, 0, 2), Backbone(BackboneSpec("tiny")))
    return convolution_optimiser(network, TrainSettings(lr=1.0, backbone_lr_scale=0.1))


def rates(optimiser, done, warmup, schedule="cosine"):
    set_rates(optimiser, done, TrainSettings(warmup=warmup, schedule=schedule))
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


def test_rates_fall_to_a_tenth_after_each_third_or_stay(optimiser):
    steps = [rates(optimiser, done, 0.0, "step")[1] for done in (0.0, 0.4, 0.7)]
    assert steps == pytest.approx([1.0, 0.1, 0.01])
    assert rates(optimiser, 0.9, 0.0, "constant") == [0.1, 1.0]


def test_the_longest_prefix_decides_the_rate_of_a_layer():
    network = Network(NetworkSpec("tiny", None, 32, 0, 2), Backbone(BackboneSpec("tiny")))
    name = next(name for name, _ in network.backbone.named_parameters())
    first = f"backbone.{name}"
    settings = TrainSettings(lr=1.0, backbone_lr_scale=0.1, layer_lr_scales=f"backbone=3,{first}=0")
    optimiser = convolution_optimiser(network, settings)
    bases = {id(p): group["base"] for group in optimiser.param_groups for p in group["params"]}
    named = dict(network.named_parameters())
    assert bases[id(named[first])] == 0
    assert sorted(set(bases.values())) == pytest.approx([0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    "text", ["body", "body=fast", "nowhere=0.1", "body=nan", "body=inf", "body=-1"]
)
def test_layer_rates_that_mean_nothing_are_refused(text):
    with pytest.raises(UsageError, match="--layer-lr-scales"):
        layer_factors(text, ["body.weight"])
