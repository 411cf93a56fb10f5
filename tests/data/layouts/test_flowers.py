import numpy as np
import pytest
from scipy.io import savemat

from macnn.data.layouts import open_data_set

LABELS = [77, 77, 77, 1, 1, 1, 102, 102]


def save_labels(root, labels):
    savemat(root / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})


def save_sets(root, **sets):
    savemat(root / "setid.mat", {k: np.array([v], dtype=np.uint16) for k, v in sets.items()})


@pytest.fixture
def flowers(tmp_path, write_images):
    """Three classes of eight images as 102flowers.tgz and its two MATLAB files have them."""
    root = tmp_path / "flowers-102"
    write_images(root / "jpg", [f"image_{k:05d}.jpg" for k in range(1, 9)])
    save_labels(root, LABELS)
    save_sets(root, trnid=[1, 4, 7], valid=[2, 5], tstid=[3, 6, 8])
    return root


def test_three_splits_and_the_names_that_the_files_lack(flowers):
    images = open_data_set(flowers)
    assert images.layout == "flowers"
    assert images.class_names == ("pink primrose", "passion flower", "blackberry lily")
    assert [s.label for s in images.samples] == [1, 0, 2, 1, 0, 1, 0, 2]
    assert [s.split for s in images.samples] == ["train"] * 3 + ["validation"] * 2 + ["test"] * 3
    assert images.samples[0].path.name == "image_00001.jpg"
    assert all(s.path.is_file() for s in images.samples)
    assert images.notes[0].startswith("99 classes have no image: 'hard-leaved pocket orchid', ")


def test_a_missing_list_is_refused(flowers, refused):
    (flowers / "setid.mat").unlink()
    refused(flowers, "Flowers-102", "setid.mat is missing")


def test_classes_counted_from_zero_are_refused(flowers, refused):
    save_labels(flowers, [label - 1 for label in LABELS])
    refused(flowers, "imagelabels.mat: image 4 has class 0, expected 1 to 102", "add 1")


def test_a_split_that_names_an_image_without_label_is_refused(flowers, refused):
    save_sets(flowers, trnid=[1, 4, 7], valid=[2, 5], tstid=[3, 6, 9])
    refused(flowers, "setid.mat: tstid names image 9, imagelabels.mat has 8 labels")


def test_a_missing_variable_is_refused(flowers, refused):
    save_sets(flowers, trnid=[1, 4, 7], tstid=[3, 6, 8])
    refused(flowers, "setid.mat: no variable 'valid', it has trnid, tstid")
