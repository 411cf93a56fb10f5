import os
import shutil

import pytest

from macnn.data.layouts import cub, files
from macnn.data.layouts.cub import REQUIRED, read_cub
from macnn.data.samples import Box
from macnn.errors import DataError


@pytest.fixture
def layout(tmp_path):
    """A data set of two classes and four images, as the official files write them."""
    root = tmp_path / "CUB"
    (root / "parts").mkdir(parents=True)
    files = {
        "images.txt": "1 001.A/one two.jpg\n2 001.A/b.jpg\n5 002.B/c.jpg\n6 002.B/d.jpg\n",
        "image_class_labels.txt": "1 1\n2 1\n3 1\n5 2\n6 2\n7 3\n",
        "train_test_split.txt": "1 1\n2 0\n3 1\n5 1\n6 0\n7 1\n",
        "classes.txt": "1 001.A\n2 002.B\n3 003.C\n",
        "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n2 0.0 0.0 5.0 5.0\n",
        "parts/parts.txt": "1 back\n2 left eye\n",
        "parts/part_locs.txt": "1 1 0.0 0.0 0\n1 2 312.0 182.0 1\n5 1 3.0 4.0 1\n7 1 9.0 9.0 1\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    return root


def test_images_txt_decides_which_images_and_classes_there_are(layout):
    images = read_cub(layout)
    assert [s.path.name for s in images.samples] == ["one two.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert images.class_names == ("001.A", "002.B")


def test_labels_are_zero_based_and_the_split_is_kept(layout):
    images = read_cub(layout)
    assert [s.label for s in images.samples] == [0, 0, 1, 1]
    assert [s.split for s in images.samples] == ["train", "test", "train", "test"]
    assert len(images.split("train").samples) == 2


def test_boxes_and_visible_keypoints_are_read_in_the_order_of_the_names(layout):
    first, second, third, _ = read_cub(layout).samples
    assert read_cub(layout).keypoint_names == ("back", "left eye")
    assert first.box == Box(60, 27, 325, 304)
    assert first.keypoints == (None, (312.0, 182.0))
    assert second.keypoints == (None, None)
    assert (third.box, third.keypoints) == (None, ((3.0, 4.0), None))


def test_annotations_are_optional(layout):
    shutil.rmtree(layout / "parts")
    (layout / "bounding_boxes.txt").unlink()
    assert read_cub(layout).samples[0].keypoints == ()


def _replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("images.txt", "1 001.A/one two.jpg", "1", ":1: expected 2 fields"),
        ("images.txt", "2 001.A/b.jpg", "1 001.A/b.jpg", "id 1 is listed twice"),
        ("image_class_labels.txt", "6 2\n", "", "no line for image 6 (002.B/d.jpg)"),
        ("image_class_labels.txt", "6 2\n", "6 9\n", "which classes.txt does not list"),
        ("image_class_labels.txt", "1 1\n", "1 0\n", "add 1 to every label"),
        ("train_test_split.txt", "5 1", "5 yes", "expected 1 (training) or 0 (test)"),
        ("train_test_split.txt", "5 1", "5 0", "class '002.B' has no training image"),
        ("classes.txt", "3 003.C\n", "3 003.C\n4 004.D\n", "class '004.D' is empty"),
        ("bounding_boxes.txt", "304.0", "wide", "expected a number, got 'wide'"),
        ("bounding_boxes.txt", "304.0", "nan", "expected a number, got 'nan'"),
        ("bounding_boxes.txt", "304.0", "-inf", "expected a number, got '-inf'"),
        ("bounding_boxes.txt", "304.0", "1e999", "expected a number, got '1e999'"),
        ("bounding_boxes.txt", "304.0", "3_0", "expected a number, got '3_0'"),
        ("bounding_boxes.txt", "304.0", "\u0663", "expected a number, got '\u0663'"),
        ("bounding_boxes.txt", "304.0", "9" * 5000, "expected a number, got '999"),
        ("parts/part_locs.txt", "3.0 4.0 1", "3.0 NaN 1", "expected a number, got 'NaN'"),
        ("parts/part_locs.txt", "5 1", "5 9", "part 9, which parts.txt does not list"),
        ("images.txt", "b.jpg", "b" * 20_000, "images.txt:2: more than 20,000 characters"),
        ("classes.txt", "001.A", "A" * 501, "a name of more than 500 characters"),
        ("train_test_split.txt", "5 1", "5 \x1b[31m", r"'\x1b[31m', expected 1 (training)"),
    ],
)
def test_a_broken_file_is_refused(layout, refused, file, old, new, message):
    _replace(layout / file, old, new)
    refused(layout, message)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file_is_refused(layout, refused, name):
    (layout / name).unlink()
    refused(layout, "CUB-200-2011", f"{name} is missing", "or another --dataset")


@pytest.mark.parametrize("name", ["images.txt", "bounding_boxes.txt", "parts/part_locs.txt"])
def test_a_list_that_is_no_file_is_refused(layout, refused, name):
    (layout / name).unlink()
    os.mkfifo(layout / name)  # reading it would wait for ever
    refused(layout, f"{name}: not a regular file", dataset="cub")


def test_lists_without_end_are_refused(layout, monkeypatch):
    monkeypatch.setattr(cub, "POINTS", 3)
    with pytest.raises(DataError, match=r"part_locs\.txt: more than 3 points"):
        read_cub(layout)
    monkeypatch.setattr(cub, "LANDMARKS", 1)
    with pytest.raises(DataError, match="parts: more than 1 parts"):
        read_cub(layout)
    monkeypatch.setattr(files, "ROWS", 2)
    with pytest.raises(DataError, match=r"classes\.txt: more than 2 lines"):
        read_cub(layout)


def test_parts_without_a_line_are_not_visible(layout):
    _replace(layout / "parts" / "part_locs.txt", "1 1 0.0 0.0 0\n1 2 312.0 182.0 1\n", "")
    images = read_cub(layout)
    assert images.samples[0].keypoints == (None, None)
    assert images.samples[2].keypoints == ((3.0, 4.0), None)


def test_what_other_files_list_too_is_noted(layout):
    notes = read_cub(layout).notes
    assert notes[0] == (
        "image_class_labels.txt, train_test_split.txt: 2 listed images absent from images.txt"
    )
    assert notes[1] == "parts/part_locs.txt: 1 listed image absent from images.txt"
    assert notes[2] == "1 class has no image: '003.C'"


def test_real_birds_load_although_other_files_list_more(real_birds):
    images = read_cub(real_birds)
    assert len(images.samples) == 543
    assert len(images.split("train").samples) == 300
    assert len(images.class_names) == 10
    assert len(images.keypoint_names) == 15
    assert all(sample.path.is_file() for sample in images.samples)
