import shutil

import pytest

from macnn import events
from macnn.data.cache import open_cache, write_cache
from macnn.data.layouts import open_data_set
from macnn.data.skip import skip_bad
from macnn.errors import DataError


@pytest.fixture
def images(birds, tmp_path):
    """The birds, with two images of 48 that do not decode: one of training, one of test."""
    images = open_data_set(shutil.copytree(birds, tmp_path / "birds"))
    for split in ("train", "test"):
        images.split(split).samples[0].path.write_bytes(b"not an image")
    return images


def test_bad_images_are_named_and_left_out_and_none_takes_their_place(images):
    heard = []
    kept = skip_bad(images, 0.05, heard.append)
    assert len(kept.samples) + len(kept.failed) == len(images.samples) == 48
    assert [bad.sample.split for bad in kept.failed] == ["train", "test"]
    assert set(kept.samples) < set(images.samples)
    warnings = [e.text for e in heard if isinstance(e, events.Notice)]
    assert len(warnings) == 2
    assert all(
        str(bad.sample.path) in text for bad, text in zip(kept.failed, warnings, strict=True)
    )


def test_splits_keep_their_own_failures(images):
    kept = skip_bad(images, 0.05, events.silent)
    for split in ("train", "test"):
        assert [bad.sample.split for bad in kept.split(split).failed] == [split]


def test_more_than_the_share_is_refused(images):
    with pytest.raises(
        DataError, match=r"2 of 48 images cannot be read, more than the share of 0\.04"
    ):
        skip_bad(images, 0.04, events.silent)


def test_a_class_that_loses_all_its_training_images_is_refused(images):
    for sample in images.split("train").samples:
        if sample.label == 0:
            sample.path.unlink(missing_ok=True)
    with pytest.raises(DataError, match=f"no training image of '{images.class_names[0]}'"):
        skip_bad(images, 0.5, events.silent)


def test_a_cache_remembers_them(images, tmp_path):
    kept = skip_bad(images, 0.05, events.silent)
    write_cache(kept, tmp_path / "cache", 32)
    heard = []
    again = skip_bad(images, 0.05, heard.append, open_cache(tmp_path / "cache", images, 32))
    assert again == kept
    assert all(isinstance(event, events.Notice) for event in heard)  # nothing was decoded
