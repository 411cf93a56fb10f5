"""Opening images without trusting their metadata.

A few bytes of metadata can claim gigabytes: canvases, tags whose values overlap, a million chunks
that Pillow joins one by one. They are checked here before Pillow reads on.
"""

import io
import re
import struct
from typing import Any

from PIL import Image, TiffImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

_HEADER_READS, _HEADER_BYTES = 10_000, 2**24  # until the size is known
_READS = 1_000_000  # after that
_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_TILE_PIXELS = 2**24  # of a tile that is larger than its image


def webp_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP file, or None of any other: Pillow makes its canvases first.

    Raises:
        ValueError: a WebP file whose size cannot be told.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    kind, body = content[12:16], content[20:30]
    if len(body) == 10:
        if kind == b"VP8X":
            return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:], "little")
        if kind == b"VP8L" and body[0] == 0x2F:
            bits = int.from_bytes(body[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", body[6:])
            return width & 0x3FFF, height & 0x3FFF
    raise ValueError("a WebP file without a size")


def opened(content: bytes, formats: tuple[str, ...]) -> Image.Image:
    """A Pillow image of JPEG or of one of these formats; its pixels are not decoded yet.

    Raises:
        ValueError: it has more metadata, or larger tiles, than pictures have.
        Exception: whatever decoders raise of hostile bytes.
    """
    file = _Metered(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _ready(_Jpeg(file), file)
    if content.startswith(b"RIFF"):  # is read whole
        file.bytes += file.size
    return _ready(Image.open(file, formats=formats), file)


def load(image: Image.Image) -> None:
    """Decode the pixels of an image that was `opened`; those of TIFF are turned upright."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation(image)
    image.getexif = lambda: exif  # type: ignore[method-assign]  # as in _Jpeg; TIFF asks for it
    image.load()


def orientation(image: Image.Image) -> int:
    """The EXIF tag Orientation, 1 without one. Of all the tags this one alone is read."""
    found = _tagged(image)
    if found is None:
        found = _in_xmp(image)
    return 1 if found is None else found


class _Metered(io.BytesIO):
    """A file in memory of which only so much can be read: `reads` calls and `bytes` are left."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.size = len(content)
        self.reads, self.bytes = _HEADER_READS, _HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.reads -= 1
        self.bytes -= len(found)
        if self.reads < 0:
            raise ValueError("in too many pieces")
        if self.bytes < 0:
            raise ValueError("too much metadata")
        return found


class _Jpeg(JpegImageFile):
    """A JPEG of which no EXIF is read: its values may overlap, and take any memory and time.

    Made without `Image.open`, which looks for further images in it.
    """

    def getexif(self) -> Image.Exif:
        return Image.Exif()


def _ready(image: Image.Image, file: _Metered) -> Image.Image:
    """Check the tiles of a TIFF, each of which is made whole, and let the pixels be read."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        wide, tall = (image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
        if wide * tall > max(_TILE_PIXELS, image.width * image.height):
            raise ValueError(f"tiles of {wide} x {tall} pixels")
    file.reads, file.bytes = _READS, 2 * file.size + _HEADER_BYTES
    return image


def _tagged(image: Image.Image) -> int | None:
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None:
        found = tags.get(_ORIENTATION)
        return found if isinstance(found, int) else None
    exif = image.info.get("exif")
    if exif is None and (text := image.info.get("Raw profile type exif")):
        exif = bytes.fromhex("".join(text.split("\n")[3:]))
    return _in_exif(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else None


def _in_exif(exif: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(f"{order}HHI", exif, place)
            if tag == _ORIENTATION and kind in (_SHORT, _LONG):
                size = "H" if kind == _SHORT else "I"
                return int(struct.unpack_from(order + size, exif, place + 8)[0])
    except struct.error:  # cut off
        pass
    return None


def _in_xmp(image: Image.Image) -> int | None:
    xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
    if isinstance(xmp, str):
        xmp = xmp.encode()
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp)
    return int(found[1]) if found else None
