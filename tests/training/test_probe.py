import pytest
import torch
from torch import nn

from macnn.data.loaders import Batch
from macnn.errors import NonFiniteError
from macnn.model import MACNN, PooledClassifier
from macnn.training.probe import linear_probe


class Colours(nn.Module):
    """Features of an image are its colours, on a map of 2 x 2 cells."""

    def forward(self, images):
        return nn.functional.avg_pool2d(images.float(), images.shape[-1] // 2)


def batches(count=24, value=1.0):
    """Images whose class is the colour that is strongest."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 3, 8, 8, generator=draw) * 0.5
    images[torch.arange(count), labels] += value
    frames = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).expand(count, 2, 2)
    for rows in torch.arange(count).split(8):
        yield Batch(images[rows], labels[rows], rows, frames[rows], len(rows))


def test_a_probe_names_classes_that_features_tell_apart_and_leaves_the_backbone():
    torch.manual_seed(0)
    model = MACNN(Colours(), 2, 3, image_size=8)
    pooled = PooledClassifier(model.backbone, 3, image_size=8)
    others = {n: v.clone() for n, v in model.state_dict().items() if "classifiers" not in n}
    assert linear_probe([model, pooled], batches(), batches()) == [1.0, 1.0]
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in others.items())
    images = torch.cat([batch.images for batch in batches()])
    labels = torch.cat([batch.labels for batch in batches()])
    for fitted in (model, pooled):  # the classifiers are in the models, for training to go on
        assert torch.equal(fitted(images).logits.argmax(dim=1), labels)


def test_without_validation_images_nothing_is_measured():
    model = PooledClassifier(Colours(), 3, image_size=8)
    assert linear_probe([model], batches()) == [None]


def test_features_that_tell_nothing_are_no_better_than_chance():
    model = PooledClassifier(Colours(), 3, image_size=8)
    (accuracy,) = linear_probe([model], batches(value=0.0), batches(count=300, value=0.0))
    assert accuracy < 0.5


def test_what_does_not_fit_in_memory_is_left_out(monkeypatch):
    read = []

    def counted():
        for batch in batches():
            read.append(batch)
            yield batch

    monkeypatch.setattr("macnn.training.probe.MOST_VALUES", 16)
    linear_probe([PooledClassifier(Colours(), 3, image_size=8)], counted())
    assert len(read) == 1


def test_features_that_are_not_finite_are_refused():
    model = PooledClassifier(Colours(), 3, image_size=8)
    with pytest.raises(NonFiniteError, match="features are not finite"):
        linear_probe([model], batches(value=torch.inf))
