"""Odd pictures: with a damaged header, or true to it and extreme."""

import io
import struct
import zlib

from PIL import Image
from wrong.files import flipped


def picture(draw):
    """A picture file, its header wrong, or true and extreme; its suffix and content."""
    if draw.random() < 0.3:
        name, make = draw.choice(sorted(EXTREME.items()))
        return name.partition(" ")[0], make(), name
    form = draw.choice(("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"))
    stream = io.BytesIO()
    Image.new("RGB", (24, 20), "red").save(stream, form)
    content = flipped(draw, stream.getvalue(), draw.choice((32, 64, 400)))
    if form == "PNG" and draw.random() < 0.7:  # or its checksums would stop every change
        content = _with_checksums(content)
    if draw.random() < 0.2:
        content = content[: draw.randrange(len(content))]
    return form.lower(), content, f"{form} header"


def _png(width, height, *, mode="1", **more):
    stream = io.BytesIO()
    Image.new(mode, (width, height)).save(stream, "PNG", **more)
    return stream.getvalue()


def _chunk(kind, content):
    whole = kind + content
    return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))


def _claimed(width, height, depth=1, colour=0, data=b""):
    """A PNG that says how large it is, and holds next to nothing."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(data)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _talkative(length):
    """A PNG with a comment of this length, packed."""
    whole, comment = _png(8, 8), b"a\0\0" + zlib.compress(bytes(length))
    return whole[:33] + _chunk(b"zTXt", comment) + whole[33:]


def _bmp(width, height):
    sizes = (54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, *sizes) + bytes(99)


def _with_checksums(content):
    """The chunks of a PNG with checksums that are right, as far as they can be followed."""
    fixed, at = content[:8], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if at + 12 + length > len(content):
            break
        fixed += _chunk(content[at + 4 : at + 8], content[at + 8 : at + 8 + length])
        at += 12 + length
    return fixed + content[at:]


def _animation(form, frames):
    stream = io.BytesIO()
    pictures = [Image.new("L", (16, 16), i % 256) for i in range(frames)]
    pictures[0].save(stream, form, save_all=True, append_images=pictures[1:])
    return stream.getvalue()


def _webp(width, height):
    """34 bytes that claim to be a WebP of this size."""
    bits = ((width - 1) | (height - 1) << 14).to_bytes(4, "little")
    chunk = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + bits + b"\0" * 5
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def _tiff(**tags):
    stream = io.BytesIO()
    Image.new("I;16", (24, 20)).save(stream, "TIFF", **tags)
    return stream.getvalue()


EXTREME = {
    "png one wide, 900,000 high": lambda: _png(1, 900_000),
    "png 900,000 wide, one high": lambda: _png(900_000, 1),
    "png two wide, 400,000 high": lambda: _png(2, 400_000, mode="RGB"),
    "png of 100 megapixels": lambda: _png(10_000, 10_000),
    "png of 16 bits": lambda: _png(3000, 3000, mode="I;16"),
    "png that claims 2**31": lambda: _claimed(2**31 - 1, 2**31 - 1),
    "png that claims 9,000 x 9,000": lambda: _claimed(9000, 9000, 16, 6),
    "png of no size": lambda: _claimed(0, 0),
    "png with much text": lambda: _talkative(2**27),
    "webp of 16,383 x 16,383": lambda: _webp(16_383, 16_383),
    "webp of 1 x 16,383": lambda: _webp(1, 16_383),
    "gif of 2,000 frames": lambda: _animation("GIF", 2000),
    "tiff of 300 frames": lambda: _animation("TIFF", 300),
    "tiff of 16 bits": _tiff,
    "ppm that claims much": lambda: b"P6 99999999 99999999 255\n" + bytes(99),
    "ppm that claims 9,000 x 9,000": lambda: b"P6 9000 9000 255\n" + bytes(99),
    "ppm of floats": lambda: b"PF 8 8 -1.0\n" + struct.pack("<f", float("nan")) * 192,
    "bmp that claims 30,000 x 30,000": lambda: _bmp(30_000, 30_000),
    "jpeg of nothing": lambda: b"\xff\xd8\xff\xe0" + bytes(30),
    "txt as a picture": lambda: b"hello\n" * 10,
}
