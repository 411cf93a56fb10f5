"""Features that are kept for a grouping phase: the same losses, in less time."""

from time import perf_counter

import pytest
import torch

from macnn import events
from macnn.config.training import TrainSettings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.files import temporary_path
from macnn.model import Network, NetworkSpec
from macnn.model.backbones import BackboneSpec, build_backbone
from macnn.training.fixed_features import FixedFeatures

STEPS = 60


@pytest.fixture
def features(birds, tmp_path):
    """features(place): what a grouping phase draws its batches from."""
    torch.manual_seed(0)
    network = Network(NetworkSpec("tiny", None, 64, 4), build_backbone(BackboneSpec("tiny"), None))
    images = read_cub(birds).split("train")
    loader = Loader(ImageDataset(images, geometry(64, "squash"), seed=1), 8)

    def build(place):
        settings = TrainSettings(feature_cache=place)
        scratch = temporary_path(tmp_path)
        return FixedFeatures(network, loader, settings, scratch, events.silent, mirrors=True)

    return build


@pytest.mark.parametrize("place", ["host", "disk"])
def test_kept_features_are_those_computed_anew(features, place, tmp_path):
    anew, kept = features("off"), features(place)
    drawn = zip(anew.phase(5, 9, STEPS), kept.phase(5, 9, STEPS), strict=True)
    for expected, batch in drawn:
        assert torch.equal(expected.samples, batch.samples)
        torch.testing.assert_close(expected.frames, batch.frames)
        torch.testing.assert_close(expected.images, batch.images, rtol=1e-4, atol=1e-5)
    assert not list(tmp_path.iterdir())


def test_keeping_is_for_phases_that_read_more_images_than_there_are_views(features):
    drawn = features("auto")
    next(drawn.phase(0, 1, total=1))
    assert drawn.kept_in == "off"
    next(drawn.phase(0, 1, total=STEPS))
    assert drawn.kept_in == "host"


def test_the_grouping_phase_is_faster_with_kept_features(features, report):
    seconds = {}
    for _ in range(2):  # the first round warms up
        for place in ("off", "host"):
            began = perf_counter()
            count = sum(1 for _ in features(place).phase(0, STEPS, STEPS))
            seconds[place] = perf_counter() - began
            assert count == STEPS
    report(f"{STEPS} batches of 8 from 32 images: {seconds['off'] / seconds['host']:.1f} "
           "times as fast with kept features, keeping included")  # fmt: skip
    assert seconds["host"] < seconds["off"]
