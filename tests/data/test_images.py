import os
import struct
import subprocess
import sys
import zlib

import numpy as np
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


def test_sixteen_bits_keep_their_upper_byte(tmp_path):
    values = np.array([[0, 255, 256, 30_000, 65_535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0].tolist() == [[0, 0, 1, 117, 255]]


def test_floating_point_pixels_are_refused(tmp_path):
    Image.new("F", (4, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="floating-point pixels; save it with 8 or 16 bits"):
        read_image(tmp_path / "a.tiff")


def test_cmyk_and_palettes_keep_their_colours(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    red.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    red.quantize(4).save(tmp_path / "a.png", transparency=bytes([255, 9]))
    for name in ("a.jpg", "a.png"):
        colour = read_image(tmp_path / name)[:, 4, 4].tolist()
        assert colour == pytest.approx([255, 0, 0], abs=3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    first, second = (Image.new("RGB", (9, 6), colour) for colour in ("white", "black"))
    first.save(file, save_all=True, append_images=[second], lossless=True)
    assert read_image(file).float().mean() > 250


def test_the_content_decides_not_the_suffix(tmp_path):
    Image.new("RGB", (9, 6)).save(tmp_path / "a.jpg", format="PNG")
    assert read_image(tmp_path / "a.jpg").shape == (3, 6, 9)


def test_formats_that_run_other_programs_are_refused(tmp_path):
    Image.new("RGB", (9, 6)).save(tmp_path / "a.jpg", format="EPS")
    with pytest.raises(DataError, match=r"a\.jpg: does not decode"):
        read_image(tmp_path / "a.jpg")


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg"):
        with pytest.raises(DataError, match=f"{name}: (not a regular file|Is a directory)"):
            read_image(tmp_path / name)


def test_links_are_followed_and_broken_ones_named(tmp_path):
    Image.new("RGB", (9, 6)).save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert read_image(tmp_path / "link.png").shape == (3, 6, 9)
    with pytest.raises(DataError, match=r"broken\.png: no such file"):
        read_image(tmp_path / "broken.png")
    with pytest.raises(DataError, match=r"loop\.png: Too many levels of symbolic links"):
        read_image(tmp_path / "loop.png")


def test_odd_names_are_printed_on_one_line(tmp_path):
    name = os.fsdecode(b'two\nlines "caf\xe9".jpg')
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as refused:
        read_image(tmp_path / name)
    assert 'two\\nlines "caf\\udce9".jpg: does not decode (empty file)' in str(refused.value)


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
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "absent.jpg")


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(file)
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="40 x 30 pixels, more than 1,000"):
        read_image(file)


def write_bomb(file, side):
    """A valid PNG of side x side pixels, one bit each, that compresses a thousandfold."""
    packer = zlib.compressobj(1)
    row = bytes(1 + -(-side // 8))
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_a_bomb_is_refused_without_a_warning(tmp_path):
    write_bomb(tmp_path / "bomb.png", 12_000)  # Pillow would warn
    with pytest.raises(DataError, match="12000 x 12000 pixels, more than 100,000,000"):
        read_image(tmp_path / "bomb.png")


MEASURE = """
import resource, sys
from pathlib import Path
from macnn.data.images import read_image
from macnn.errors import DataError

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(Path(sys.argv[1]))
except DataError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, error)
"""


def test_a_bomb_costs_no_memory(tmp_path):
    file = tmp_path / "bomb.png"
    write_bomb(file, 30_000)
    assert file.stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, file], capture_output=True, text=True, check=True
    )
    megabytes, _, message = done.stdout.partition(" ")
    assert float(megabytes) < 200
    assert "bomb.png: more than 100,000,000 pixels; resize it first" in message
