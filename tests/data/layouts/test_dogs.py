import numpy as np
import pytest
from scipy.io import savemat

from macnn.data.layouts import open_data_set
from macnn.data.samples import Box

FOLDERS = ["n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02113978-Mexican_hairless"]
OBJECT = "<object><name>x</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"  # noqa: E501


def paths(number):
    return [f"{folder}/{folder.partition('-')[0]}_{number}.jpg" for folder in FOLDERS]


def save_list(root, name, files, labels=(1, 2, 3)):
    column = np.array([[file] for file in files], dtype=object)
    marked = np.array([[file.removesuffix(".jpg")] for file in files], dtype=object)
    labels = np.array([[label] for label in labels])
    savemat(root / name, {"file_list": column, "annotation_list": marked, "labels": labels})


@pytest.fixture
def dogs(tmp_path, write_images):
    """Three breeds as images.tar, annotation.tar and lists.tar unpack."""
    root = tmp_path / "stanford_dogs"
    write_images(root / "Images", [*paths(10), *paths(20)])
    for file in (*paths(10), *paths(20)):
        annotation = root / "Annotation" / file.removesuffix(".jpg")
        annotation.parent.mkdir(parents=True, exist_ok=True)
        objects = OBJECT.format(3, 4, 20, 30) + OBJECT.format(10, 2, 38, 25)
        annotation.write_text(f"<annotation><folder>1</folder>{objects}</annotation>")
    save_list(root, "train_list.mat", paths(10))
    save_list(root, "test_list.mat", paths(20))
    save_list(root, "file_list.mat", [*paths(10), *paths(20)], (1, 2, 3, 1, 2, 3))
    return root


def test_breeds_splits_and_the_box_around_all_dogs(dogs):
    images = open_data_set(dogs)
    assert images.layout == "dogs"
    assert images.class_names == ("Chihuahua", "Japanese_spaniel", "Mexican_hairless")
    assert [s.label for s in images.samples] == [0, 1, 2, 0, 1, 2]
    assert [s.split for s in images.samples] == ["train"] * 3 + ["test"] * 3
    assert images.samples[0].box == Box(3, 2, 35, 28)
    assert all(s.path.is_file() for s in images.samples)


def test_lists_in_a_folder_of_their_own(dogs):
    (dogs / "lists").mkdir()
    for file in dogs.glob("*.mat"):
        file.rename(dogs / "lists" / file.name)
    assert len(open_data_set(dogs).samples) == 6


def test_a_missing_list_is_refused(dogs, refused):
    (dogs / "test_list.mat").unlink()
    refused(dogs, "Stanford Dogs", "test_list.mat is missing")


def test_classes_counted_from_zero_are_refused(dogs, refused):
    for name, files in (("train_list.mat", paths(10)), ("test_list.mat", paths(20))):
        save_list(dogs, name, files, (0, 1, 2))
    refused(dogs, "n02085620_10.jpg has class 0, expected 1 to 2", "add 1 to every label")


def test_a_class_that_spans_folders_is_refused(dogs, refused):
    save_list(dogs, "test_list.mat", paths(20), (2, 3, 4))
    refused(dogs, "n02085620_20.jpg has class 2, but so has n02085782-Japanese_spaniel/")


def test_more_labels_than_files_are_refused(dogs, refused):
    save_list(dogs, "train_list.mat", paths(10), (1, 2, 3, 3))
    refused(dogs, "train_list.mat: 3 files, but 4 labels")


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><a>&b;</a>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<annotation>", "not a readable annotation"),
        (OBJECT.format("nan", 4, 20, 30).encode(), "expected a number, got 'nan'"),
        (OBJECT.format(1, 2, 3, "").encode(), "expected a number, got ''"),
        (b"<a>" * 200_000, "not a readable annotation"),
        (b"<a>" + b" " * 2**20 + b"</a>", "bytes, more than 1,048,576"),
        (BOMB.encode(), "not a readable annotation (it has a DOCTYPE)"),
        (BOMB.encode("utf-16"), "not UTF-8"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_broken_annotation_is_refused(dogs, refused, content, words):
    (dogs / "Annotation" / paths(10)[0].removesuffix(".jpg")).write_bytes(content)
    refused(dogs, "n02085620_10: ", words)


def test_a_class_number_without_end_is_refused(dogs, refused):
    save_list(dogs, "train_list.mat", paths(10), (1, 2, 10**9))
    save_list(dogs, "test_list.mat", paths(20), (1, 2, 10**9))
    refused(dogs, "has class 1000000000, expected 1 to 100000")
