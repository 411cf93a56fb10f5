"""Where the parts land, under the protocol that others publish by."""

import pytest
import torch

from macnn import events
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import Batch, ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.errors import UsageError
from macnn.evaluation.evaluate import evaluate
from macnn.evaluation.localisation import Landmarks
from macnn.evaluation.published import centroids, look, measure_published
from macnn.model import MACNN, Output, PooledClassifier, create_backbone

NAMES = ("beak", "left eye", "right eye", "tail")


def landmarks(images, seed=0):
    """Part i is exactly on keypoint i, and owns it, in boxes of 100 x 50."""
    generator = torch.Generator().manual_seed(seed)
    corners = 50 * torch.rand(images, 2, generator=generator)
    inside = torch.rand(images, 4, 2, generator=generator) * torch.tensor([100.0, 50.0])
    return Landmarks(
        centres=corners[:, None] + inside,
        keypoints=corners[:, None] + inside,
        visible=torch.ones(images, 4, dtype=torch.bool),
        boxes=torch.cat((corners, torch.tensor([100.0, 50.0]).expand(images, 2)), dim=1),
        owners=torch.arange(4).expand(images, 4).clone(),
        present=torch.ones(images, 4, dtype=torch.bool),
    )


def test_parts_on_the_landmarks_leave_no_error():
    found = measure_published(landmarks(30), landmarks(9, seed=1), NAMES)
    assert found.regression_error == pytest.approx(0, abs=1e-6)
    assert (found.nmi, found.ari, found.background) == (1, 1, 0)
    assert found.present == (1, 1, 1, 1)


def test_width_and_height_of_the_box_are_units_of_their_own():
    train, test = landmarks(30), landmarks(1, seed=1)
    test.keypoints[:] = test.boxes[:, None, :2] + torch.tensor([50.0 + 30.0, 25.0 + 20.0])
    reference = measure_published(train, test, NAMES).references
    assert reference.box_centre == pytest.approx((0.3**2 + 0.4**2) ** 0.5, abs=1e-6)


def test_absent_parts_do_not_move_the_error():
    train, test = landmarks(30), landmarks(9, seed=1)
    for split in (train, test):
        split.present[:, 3] = False
    before = measure_published(train, test, NAMES)
    for split in (train, test):
        split.centres[:, 3] = split.centres[:, 0].square()
    assert measure_published(train, test, NAMES).regression_error == before.regression_error > 0
    assert before.present == (1, 1, 1, 0)


def test_the_background_is_an_owner_like_any_other():
    train, test = landmarks(30), landmarks(10, seed=1)
    test.owners[:, 3] = 4
    found = measure_published(train, test, NAMES)
    assert (found.nmi, found.background) == (1, 0.25)
    test.owners[:, 2] = 4
    assert measure_published(train, test, NAMES).nmi < 1


def test_nothing_visible_gives_no_figures():
    train, test = landmarks(30), landmarks(10, seed=1)
    test.visible[:] = False
    found = measure_published(train, test, NAMES)
    assert (found.regression_error, found.nmi, found.ari, found.background) == (None,) * 4


def test_a_part_is_at_the_centre_of_mass_of_its_whole_map():
    maps = torch.zeros(1, 1, 2, 4)
    maps[0, 0, 0, 0], maps[0, 0, 1, 3] = 0.75, 0.25
    expected = [(0.75 * 0.5 + 0.25 * 3.5) / 4, (0.75 * 0.5 + 0.25 * 1.5) / 2]
    assert centroids(maps)[0, 0].tolist() == pytest.approx(expected)


@pytest.fixture
def seen(monkeypatch):
    """Two parts in opposite corners of images stored twice as large, and a keypoint in a cell."""

    def stand_in(first_wins, keypoint):
        maps = torch.zeros(1, 2, 8, 8)
        maps[0, 0, 1, 1] = maps[0, 1, 6, 6] = 1
        shares = None
        if first_wins is not None:
            shares = torch.zeros(1, 3, 8, 8)
            shares[:, 2] = 1
            shares[0, :, 1, 1] = torch.tensor([first_wins, 0.0, 1 - first_wins])
        logits = torch.zeros(1, 2, 3)
        monkeypatch.setattr(MACNN, "forward", lambda *_: Output(logits.sum(1), logits, maps))
        monkeypatch.setattr(MACNN, "shares", lambda *_: shares)
        model = MACNN(create_backbone("tiny"), 2, 3, image_size=64)
        frames = torch.tensor([[[0.5, 0.0], [0.5, 0.0]]])
        images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
        cell = model.grid.to_pixels((torch.tensor([keypoint]) + 0.5) / 8)
        batch = Batch(images, torch.zeros(1).long(), torch.zeros(1).long(), frames)
        return look(model, [batch], 2 * cell[None]), 2 * cell

    return stand_in


def test_parts_that_do_not_compete_are_present_and_own_all_keypoints(seen):
    sight, cell = seen(None, (1, 1))
    assert sight.present.tolist() == [[True, True]]
    assert sight.owners.tolist() == [[0]]
    torch.testing.assert_close(sight.centres[0, :1], cell)


@pytest.mark.parametrize(("share", "owner"), [(0.51, 0), (0.49, 2)])
def test_a_part_is_present_where_it_wins_more_than_half_of_a_cell(seen, share, owner):
    sight, _ = seen(share, (1, 1))
    assert sight.present.tolist() == [[share > 0.5, False]]
    assert sight.owners.tolist() == [[owner]]


def test_figures_of_a_loader_are_of_all_its_images(birds):
    torch.manual_seed(0)
    model = MACNN(create_backbone("tiny"), 2, 16, competition=0.5, image_size=64)
    test, train = (
        Loader(ImageDataset(read_cub(birds).split(name), geometry(64, "crop"), seed=0), 7)
        for name in ("test", "train")
    )
    published = evaluate(
        model, test, train, split="test", margin=0.02, protocol="published", listen=events.silent
    ).published
    assert (published.images, len(published.present)) == (16, 2)
    assert 0 < published.regression_error < published.references.box_centre


def test_a_model_without_parts_is_refused(birds):
    model = PooledClassifier(create_backbone("tiny"), 16, image_size=64)
    test = Loader(ImageDataset(read_cub(birds).split("test"), geometry(64, "crop"), seed=0), 16)
    with pytest.raises(UsageError, match="for models with parts"):
        evaluate(
            model, test, test, split="test", margin=0.02, protocol="published", listen=events.silent
        )
