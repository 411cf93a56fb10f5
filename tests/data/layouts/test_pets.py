import pytest

from macnn.data.layouts import open_data_set

TRAIN = {"Abyssinian_100": 1, "american_bulldog_101": 2, "yorkshire_terrier_9": 3}
TEST = {"Abyssinian_201": 1, "american_bulldog_20": 2, "yorkshire_terrier_14": 3}


def save_list(root, name, images):
    lines = "".join(f"{image} {label} 1 1\n" for image, label in images.items())
    (root / "annotations" / name).write_text(lines)


@pytest.fixture
def pets(tmp_path, write_images):
    """Three breeds as images.tar.gz and annotations.tar.gz unpack, stray files included."""
    root = tmp_path / "oxford-iiit-pet"
    write_images(root / "images", [f"{image}.jpg" for image in (*TRAIN, *TEST)])
    (root / "images" / "Abyssinian_100.mat").write_bytes(b"")
    write_images(root / "annotations" / "trimaps", [f"{image}.png" for image in (*TRAIN, *TEST)])
    save_list(root, "trainval.txt", TRAIN)
    save_list(root, "test.txt", TEST)
    (root / "annotations" / "list.txt").write_text(
        "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\nAbyssinian_100 1 1 1\n"
    )
    return root


def test_breeds_are_named_by_their_images(pets):
    images = open_data_set(pets)
    assert images.layout == "pets"
    assert images.class_names == ("Abyssinian", "american_bulldog", "yorkshire_terrier")
    assert [s.label for s in images.samples] == [0, 1, 2, 0, 1, 2]
    assert [s.split for s in images.samples] == ["train"] * 3 + ["test"] * 3
    assert all(s.path.is_file() for s in images.samples)


def test_a_missing_list_is_refused(pets, refused):
    (pets / "annotations" / "test.txt").unlink()
    refused(pets, "Oxford-IIIT Pets", "annotations/test.txt is missing")


def test_labels_that_are_off_by_one_in_one_file_are_refused(pets, refused):
    save_list(pets, "test.txt", {image: label + 1 for image, label in TEST.items()})
    refused(pets, "image Abyssinian_201 has class 2, but 'american_bulldog' is class 2 elsewhere")


def test_a_class_that_is_no_number_from_one_is_refused(pets, refused):
    save_list(pets, "trainval.txt", {image: label - 1 for image, label in TRAIN.items()})
    refused(pets, "image Abyssinian_100 has class '0', expected a number from 1")


def test_a_short_line_is_refused(pets, refused):
    (pets / "annotations" / "trainval.txt").write_text("Abyssinian_100 1\n")
    refused(pets, "trainval.txt:1: expected 4 fields, got 'Abyssinian_100 1'")


@pytest.mark.parametrize("text", ["9" * 5000, "\u0661", "1_0", "1.0"])
def test_class_numbers_are_plain_and_not_too_long(pets, refused, text):
    (pets / "annotations" / "trainval.txt").write_text(f"Abyssinian_100 {text} 1 1\n")
    refused(pets, "image Abyssinian_100 has class '", "expected a number from 1")
