"""Pictures with the boxes of their parts drawn in, and what was made of them below."""

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from macnn.data.images import read_image
from macnn.errors import DiskError, UsageError
from macnn.files import write_bytes
from macnn.inference.results import Prediction
from macnn.plotting import font_file
from macnn.reading import why
from macnn.report.style import INK, part_colour, readable
from macnn.text import shown

LONGEST = 1024  # pixels; larger pictures are reduced
_TEXT, _LINE, _MARGIN = 18, 26, 8  # sizes in pixels
_NAME = 80  # bytes kept of a file's name
_CAPTIONS, _CAPTION = 100, 120  # lines below a picture, and characters of one


class OverlayFolder:
    """A folder that fills with one picture per prediction, numbered, as JPEG."""

    def __init__(self, folder: Path) -> None:
        """Make the folder.

        Raises:
            UsageError: it holds something already.
            DiskError: it cannot be made.
        """
        self.folder = folder
        self.count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            used = any(folder.iterdir())
        except OSError as error:
            raise DiskError(f"{shown(folder)}: cannot be made ({why(error)})") from None
        if used:
            raise UsageError(
                f"{shown(folder)}: exists and is not an empty folder", hint="name another"
            )

    def add(self, prediction: Prediction) -> None:
        """Draw and save one prediction of a file.

        Raises:
            DiskError: it cannot be written.
        """
        assert prediction.source is not None, "a picture from memory has no file to draw from"
        source = Path(prediction.source)
        self.count += 1
        encoded = io.BytesIO()
        draw_parts(source, prediction).save(encoded, format="JPEG", quality=90)
        stem = source.stem.encode("utf-8", "ignore")[:_NAME].decode("utf-8", "ignore")
        file = self.folder / f"{self.count:05}-{stem}.jpg"
        try:
            write_bytes(file, encoded.getvalue())
        except OSError as error:
            raise DiskError(f"{shown(file)}: cannot be written ({why(error)})") from None


def draw_parts(file: Path, prediction: Prediction) -> Image.Image:
    """A picture with a box around every part, in the part's colour, and the classes below."""
    stored = Image.fromarray(read_image(file).movedim(0, -1).contiguous().numpy())
    scale = min(1.0, LONGEST / max(stored.size))
    size = (max(1, round(stored.width * scale)), max(1, round(stored.height * scale)))
    captions = [
        f"{shown(readable(s.name), _CAPTION)}  {100 * s.probability:.1f} %"
        for s in prediction.classes[:_CAPTIONS]
    ]
    page = Image.new("RGB", (size[0], size[1] + _LINE * len(captions) + _MARGIN), "white")
    page.paste(stored.resize(size, Image.Resampling.LANCZOS))
    draw, font = ImageDraw.Draw(page), ImageFont.truetype(font_file(), size=_TEXT)
    for part, box in enumerate(prediction.parts):
        corners = (box.x, box.y, box.x + box.width, box.y + box.height)
        left, top, right, bottom = (round(side * scale) for side in corners)
        colour, number = part_colour(part), str(part + 1)
        draw.rectangle((left, top, right, bottom), outline="white", width=4)
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=2)
        # Each in a corner of its own, so that parts in one place can be told apart.
        width, height = draw.textlength(number, font) + 8, _TEXT + 4
        x = (left, right - width)[part % 2]
        y = (top, bottom - height)[part // 2 % 2]
        draw.rectangle((x, y, x + width, y + height), fill=colour)
        draw.text((x + 4, y), number, fill=INK, font=font)
    for line, caption in enumerate(captions):
        draw.text((_MARGIN, size[1] + _MARGIN // 2 + line * _LINE), caption, fill=INK, font=font)
    return page
