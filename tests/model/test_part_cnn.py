from dataclasses import asdict

import pytest
import torch
from torch.testing import assert_close

from macnn.model import Network, NetworkSpec, PartCNN, PartCNNSpec, build_part_cnn
from macnn.model.backbones import Backbone, BackboneSpec

STREAMS = 4  # whole image, object, two parts


def part_cnn(image_size=64, shared=False):
    torch.manual_seed(0)
    own = NetworkSpec("tiny", None, 64, 2, classes=5, power=8.0, response_scale=2.0)
    spec = PartCNNSpec(
        **asdict(own) | {"image_size": image_size},
        locator_size=64,
        stream_size=32,
        part_share=0.25,
        object_threshold=0.5,
        shared=shared,
    )
    locator = Network(own, Backbone(BackboneSpec("tiny")))
    streams = [Backbone(BackboneSpec("tiny")) for _ in range(1 if shared else STREAMS)]
    return PartCNN(spec, locator, streams).eval()


def images(size=64, count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("shared", [False, True])
def test_every_stream_the_locator_and_all_streams_classify(shared):
    network = part_cnn(shared=shared)
    logits, attention, joint = network(images())
    assert logits.shape == (3, STREAMS + 1, 5)
    assert joint.shape == (3, 5)
    expected = network.locator(images())
    assert_close(attention, expected.attention)
    assert_close(logits[:, -1], expected.joint)
    assert network.classifier_names == (
        "whole image", "object", "part 1", "part 2", "summed parts"
    )  # fmt: skip


def boxes_of(network, photographs):
    features = network.locator.backbone(photographs)
    return network.boxes(features, network.locator.recognise(features).attention)


def test_streams_see_the_photograph_the_object_and_the_parts():
    network = part_cnn()
    boxes = boxes_of(network, images())
    assert boxes.shape == (3, STREAMS, 4)
    assert boxes[:, 0].tolist() == [[0, 0, 64, 64]] * 3
    assert_close(boxes[:, 2:, 2:] - boxes[:, 2:, :2], torch.full((3, 2, 2), 16.0))


def test_larger_photographs_show_the_same_places():
    small, large = part_cnn(64), part_cnn(128)
    doubled = images().repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert_close(large(doubled).attention, small(images()).attention)
    assert_close(boxes_of(large, images()), 2 * boxes_of(small, images()))


def test_the_locator_is_never_trained():
    network = part_cnn()
    network.train()
    assert not network.locator.training
    _, _, joint = network(images())
    joint.sum().backward()
    assert all(p.grad is None for p in network.locator.parameters())
    assert all(p.grad is not None for p in network.streams.parameters())


@pytest.mark.parametrize("shared", [False, True])
def test_a_state_fills_a_new_network(shared):
    network = part_cnn(shared=shared)
    other = build_part_cnn(PartCNNSpec(**asdict(network.spec))).eval()
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(other(images()).joint, network(images()).joint)
