import pytest

from macnn.data.layouts import find, open_data_set
from macnn.data.samples import Box

VARIANTS = {"1025794": "707-320", "0056978": "737-700", "1340192": "F/A-18", "0481847": "707-320",
            "0062765": "737-700", "1411508": "F/A-18"}  # fmt: skip
FAMILIES = {"707-320": "Boeing 707", "737-700": "Boeing 737", "F/A-18": "F/A-18"}
MAKERS = {"707-320": "Boeing", "737-700": "Boeing", "F/A-18": "McDonnell Douglas"}
SPLITS = {"train": ["1025794", "0056978", "1340192"], "val": ["0481847"],
          "test": ["0062765", "1411508", "0041"]}  # fmt: skip


@pytest.fixture
def aircraft(tmp_path, write_images):
    """Three variants as the archive fgvc-aircraft-2013b.tar.gz unpacks them."""
    root = tmp_path / "fgvc-aircraft-2013b"
    data = root / "data"
    variants = VARIANTS | {"0041": "707-320"}
    write_images(data / "images", [f"{image}.jpg" for image in variants])
    for name, level, of in (
        ("variants", "variant", {v: v for v in FAMILIES}),
        ("families", "family", FAMILIES),
        ("manufacturers", "manufacturer", MAKERS),
    ):
        classes = dict.fromkeys(of[v] for v in variants.values())
        (data / f"{name}.txt").write_text("".join(f"{c}\n" for c in classes))
        for split, images in (SPLITS | {"trainval": SPLITS["train"] + SPLITS["val"]}).items():
            lines = "".join(f"{image} {of[variants[image]]}\n" for image in images)
            (data / f"images_{level}_{split}.txt").write_text(lines)
    boxes = "".join(f"{image} 3 5 30 20\n" for image in variants)
    (data / "images_box.txt").write_text(boxes)
    return root


def test_variants_with_their_own_validation_images_and_boxes(aircraft):
    images = open_data_set(aircraft)
    assert images.layout == "aircraft"
    assert images.class_names == ("707-320", "737-700", "F/A-18")
    assert [s.split for s in images.samples] == ["train"] * 3 + ["validation"] + ["test"] * 3
    assert [s.label for s in images.samples] == [0, 1, 2, 0, 1, 2, 0]
    assert images.samples[0].box == Box(2, 4, 28, 16)
    assert images.samples[0].path == aircraft / "data" / "images" / "1025794.jpg"
    assert all(s.path.is_file() for s in images.samples)


def test_coarser_labels_are_chosen_by_name(aircraft):
    families = open_data_set(aircraft, "aircraft-family")
    makers = open_data_set(aircraft, "aircraft-manufacturer")
    assert families.class_names == ("Boeing 707", "Boeing 737", "F/A-18")
    assert makers.class_names == ("Boeing", "McDonnell Douglas")
    assert [s.label for s in makers.samples] == [0, 0, 1, 0, 0, 1, 0]


def test_the_inner_folder_and_a_folder_above_will_do(aircraft):
    for root in (aircraft / "data", aircraft, aircraft.parent):
        assert len(open_data_set(root).samples) == 7
    assert find(aircraft).why == "it holds data/variants.txt"


def test_training_and_validation_in_one_list_are_all_training(aircraft):
    for split in ("train", "val"):
        (aircraft / "data" / f"images_variant_{split}.txt").unlink()
    images = open_data_set(aircraft)
    assert [s.split for s in images.samples] == ["train"] * 4 + ["test"] * 3


def test_a_missing_list_is_refused(aircraft, refused):
    (aircraft / "data" / "images_variant_test.txt").unlink()
    refused(aircraft, "FGVC-Aircraft", "images_variant_test.txt is missing")


def test_a_class_that_is_not_listed_is_refused(aircraft, refused):
    (aircraft / "data" / "variants.txt").write_text("707-320\n737-700\n")
    refused(aircraft, "image 1340192 has class 'F/A-18', which variants.txt does not list")


def test_an_image_in_two_splits_is_refused(aircraft, refused):
    with (aircraft / "data" / "images_variant_test.txt").open("a") as file:
        file.write("1025794 707-320\n")
    refused(aircraft, "1025794.jpg: listed 2 times", "one split")


def test_a_line_without_a_class_is_refused(aircraft, refused):
    (aircraft / "data" / "images_variant_val.txt").write_text("0481847\n")
    refused(aircraft, "images_variant_val.txt:1: expected 2 fields, got '0481847'")
