from dataclasses import replace

import pytest

from macnn.data.samples import ImageSet, Sample
from macnn.errors import CheckpointError, DataError
from macnn.runs.images import check_same_images, note_images, warn_of_other_images


@pytest.fixture
def images(tmp_path):
    root = tmp_path / "birds"
    splits = ("train", "train", "train", "test")
    samples = (Sample(root / f"{i}.jpg", i % 2, split) for i, split in enumerate(splits))
    return ImageSet("birds", root, tuple(samples), ("a", "b"))


def warned(run, images):
    heard = []
    warn_of_other_images(run, images, heard.append)
    return [notice.text for notice in heard]


def test_the_same_images_pass_wherever_they_lie_by_now(images, tmp_path):
    note_images(tmp_path, images)
    moved = tuple(replace(s, path=tmp_path / "moved" / s.path.name) for s in images.samples)
    again = replace(images, root=tmp_path / "moved", samples=moved)
    check_same_images(tmp_path, again)
    assert not warned(tmp_path, again)


def test_a_test_image_may_go(images, tmp_path):
    note_images(tmp_path, images)
    check_same_images(tmp_path, replace(images, samples=images.samples[:3]))


def test_other_training_images_stop_a_run_and_are_named_before_a_measurement(images, tmp_path):
    note_images(tmp_path, images)
    fewer = replace(images, samples=images.samples[1:])
    with pytest.raises(DataError, match="3 then, 2 now"):
        check_same_images(tmp_path, fewer)
    assert "some of those measured now were trained on" in warned(tmp_path, fewer)[0]


def test_a_run_that_noted_nothing_is_taken_as_it_is(images, tmp_path):
    check_same_images(tmp_path, images)
    assert not warned(tmp_path, images)


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_damaged_note_is_named(images, tmp_path, content):
    (tmp_path / "images.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"images\.json: damaged .*; delete it"):
        check_same_images(tmp_path, images)
