import pytest
import torch
from torch.testing import assert_close

from macnn.model import MACNN, PartCNN, create_backbone

STREAMS = 4  # whole image, object, two parts


def part_cnn(image_size=64, shared=False):
    torch.manual_seed(0)
    locator = MACNN(create_backbone("tiny", weights="none"), 2, 5, image_size=64)
    locator.response_scale.set(2.0)
    made = PartCNN(
        locator,
        image_size=image_size,
        stream_size=32,
        part_share=0.25,
        object_threshold=0.5,
        shared=shared,
    )
    return made.eval()


def images(size=64, count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("shared", [False, True])
def test_every_stream_the_locator_and_all_streams_classify(shared):
    network = part_cnn(shared=shared)
    output = network(images())
    assert output.stream_logits.shape == (3, STREAMS, 5)
    assert output.logits.shape == (3, 5)
    expected = network.locator(images())
    assert_close(output.attention, expected.attention)
    assert_close(output.locator_logits, expected.logits)
    assert_close(output.classifier_logits[:, :-1], output.stream_logits)
    assert_close(output.classifier_logits[:, -1], expected.logits)
    assert network.classifier_names == (
        "whole image", "object", "part 1", "part 2", "locator"
    )  # fmt: skip


def test_parts_compete_as_in_the_locator():
    network, plain = part_cnn(128), part_cnn(64)
    large = images(64).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert_close(network.shares(large), plain.shares(images(64)))


def boxes_of(network, photographs):
    features = network.locator.backbone(photographs)
    return network.boxes(features, network.locator.attend(features).attention)


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
    network(images()).logits.sum().backward()
    assert all(p.grad is None for p in network.locator.parameters())
    assert all(p.grad is not None for p in network.streams.parameters())


@pytest.mark.parametrize("shared", [False, True])
def test_a_state_fills_a_new_network(shared):
    network, other = part_cnn(shared=shared), part_cnn(shared=shared)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    other.locator.response_scale.set(1.0)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(other(images()).logits, network(images()).logits)


@pytest.mark.parametrize("shared", [False, True])
def test_streams_begin_as_copies_of_the_locators_backbone(shared):
    network = part_cnn(shared=shared)
    assert len(network.streams) == (1 if shared else STREAMS)
    own = network.locator.backbone.state_dict()
    for stream in network.streams:
        assert all(torch.equal(value, own[name]) for name, value in stream.state_dict().items())
    theirs = {id(p) for p in network.locator.parameters()}
    assert theirs.isdisjoint(map(id, network.streams.parameters()))


def test_photographs_that_are_no_multiple_of_what_the_locator_sees_are_refused():
    with pytest.raises(ValueError, match="`image_size`: 100, expected a multiple of 64"):
        part_cnn(100)
