import pytest
import torch

from macnn.defaults import RATES, Rates
from macnn.errors import UsageError
from macnn.model import PooledClassifier, create_backbone
from macnn.training import optimisers
from macnn.training.optimisers import (
    expected_state,
    feature_optimiser,
    load_optimiser,
    lr_scales,
    optimiser_state,
    set_lr,
)

KINDS = ("sgd", "adamw", "timm/lamb", "timm/adafactor")


def pooled():
    return PooledClassifier(create_backbone("tiny"), 2, image_size=32)


@pytest.fixture
def optimiser():
    return feature_optimiser(pooled(), "sgd", Rates(1.0, 0.1, 0.0))


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
    optimiser = feature_optimiser(model, "sgd", Rates(1.0, 0.1, 0.0), layer_lr_scales=scales)
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


def stepped(model, optimiser, seed=0):
    """Take a step with gradients that follow from the seed."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        random = torch.randn(parameter.shape, generator=draw)
        parameter.grad = torch.empty_like(parameter).copy_(random)  # of its memory format
    optimiser.step()


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_goes_on_from_its_state_as_if_never_stopped(kind):
    torch.manual_seed(0)
    model, again = pooled(), pooled()
    optimiser = feature_optimiser(model, kind)
    stepped(model, optimiser, 1)
    again.load_state_dict(model.state_dict())
    other = feature_optimiser(again, kind)
    state = {name: value.clone() for name, value in optimiser_state(optimiser).items()}
    like = expected_state(other)
    assert {n: (t.shape, t.dtype) for n, t in like.items()} == {
        n: (t.shape, t.dtype) for n, t in state.items()
    }
    load_optimiser(other, state)
    stepped(model, optimiser, 2)
    stepped(again, other, 2)
    pairs = zip(model.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_what_is_expected_of_a_state_takes_no_step():
    model = pooled()
    before = [parameter.clone() for parameter in model.parameters()]
    optimiser = feature_optimiser(model, "adamw")
    expected_state(optimiser)
    assert optimiser.state_dict()["state"] == {}
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_each_optimizer_has_rates_of_its_own(kind):
    optimiser = feature_optimiser(pooled(), kind)
    rates = RATES.get(kind, RATES["adamw"])
    bases = [group["base"] for group in optimiser.param_groups]
    assert bases == pytest.approx([rates.lr * rates.backbone_lr_scale, rates.lr])
    assert {group["weight_decay"] for group in optimiser.param_groups} <= {rates.weight_decay, 0.0}


def test_an_optimizer_that_timm_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"did you mean 'timm/lamb'"):
        feature_optimiser(pooled(), "timm/lambb")


def test_without_timm_its_optimizers_name_the_extra(monkeypatch):
    monkeypatch.setattr(optimisers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'macnn\[timm\]'"):
        feature_optimiser(pooled(), "timm/lamb")
