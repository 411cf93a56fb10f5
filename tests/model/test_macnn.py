import pytest
import torch
from torch import nn
from torch.testing import assert_close

from macnn.model import MACNN, PartLocator, PooledClassifier, create_backbone


def model(parts=3, classes=5, *, feature_scale=1.0, **more):
    torch.manual_seed(0)
    made = MACNN(create_backbone("tiny", weights="none"), parts, classes, image_size=64, **more)
    made.feature_scale.set(feature_scale)
    return made.eval()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)


def test_every_part_classifies_and_shows_where_it_looks(images):
    output = model()(images)
    assert output.part_logits.shape == (2, 3, 5)
    assert output.attention.shape == (2, 3, 8, 8)
    assert_close(output.attention.sum(dim=(2, 3)), torch.ones(2, 3))


def test_all_classifiers_together_say_the_sum_of_what_each_says(images):
    output = model()(images)
    assert_close(output.logits, output.classifier_logits.sum(dim=1))
    assert torch.equal(output.part_logits, output.classifier_logits[:, :3])
    assert model().classifier_names == ("part 1", "part 2", "part 3", "whole image")


def test_the_whole_image_is_classified_as_by_the_baseline(images):
    classifier = model()
    baseline = PooledClassifier(classifier.backbone, 5, image_size=64).eval()
    with torch.no_grad():
        for own, there in zip(
            baseline.classifiers.parameters(), classifier.classifiers.parameters(), strict=True
        ):
            own.copy_(there[3:])
    assert_close(classifier(images).classifier_logits[:, 3], baseline(images).logits)


def test_without_the_whole_image_parts_alone_are_asked(images):
    classifier = model(whole_image=False)
    output = classifier(images)
    assert torch.equal(output.classifier_logits, output.part_logits)
    assert classifier.classifier_names == ("part 1", "part 2", "part 3")


def test_a_part_feature_is_the_attention_weighted_mean_of_the_features(images):
    classifier = model(part_features="plain", feature_scale=0.5)
    output = classifier(images)
    features = classifier.backbone(images)
    parts = torch.einsum("bnhw,bchw->bnc", output.attention, features) * 0.5
    expected = torch.einsum("bnc,nkc->bnk", parts, classifier.classifiers.weight[:3])
    assert_close(output.part_logits, expected + classifier.classifiers.bias[:3])


def test_the_baseline_pools_globally(images):
    torch.manual_seed(0)
    baseline = PooledClassifier(create_backbone("tiny", weights="none"), 5, image_size=64).eval()
    output = baseline(images)
    pooled = baseline.backbone(images).mean(dim=(2, 3))
    pooled = pooled / pooled.square().mean(dim=1, keepdim=True).sqrt()
    expected = pooled @ baseline.classifiers.weight[0].T + baseline.classifiers.bias[0]
    assert_close(output.logits, expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(output.classifier_logits, output.logits[:, None])
    assert len(baseline.classifier_names) == 1


def test_before_there_are_classifiers_a_locator_finds_the_same_parts(images):
    classifier = model()
    locator = PartLocator(classifier.backbone, 3, image_size=64).eval()
    locator.grouping = classifier.grouping
    attention, features = locator(images)
    assert features.shape == (2, 3, 128)
    assert torch.equal(attention, classifier(images).attention)


def test_parts_bid_in_standard_deviations_above_their_mean_whatever_the_gain(images):
    competing = model(competition=0.5)
    competing.responses.set(1.0, 2.0, 3.0, 0.5, 1.0, 2.0)
    for scale in (1.0, 7.0):
        competing.response_scale.set(scale)
        slope, offset = competing.bids()
        assert_close(slope * scale * torch.tensor([1.0, 2.0, 3.0]) + offset, torch.full((3,), -2.0))
        assert_close(slope * scale * torch.tensor([1.5, 3.0, 5.0]) + offset, torch.zeros(3))


def test_parts_that_compete_share_fewer_cells(images):
    apart, together = (
        model(competition=competition, power=1.0)(images).attention.flatten(2)
        for competition in (0.1, 0.0)
    )
    overlap = [torch.minimum(m[:, 0], m[:, 1]).sum(dim=1) for m in (apart, together)]
    assert (overlap[0] < overlap[1]).all()


def test_shares_of_all_and_the_background_fill_every_cell(images):
    assert model(competition=0.0).shares(images) is None
    shares = model(competition=0.5).shares(images)
    assert shares.shape == (2, 4, 8, 8)
    assert_close(shares.sum(dim=1), torch.ones(2, 8, 8))


def test_maps_are_those_without_competition_times_the_shares(images):
    competing = model(competition=0.5, power=1.0)
    expected = model(competition=0.0, power=1.0)(images).attention * competing.shares(images)[:, :3]
    assert_close(
        competing(images).attention,
        expected / expected.sum(dim=(2, 3), keepdim=True),
        rtol=1e-4,
        atol=1e-6,
    )


def test_normalised_features_make_logits_independent_of_the_feature_scale(images):
    one, other = (
        model(feature_scale=scale, part_features="normalised", power=1.0)(images).part_logits
        for scale in (1e3, 1e5)
    )
    assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_gradients_reach_convolutions_grouping_layers_and_classifiers(images):
    classifier = model(map_gradient=True)
    classifier(images).classifier_logits.square().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for name, parameter in classifier.named_parameters()
        if "body.0" in name or not name.startswith("backbone")
    )


