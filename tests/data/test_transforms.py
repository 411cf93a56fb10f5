"""Boxes and parts follow the image through every geometry, and back."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torchvision import tv_tensors

from macnn.data.loaders import frame, through, unframe
from macnn.data.transforms import geometry

SIZE = 48
sides = st.integers(20, 200)
shares = st.floats(0, 1, width=32)
modes = st.sampled_from(["crop", "pad", "squash"])
augments = st.sampled_from(["none", "flip", "strong"])
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", autouse=True)
def _own_generator():
    with torch.random.fork_rng(devices=[]):
        yield


@settings(max_examples=80, deadline=None)
@given(modes, augments, sides, sides, st.lists(st.tuples(shares, shares), min_size=1), seeds)
def test_parts_mapped_there_and_back_land_where_they_were(
    mode, augment, height, width, shares, seed
):
    torch.manual_seed(seed)
    image, found = through(
        geometry(SIZE, mode, augment), torch.zeros(3, height, width, dtype=torch.uint8)
    )
    assert image.shape == (3, SIZE, SIZE)
    points = torch.tensor(shares) * torch.tensor([width, height])
    back = unframe(frame(points[None], found[None]), found[None])[0]
    assert_close(back, points, atol=1e-3, rtol=0)


@settings(max_examples=80, deadline=None)
@given(modes, augments, sides, sides, st.tuples(*[shares] * 4), seeds)
def test_a_box_lands_where_torchvision_puts_it(mode, augment, height, width, shares, seed):
    """A second opinion: torchvision moves boxes as places in a plane, flips included."""
    view = geometry(SIZE, mode, augment)
    pixels = torch.zeros(3, height, width, dtype=torch.uint8)
    x, y = sorted(shares[:2]), sorted(shares[2:])
    box = torch.tensor([[x[0] * width, y[0] * height], [x[1] * width, y[1] * height]])
    torch.manual_seed(seed)
    _, found = through(view, pixels)
    torch.manual_seed(seed)
    _, theirs = view(
        tv_tensors.Image(pixels),
        tv_tensors.BoundingBoxes(
            box.flatten()[None], format="XYXY", canvas_size=(height, width), clamping_mode=None
        ),
    )
    ours = frame(box[None], found[None])[0]
    corners = torch.cat((ours.amin(dim=0), ours.amax(dim=0)))
    assert_close(corners, theirs.as_subclass(torch.Tensor)[0], atol=1e-2, rtol=0)


@settings(max_examples=60, deadline=None)
@given(modes, augments, st.integers(60, 160), st.integers(60, 160), shares, shares, seeds)
def test_a_marked_place_is_found_again_in_the_pixels(
    mode, augment, height, width, right, low, seed
):
    """The truth: a white square on black, found in the network input and mapped back."""
    x, y = int(8 + right * (width - 16)), int(8 + low * (height - 16))
    pixels = torch.zeros(3, height, width, dtype=torch.uint8)
    pixels[:, y - 6 : y + 6, x - 6 : x + 6] = 255
    torch.manual_seed(seed)
    image, found = through(geometry(SIZE, mode, augment), pixels)
    light = image.float().mean(dim=0)
    light = (light - light.max() / 2).clamp(min=0)  # grey borders go
    edge = torch.cat((light[0], light[-1], light[:, 0], light[:, -1]))
    assume(light.max() > 32)  # not cropped away
    assume(edge.max() == 0)  # nor cut
    down, across = torch.meshgrid(*[torch.arange(SIZE) + 0.5] * 2, indexing="ij")
    centre = torch.stack([(light * place).sum() / light.sum() for place in (across, down)])
    back = unframe(centre.view(1, 1, 2), found[None])[0, 0]
    assert_close(back, torch.tensor([x, y], dtype=torch.float32), atol=0.6, rtol=0)


@given(sides, sides, st.booleans())
@settings(max_examples=30, deadline=None)
def test_squash_and_pad_keep_the_whole_image_and_crop_fills_the_input(height, width, flip):
    pixels = torch.zeros(3, height, width, dtype=torch.uint8)
    corners = torch.tensor([[[0.0, 0.0], [width, height]]])
    augment = "flip" if flip else "none"
    for mode in ("squash", "pad", "crop"):
        _, found = through(geometry(SIZE, mode, augment), pixels)
        placed = frame(corners, found[None])[0]
        low, high = placed.amin(dim=0), placed.amax(dim=0)
        if mode == "crop":
            assert (low <= 1e-3).all()
            assert (high >= SIZE - 1e-3).all()
        else:
            assert (low >= -1e-3).all()
            assert (high <= SIZE + 1e-3).all()
