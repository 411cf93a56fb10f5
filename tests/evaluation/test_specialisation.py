"""Covering a part, and what its and other parts' classifiers lose."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from macnn import events
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import Batch, ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.errors import DataError, NonFiniteError, UsageError
from macnn.evaluation.evaluate import evaluate
from macnn.evaluation.specialisation import cover, diagonal_share, measure_specialisation
from macnn.model import MACNN, Output, PartLocator, create_backbone

CELLS = ((1, 1), (6, 6))  # of a map of 8 x 8 cells, far apart


def box(left, top, right, bottom):
    return torch.tensor([[left, top, right, bottom]], dtype=torch.float32)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4), st.floats(1, 9), st.floats(2, 5))
def test_a_square_in_an_even_slope_is_filled_as_if_nothing_had_covered_it(slopes, start, side):
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    a, b, c, d = slopes
    image = (a + b * x + c * y + d * x * y).expand(1, 3, 16, 16)
    filled = cover(image, box(start, start + 1, start + side, start + 1 + side))
    torch.testing.assert_close(filled, image, atol=1e-3, rtol=1e-4)


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2**31))
def test_what_is_covered_does_not_show_and_what_is_not_stays(left, top, seed):
    images = torch.randint(256, (1, 3, 16, 16), generator=torch.Generator().manual_seed(seed))
    images = images.to(torch.uint8)
    hidden = torch.zeros(1, 3, 16, 16, dtype=torch.bool)
    hidden[..., top : top + 4, left : left + 4] = True
    square = box(left, top, left + 4, top + 4)
    filled = cover(images, square)
    assert torch.equal(filled, cover(images.masked_fill(hidden, 0), square))
    assert torch.equal(filled[~hidden], images[~hidden])


def test_a_square_in_the_corner_is_filled_from_the_sides_it_has():
    images = torch.full((1, 3, 16, 16), 7, dtype=torch.uint8)
    images[..., :4, :4] = 200
    assert (cover(images, box(0, 0, 4, 4)) == 7).all()


@pytest.mark.parametrize(
    ("lost", "share"),
    [
        ([[0.5, 0.0], [0.0, 0.1]], 1.0),
        ([[0.2, 0.2], [0.2, 0.2]], 0.5),
        ([[0.0, 0.3], [0.1, 0.0]], 0.0),
        ([[0.3, -0.9], [0.1, -0.1]], 0.75),
        ([[0.0, -0.1], [-0.2, 0.0]], None),
    ],
)
def test_specialisation_is_the_share_of_the_diagonal_in_what_is_lost(lost, share):
    assert diagonal_share(torch.tensor(lost)) == (None if share is None else pytest.approx(share))


@pytest.fixture
def model():
    return MACNN(create_backbone("tiny"), 2, 3, image_size=64)


@pytest.fixture
def seen_by(model, monkeypatch):
    """Images with two white squares, and parts there: classifier i sees square `of[i]` alone."""

    def stand_in(of):
        maps = torch.zeros(2, 8, 8)
        for part, (x, y) in enumerate(CELLS):
            maps[part, y, x] = 1
        centres = model.grid.to_pixels((torch.tensor(CELLS) + 0.5) / 8).long().tolist()
        images = torch.zeros(5, 3, 64, 64, dtype=torch.uint8)
        for x, y in centres:
            images[..., y - 3 : y + 4, x - 3 : x + 4] = 255

        def forward(self, given):
            whiteness = torch.stack([given[:, 0, y, x] / 255 for x, y in centres], dim=1)
            each = torch.zeros(len(given), 2, 3)
            each[..., 1] = 4 * whiteness[:, of]
            return Output(each.sum(1), each, maps.expand(len(given), -1, -1, -1))

        monkeypatch.setattr(MACNN, "forward", forward)
        frames = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).expand(5, 2, 2)
        whole = Batch(images, torch.ones(5, dtype=torch.int64), torch.arange(5), frames)
        return whole.split(2)

    return stand_in


@pytest.mark.parametrize(
    ("of", "share"), [([0, 1], 1.0), ([1, 0], 0.0), ([0, 0], 0.5)], ids=["own", "other", "one"]
)
def test_classifiers_lose_by_the_part_they_see(model, seen_by, of, share):
    found = measure_specialisation(model, seen_by(of))
    assert (found.images, found.specialisation) == (5, pytest.approx(share, abs=1e-6))
    drop = torch.tensor([0.0, 4.0, 0.0]).softmax(0)[1].item() - 1 / 3
    assert sum(map(sum, found.lost)) == pytest.approx(2 * drop, abs=1e-4)


def test_logits_that_are_not_finite_are_told(model, seen_by, monkeypatch):
    batches = seen_by([0, 1])
    forward = MACNN.forward
    monkeypatch.setattr(
        MACNN,
        "forward",
        lambda self, x: (o := forward(self, x))._replace(
            classifier_logits=o.classifier_logits * torch.nan
        ),
    )
    with pytest.raises(NonFiniteError):
        measure_specialisation(model, batches)


def test_no_image_is_a_data_error(model):
    with pytest.raises(DataError, match="no images"):
        measure_specialisation(model, [])


def test_a_model_without_a_classifier_per_part_is_refused(birds):
    locator = PartLocator(create_backbone("tiny"), 2, image_size=64)
    test = Loader(ImageDataset(read_cub(birds).split("test"), geometry(64, "crop"), seed=0), 16)
    with pytest.raises(UsageError, match="no classifiers that see one part each"):
        evaluate(
            locator,
            test,
            None,
            split="test",
            margin=0.02,
            specialisation=True,
            listen=events.silent,
        )
