import pytest
import torch
from PIL import Image

from macnn.data import images
from macnn.data.images import read_image
from macnn.errors import DataError


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "I;16", "1"])
def test_any_mode_becomes_three_channels(tmp_path, mode):
    file = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.new(mode, (7, 5)).save(file)
    decoded = read_image(file)
    assert decoded.shape == (3, 5, 7)
    assert decoded.dtype == torch.uint8


def test_an_exif_rotation_is_undone(tmp_path):
    file = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    Image.new("RGB", (7, 5)).save(file, exif=exif)
    assert read_image(file).shape == (3, 7, 5)


def test_unreadable_files_are_named(tmp_path):
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    broken = {
        "empty.jpg": b"",
        "text.jpg": b"not an image",
        "truncated.png": whole.read_bytes()[:-200],
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: does not decode"):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match="no such image"):
        read_image(tmp_path / "absent.jpg")


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(file)
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="40 x 30 pixels, more than 1,000"):
        read_image(file)
