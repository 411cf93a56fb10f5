import shutil

import numpy as np
import pytest
from scipy.io import savemat

from macnn.data.layouts import open_data_set
from macnn.data.samples import Box

NAMES = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]
BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
TRAIN = [(*[3, 4, 30, 20], k, f"{k:05d}.jpg") for k in (1, 2, 3)]
TEST = [(*[1, 1, 40, 36], 4 - k, f"{k:05d}.jpg") for k in (1, 2, 3)]


@pytest.fixture
def cars(tmp_path, write_images, write_structs):
    """Three makes as the official archives unpack: test labels are beside the devkit."""
    root = tmp_path / "stanford_cars"
    for folder in ("cars_train", "cars_test"):
        write_images(root / folder, [f"{k:05d}.jpg" for k in (1, 2, 3)])
    write_structs(
        root / "devkit" / "cars_train_annos.mat", "annotations", [*BOX, "class", "fname"], TRAIN
    )
    rows = [(*row[:4], row[5]) for row in TEST]
    write_structs(root / "devkit" / "cars_test_annos.mat", "annotations", [*BOX, "fname"], rows)
    write_structs(
        root / "cars_test_annos_withlabels.mat", "annotations", [*BOX, "class", "fname"], TEST
    )
    names = np.array([NAMES], dtype=object)
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": names})
    return root


@pytest.fixture
def combined(tmp_path, write_images, write_structs):
    """The same as car_ims.tgz and cars_annos.mat have it."""
    root = tmp_path / "combined"
    write_images(root / "car_ims", [f"{k:06d}.jpg" for k in range(1, 7)])
    rows = [
        (f"car_ims/{k:06d}.jpg", *[3, 4, 30, 20], (k - 1) % 3 + 1, int(k > 3)) for k in range(1, 7)
    ]
    write_structs(
        root / "cars_annos.mat", "annotations", ["relative_im_path", *BOX, "class", "test"], rows,
        class_names=np.array([NAMES], dtype=object),
    )  # fmt: skip
    return root


def check(images):
    assert images.layout == "cars"
    assert images.class_names == tuple(NAMES)
    assert [s.split for s in images.samples] == ["train"] * 3 + ["test"] * 3
    assert images.samples[0].box == Box(2, 3, 28, 17)
    assert all(s.path.is_file() for s in images.samples)


def test_the_official_layout(cars):
    images = open_data_set(cars)
    check(images)
    assert [s.label for s in images.samples] == [0, 1, 2, 2, 1, 0]


def test_test_labels_inside_the_devkit(cars):
    name = "cars_test_annos_withlabels.mat"
    (cars / name).rename(cars / "devkit" / name)
    check(open_data_set(cars))


def test_everything_beside_the_images(cars):
    for file in (cars / "devkit").iterdir():
        file.rename(cars / file.name)
    check(open_data_set(cars))


def test_images_unpacked_into_a_folder_of_the_same_name(cars):
    for folder in ("cars_train", "cars_test"):
        (cars / folder).rename(cars / "moved")
        (cars / folder).mkdir()
        (cars / "moved").rename(cars / folder / folder)
    check(open_data_set(cars))


def test_the_combined_list(combined):
    images = open_data_set(combined)
    check(images)
    assert [s.label for s in images.samples] == [0, 1, 2, 0, 1, 2]
    (combined / "devkit").mkdir()
    (combined / "cars_annos.mat").rename(combined / "devkit" / "cars_annos.mat")
    check(open_data_set(combined))


def test_the_combined_list_beside_the_official_layout_changes_nothing(cars, combined):
    shutil.copy(combined / "cars_annos.mat", cars / "devkit" / "cars_annos.mat")
    check(open_data_set(cars))


def test_test_annotations_without_labels_are_refused(cars, refused):
    (cars / "cars_test_annos_withlabels.mat").unlink()
    refused(cars, "cars_test_annos_withlabels.mat is missing", "cars_test_annos.mat has no labels")


def test_classes_counted_from_zero_are_refused(cars, refused, write_structs):
    rows = [(*row[:4], row[4] - 1, row[5]) for row in TRAIN]
    write_structs(
        cars / "devkit" / "cars_train_annos.mat", "annotations", [*BOX, "class", "fname"], rows
    )
    refused(cars, "00001.jpg has class 0, expected 1 to 3", "add 1 to every label")


def test_a_file_that_is_not_matlab_is_refused(cars, refused):
    (cars / "devkit" / "cars_meta.mat").write_text("<html>404</html>")
    refused(cars, "cars_meta.mat: not a readable MATLAB file")


def test_annotations_without_a_class_are_refused(cars, refused):
    shutil.copy(cars / "devkit" / "cars_test_annos.mat", cars / "cars_test_annos_withlabels.mat")
    refused(cars, "cars_test_annos_withlabels.mat: its annotations have no field 'class'")