def test_without_map_gradient_classifiers_do_not_say_where_to_look(images):
    classifier = model()
    classifier(images).classifier_logits.square().sum().backward()
    assert all(p.grad is None for p in classifier.grouping.parameters())
    assert all(p.grad.abs().sum() > 0 for p in classifier.classifiers.parameters())
    assert any(p.grad.abs().sum() > 0 for p in classifier.backbone.parameters())


def test_map_gradient_changes_no_answer(images):
    assert_close(model(map_gradient=True)(images), model(map_gradient=False)(images))


class Untraceable(nn.Module):
    """Looks at values, which neither the meta device nor torch.fx has."""

    def __init__(self):
        super().__init__()
        self.layers = layers()

    def forward(self, images):
        assert images.max() <= 1
        return self.layers(images)


def layers(channels=8):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, channels, 4, 4))


@pytest.mark.parametrize("backbone", [layers, Untraceable])
@pytest.mark.parametrize("kind", ["locator", "macnn", "pooled"])
def test_a_backbone_of_three_layers_will_do(backbone, kind):
    made = {
        "locator": lambda: PartLocator(backbone(), 2, image_size=32),
        "macnn": lambda: MACNN(backbone(), 2, 3, image_size=32),
        "pooled": lambda: PooledClassifier(backbone(), 3, image_size=32),
    }[kind]()
    assert made.map_shape == (8, 4, 4)
    assert kind == "pooled" or made.grid.size == (4, 4)
    output = made(torch.rand(2, 3, 32, 32))
    shape = (2, 2, 8) if kind == "locator" else (2, 3)
    assert (output.features if kind == "locator" else output.logits).shape == shape
    sum(value.sum() for value in output).backward()
    assert all(p.grad is not None for p in made.backbone.parameters())


def test_the_cells_of_a_traceable_backbone_are_where_its_windows_are():
    grids = [MACNN(net(), 2, 3, image_size=32).grid for net in (layers, Untraceable)]
    assert [grid.offset for grid in grids] == [(3.5, 3.5), (4.0, 4.0)]
    assert [grid.stride for grid in grids] == [(8.0, 8.0), (8.0, 8.0)]


def test_precision_does_not_change_where_cells_are():
    model = MACNN(create_backbone("squeezenet1_0", weights="none"), 2, 3, image_size=96)
    model.backbone.compute_dtype = torch.bfloat16
    assert (model.grid.offset, model.grid.stride) == ((17.5, 17.5), (16.0, 16.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MACNN(layers(3), 4, 2, image_size=32), "`backbone`: 3 channels for 4 parts"),
        (lambda: PartLocator(layers(3), 4, image_size=32), "`backbone`: 3 channels for 4 parts"),
        (lambda: PooledClassifier(nn.Flatten(), 2), r"`backbone`: its output \(1, 150528\)"),
        (lambda: PooledClassifier(layers(), 0, image_size=32), "`classes`: 0, expected 1 or more"),
        (lambda: PartLocator(layers(), -1, image_size=32), "`parts`: -1, expected 1 or more"),
    ],
)
def test_what_makes_no_model_is_a_value_error_that_names_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()
