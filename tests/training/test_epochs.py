from dataclasses import replace

import pytest
import torch

from macnn import events
from macnn.config.training import TrainSettings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.model import MACNN, PartCNN, PooledClassifier, create_backbone
from macnn.training.epochs import PooledTraining, StreamTraining


def test_the_streams_learn_and_their_locator_stays(birds):
    torch.manual_seed(0)
    images = replace(read_cub(birds), samples=read_cub(birds).split("train").samples[:8])
    loader = Loader(ImageDataset(images, geometry(32, "squash"), seed=1), 4)
    locator = MACNN(create_backbone("tiny"), 2, 16, image_size=32)
    sizes = {"image_size": 32, "stream_size": 32, "part_share": 0.25, "object_threshold": 0.5}
    model = PartCNN(locator, **sizes, shared=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = TrainSettings(warmup=0, backbone_lr_scale=1, weight_decay=0)
    list(StreamTraining(model, loader, settings, events.silent, rounds=1, epochs=1).steps())
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert not any(name.startswith("locator.") for name in changed)
    trained = {name for name, _ in model.named_parameters() if not name.startswith("locator.")}
    assert trained <= changed


@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_batch_norms_keep_their_statistics_if_told_to_and_train_their_weights(birds, batch_norm):
    images = replace(read_cub(birds), samples=read_cub(birds).split("train").samples[:8])
    loader = Loader(ImageDataset(images, geometry(32, "squash"), seed=1), 4)
    model = PooledClassifier(create_backbone("tiny"), 16, image_size=32)
    norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    statistics, weight = norm.running_mean.clone(), norm.weight.clone()
    settings = TrainSettings(batch_norm=batch_norm, warmup=0)
    list(PooledTraining(model, loader, settings, events.silent, rounds=1, epochs=1).steps())
    assert torch.equal(norm.running_mean, statistics) == (batch_norm == "eval")
    assert not torch.equal(norm.weight, weight)
