import os
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as v2f

from macnn.data.transforms import geometry
from macnn.errors import DataError
from macnn.inference.pictures import Pictures, find_pictures
from macnn.inference.results import Unreadable

CROP = geometry(16, "crop")


def test_folders_are_searched_by_name_and_files_taken_as_they_are(tmp_path):
    for name in ("b/2.JPG", "b/1.png", "a.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    given = [tmp_path / "notes.txt", tmp_path, tmp_path / "missing.jpg"]
    found = [str(file.relative_to(tmp_path)) for file in find_pictures(given)]
    assert found == ["notes.txt", "a.webp", "b/1.png", "b/2.JPG", "missing.jpg"]


def test_a_folder_without_a_picture_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        find_pictures([tmp_path])


@pytest.fixture
def deep(tmp_path):
    """A folder below more folders than Python calls may nest."""
    deep = tmp_path
    for _ in range(1200):
        deep = deep / "d"
        deep.mkdir()
    yield deep
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # Python's own way recurses


def test_folders_are_searched_however_deep_and_links_to_folders_not_followed(tmp_path, deep):
    (deep / "a.png").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_pictures([tmp_path]) == [deep / "a.png"]


def test_a_path_that_no_system_can_hold_is_left_to_be_skipped():
    paths = [Path("a\0.png"), Path("a" * 5000)]
    assert find_pictures(paths) == paths


def test_what_is_no_picture_is_skipped_with_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2 * 2**40)
    sources = [*tmp_path.iterdir(), tmp_path, "a\0.png", "a" * 5000]
    pictures = Pictures(sources, CROP)
    for index, source in enumerate(sources):
        found = pictures[index]
        assert isinstance(found, Unreadable)
        assert found.source == str(source)
        assert found.problem.isprintable()


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("L", (1, 60)),
        torch.zeros(3, 1, 60, dtype=torch.uint8),
        torch.zeros(3, 0, 5, dtype=torch.uint8),
        torch.zeros(3, 4, 4),
        torch.zeros(1, 4, 4, dtype=torch.uint8),
        torch.zeros(3, 4, 4, dtype=torch.uint8, device="meta"),
        torch.zeros(3, 4, 4, dtype=torch.uint8).to_sparse(),
        torch.zeros(3, 1, 1, dtype=torch.uint8).expand(3, 200_000, 200_000),
        Image.new("F", (4, 4)),
    ],
    ids=lambda picture: f"{type(picture).__name__}",
)
def test_pictures_from_memory_have_the_same_limits(picture):
    found = Pictures([picture], CROP)[0]
    assert isinstance(found, Unreadable)
    assert found.source == "picture 0"


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_an_opened_picture_is_turned_as_its_exif_says(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / f"a.{suffix}"
    Image.effect_noise((20, 16), 90).convert("RGB").save(file, exif=exif)
    with Image.open(file) as one, Image.open(file) as two:
        expected = v2f.center_crop(v2f.pil_to_tensor(ImageOps.exif_transpose(one)), [16, 16])
        assert torch.equal(Pictures([two], CROP)[0].image, expected)


def test_an_opened_picture_that_breaks_off_is_one_line(tmp_path):
    file = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(file)
    file.write_bytes(file.read_bytes()[:-200])
    with Image.open(file) as picture:
        assert "a picture does not decode (" in Pictures([picture], CROP)[0].problem
