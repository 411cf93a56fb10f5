import os
import shutil

import pytest

from macnn.data.layouts import open_data_set
from macnn.data.splits import complete

CLASSES = ("crow", "Jay", "wren")


@pytest.fixture
def split(tmp_path, write_images):
    """Class folders below train/, valid/ and test/, with what file managers leave behind."""
    root = tmp_path / "birds"
    for folder, count in (("train", 3), ("valid", 1), ("test", 2)):
        for name in CLASSES:
            write_images(root / folder / name, [f"{folder} {k}.jpg" for k in range(count)])
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (root / "__MACOSX" / "train").mkdir(parents=True)
    (root / "train" / "crow" / "._0.jpg").write_bytes(b"\0")
    (root / "train" / "crow" / "Thumbs.db").write_bytes(b"\0")
    return root


@pytest.fixture
def flat(tmp_path, write_images):
    """Class folders only."""
    root = tmp_path / "flat"
    for name in CLASSES:
        write_images(root / name, [f"{k}.JPG" for k in range(10)])
    return root


def counts(images, split):
    samples = images.split(split).samples
    return [sum(s.label == label for s in samples) for label in range(len(images.class_names))]


def test_the_folders_give_the_splits_and_the_classes(split):
    images = open_data_set(split)
    assert images.layout == "folders"
    assert images.class_names == ("Jay", "crow", "wren")
    assert counts(images, "train") == [3, 3, 3]
    assert counts(images, "validation") == [1, 1, 1]
    assert counts(images, "test") == [2, 2, 2]


@pytest.mark.parametrize("name", ["val", "validation", "Valid"])
def test_the_validation_folder_may_have_any_of_its_names(split, name):
    (split / "valid").rename(split / name)
    assert counts(open_data_set(split), "validation") == [1, 1, 1]


def test_a_flat_folder_is_divided_by_class_and_seed(flat):
    images = open_data_set(flat)
    assert {s.split for s in images.samples} == {"train"}
    divided = complete(images, validation=0.2, test=0.3, seed=1)
    assert counts(divided, "test") == [3, 3, 3]
    assert counts(divided, "validation") == [1, 1, 1]
    assert divided == complete(images, validation=0.2, test=0.3, seed=1)
    assert divided != complete(images, validation=0.2, test=0.3, seed=2)


def test_own_validation_images_are_kept_or_trained_on(split):
    images = open_data_set(split)
    assert complete(images, validation=0.5, test=0.5, seed=0) == images
    assert counts(complete(images, validation=0, test=0.5, seed=0), "train") == [4, 4, 4]


def test_stray_folders_and_images_are_noted_and_left_out(split, write_images):
    (split / "train" / "notes").mkdir()
    write_images(split / "train", ["loose.png"])
    images = open_data_set(split)
    assert images.class_names == ("Jay", "crow", "wren")
    assert [note.removeprefix(f"{split}/") for note in images.notes] == [
        "train/notes/ holds no class: left out",
        "train: 1 image outside class folders: left out",
    ]


def test_a_class_may_be_called_like_a_split(flat, write_images):
    write_images(flat / "train", ["steam.jpg"])
    assert open_data_set(flat).class_names == ("Jay", "crow", "train", "wren")


def test_names_with_spaces_quotes_newlines_and_stray_bytes(flat, write_images):
    odd = ['it\'s a "jay".jpg', "two\nlines.jpg", os.fsdecode(b"caf\xe9.jpg")]
    write_images(flat / "odd\nclass", odd)
    images = open_data_set(flat)
    assert images.class_names == ("Jay", "crow", "odd\\nclass", "wren")
    found = [s.path for s in images.samples if s.label == 2]
    assert sorted(path.name for path in found) == sorted(odd)
    assert all(path.is_file() for path in found)


def test_a_hundred_thousand_files_in_one_folder(flat):
    for number in range(100_000):
        os.close(os.open(flat / "crow" / f"{number}.png", os.O_CREAT, 0o644))
    found = counts(open_data_set(flat), "train")
    shutil.rmtree(flat)  # pytest keeps the folders of several runs
    assert found == [10, 100_010, 10]


def test_two_validation_folders_are_refused(split, refused):
    (split / "test").rename(split / "val")
    refused(split, "val/ and valid/ both mean validation images", "keep one")


def test_a_class_without_training_images_is_refused(split, refused, write_images):
    write_images(split / "test" / "robin", ["a.jpg"])
    refused(split, "class 'robin' has no training image")


def test_no_training_folder_is_refused(split, refused):
    (split / "train").rename(split / "training images")
    refused(split, "test/, valid/ but no train/")


def test_one_class_is_refused(split, refused):
    for folder in ("train", "valid", "test"):
        for name in ("Jay", "wren"):
            (split / folder / name).rename(split / f"{folder} {name}")
    refused(split, "only one class, 'crow'")


def test_loose_images_are_refused(flat, refused, tmp_path, write_images):
    write_images(tmp_path / "loose", ["a.jpg", "b.jpg"])
    refused(
        tmp_path / "loose", "in no layout that is known", "or list the images in a CSV manifest"
    )
    refused(tmp_path / "loose", "no folder in it holds images", dataset="folders")
