import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as v2f

from macnn.data import images, metadata
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
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "folder.jpg", "zero.jpg"):
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
    with pytest.raises(DataError, match=r"a\\x00\.png: embedded null byte"):
        read_image(tmp_path / "a\0.png")
    with pytest.raises(DataError, match=r"loop\.png: Too many levels of symbolic links"):
        read_image(tmp_path / "loop.png")


def test_odd_names_are_printed_on_one_line(tmp_path):
    name = os.fsdecode(b'two\nlines "caf\xe9".jpg')
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as refused:
        read_image(tmp_path / name)
    assert 'two\\nlines "caf\\udce9".jpg: does not decode (empty file)' in str(refused.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"a.{suffix}"
    Image.effect_noise((7, 5), 90).convert("RGB").save(file, exif=exif)
    with Image.open(file) as stored:
        expected = v2f.pil_to_tensor(ImageOps.exif_transpose(stored))
    assert torch.equal(read_image(file), expected)


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 6),
        (b"II*\0\x08\0\0\0\xff\xff\x12\x01\x02\0", 1),  # it ends in the middle of a tag
        (b"II*\0\xff\xff\xff\xff", 1),
        (b"", 1),
    ],
)
def test_the_orientation_is_found_in_whole_and_broken_exif(exif, orientation):
    image = Image.new("RGB", (7, 5))
    image.info["exif"] = b"Exif\0\0" + exif
    assert metadata.orientation(image) == orientation


def test_an_orientation_in_xmp_is_undone(tmp_path):
    file = tmp_path / "a.webp"
    Image.new("RGB", (7, 5)).save(file, xmp=b'<x tiff:Orientation="6"/>')
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


def png(*chunks):
    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in (*chunks, (b"IEND", b"")))


def png_header(width, height):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)


def write_bomb(file, side):
    """A valid PNG of side x side pixels, one bit each, that compresses a thousandfold."""
    packer = zlib.compressobj(1)
    row = bytes(1 + -(-side // 8))
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    file.write_bytes(png(png_header(side, side), (b"IDAT", rows)))


def test_a_bomb_is_refused_without_a_warning(tmp_path):
    write_bomb(tmp_path / "bomb.png", 12_000)  # Pillow would warn
    with pytest.raises(DataError, match="12000 x 12000 pixels, more than 100,000,000"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (1, 900_000, "more than 12,000 along a side; resize it first"),
        (100, 5_001, "longer than 50 : 1; crop it first"),
        (5_001, 100, "longer than 50 : 1"),
    ],
)
def test_a_picture_is_refused_that_resizing_would_blow_up(tmp_path, width, height, words):
    (tmp_path / "long.png").write_bytes(png(png_header(width, height)))
    with pytest.raises(DataError, match=rf"long\.png: {width} x {height} pixels, {words}"):
        read_image(tmp_path / "long.png")


@pytest.mark.parametrize(
    "chunk",
    [
        b"VP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0",
        b"VP8L\x10\0\0\0\x2f\xfe\xbf\xff\x0f" + bytes(11),
        b"VP8 \x10\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(6),
    ],
)
def test_a_webp_is_refused_before_its_canvas_is_made(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    content = b"WEBP" + chunk
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)
    with pytest.raises(DataError, match="16383 x 16383 pixels, more than 50,000,000"):
        read_image(tmp_path / "a.webp")


def jpeg(**options):
    encoded = io.BytesIO()
    Image.effect_noise((16, 16), 50).save(encoded, "JPEG", **options)
    return encoded.getvalue()


def overlapping_exif():
    """EXIF of 64 kB with 5,000 tags, of which each says that all of it is its value."""
    tags = b"".join(struct.pack("<HHII", 2000 + k, 7, 65_000, 0) for k in range(5_000))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 5_000) + tags
    return exif + bytes(65_000 - len(exif))


def after_start(segment):
    """A JPEG with a segment right after its first marker."""
    return jpeg()[:2] + segment + jpeg()[2:]


def app(number, content):
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(content) + 2) + content


def tiff(*entries):
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + rows + bytes(4)


GREY = ((256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (after_start(app(5, b"") * 10_000), "in too many pieces"),
        (after_start(app(1, b"Exif\0\0" + bytes(65_000)) * 400), "too much metadata"),
        (jpeg(progressive=True).replace(b"\xff\xd9", b"\xff\xda" * 100), "more than 100 scans"),
        (png(png_header(8, 8), *[(b"prVt", b"")] * 5_000), "in too many pieces"),
        (tiff(*GREY, (322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 8), (325, 4, 1, 8)),
         "tiles of 60000 x 60000 pixels"),
        (b"P6 #" + b"a" * 10_000, "in too many pieces"),
        (b"P6 " + b"9" * 5_000, "Token too long"),
        (b"RIFF\0\0\0\0WEBPVP8X", "a WebP file without a size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_metadata_without_end_is_refused(tmp_path, content, reason):
    (tmp_path / "a.img").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.img: does not decode \(.*{reason}"):
        read_image(tmp_path / "a.img")


def test_memory_that_runs_out_is_one_line(tmp_path, monkeypatch):
    def empty(*_, **__):
        raise MemoryError

    (tmp_path / "a.jpg").write_bytes(jpeg())
    monkeypatch.setattr(images.np, "empty", empty)
    with pytest.raises(DataError, match=r"a\.jpg: does not fit into memory; resize it first"):
        read_image(tmp_path / "a.jpg")


def test_a_large_picture_is_converted_strip_by_strip(tmp_path, monkeypatch):
    Image.effect_noise((64, 50), 90).convert("RGBA").save(tmp_path / "a.png")
    whole = read_image(tmp_path / "a.png")
    monkeypatch.setattr(images, "_STRIP", 64 * 7)
    assert torch.equal(read_image(tmp_path / "a.png"), whole)


MEASURE = """
import resource, sys
from pathlib import Path
from macnn.data.images import read_image
from macnn.errors import DataError

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sys.argv[1:]:
    try:
        print(read_image(Path(file)).shape)
    except DataError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_bombs_cost_no_memory(tmp_path):
    files = [
        tmp_path / name for name in ("pixels.png", "exif.jpg", "many.jpg", "exif.png", "sparse.jpg")
    ]
    write_bomb(files[0], 30_000)
    exif = overlapping_exif()
    files[1].write_bytes(after_start(app(1, b"Exif\0\0" + exif)))
    files[2].write_bytes(after_start(app(2, b"MPF\0" + exif)))
    files[3].write_bytes(
        png(png_header(8, 8), (b"eXIf", exif), (b"IDAT", zlib.compress(bytes(16))))
    )
    with files[4].open("wb") as stream:
        stream.truncate(2 * 2**40)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *files], capture_output=True, text=True, check=True
    )
    bomb, *decoded, sparse, megabytes = done.stdout.splitlines()
    assert "pixels.png: more than 100,000,000 pixels; resize it first" in bomb
    assert decoded == ["torch.Size([3, 16, 16])"] * 2 + ["torch.Size([3, 8, 8])"]
    assert "sparse.jpg: 2,199,023,255,552 bytes, more than 268,435,456" in sparse
    assert float(megabytes) < 200
