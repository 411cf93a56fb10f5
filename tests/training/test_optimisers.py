import pytest

from macnn.errors import UsageError
from macnn.model import PooledClassifier, create_backbone
from macnn.training.optimisers import feature_optimiser, lr_scales, set_lr


def pooled():
    return PooledClassifier(create_backbone("tiny"), 2, image_size=32)


@pytest.fixture
def optimiser():
    return feature_optimiser(pooled(), 1.0, backbone_lr_scale=0.1)


def lrs(optimiser, done, warmup, schedule="cosine"):
    set_lr(optimiser, done, warmup=warmup, schedule=schedule)
    return [group["lr"] for group in optimiser.param_groups]


def test_the_backbone_learns_at_its_share_of_the_learning_rate(optimiser):
    assert lrs(optimiser, 0.0, 0.0) == pytest.approx([0.1, 1.0])
    assert lrs(optimiser, 0.5, 0.0) == pytest.approx([0.05, 0.5])
    assert lrs(optimiser, 1.0, 0.0) == pytest.approx([0.0, 0.0])


def test_the_backbone_waits_until_the_classifiers_know_something(optimiser):
    assert lrs(optimiser, 0.0, 0.5) == pytest.approx([0.0, 1.0])
    assert lrs(optimiser, 0.5, 0.5) == pytest.approx([0.05, 0.5])
    halfway = lrs(optimiser, 0.25, 0.5)
    assert halfway[0] == pytest.approx(0.05 * halfway[1])


def test_learning_rates_fall_to_a_tenth_after_each_third_or_stay(optimiser):
    steps = [lrs(optimiser, done, 0.0, "step")[1] for done in (0.0, 0.4, 0.7)]
    assert steps == pytest.approx([1.0, 0.1, 0.01])
    assert lrs(optimiser, 0.9, 0.0, "constant") == [0.1, 1.0]


def test_the_longest_prefix_decides_the_learning_rate_of_a_layer():
    model = pooled()
    name = next(name for name, _ in model.backbone.named_parameters())
    first = f"backbone.{name}"
    scales = f"backbone=3,{first}=0"
    optimiser = feature_optimiser(model, 1.0, backbone_lr_scale=0.1, layer_lr_scales=scales)
    bases = {id(p): group["base"] for group in optimiser.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert bases[id(named[first])] == 0
    assert sorted(set(bases.values())) == pytest.approx([0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    "text", ["body", "body=fast", "nowhere=0.1", "body=nan", "body=inf", "body=-1"]
)
def test_layer_lr_scales_that_mean_nothing_are_refused(text):
    with pytest.raises(UsageError, match=r"`train\.layer_lr_scales`"):
        lr_scales(text, ["body.weight"])
