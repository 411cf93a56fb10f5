"""Writing a picture whole: a reader sees the old one or the new one, never half."""

import io
from pathlib import Path

from PIL import Image

from macnn.files import write_bytes
from macnn.plotting import Figure, default_style


def save(picture: Image.Image | Figure, file: Path, *, owner: str = "") -> None:
    """Write a picture as PNG, replacing any file of that name; its folder is made if missing.

    `owner` is the identifier of the run it belongs to.
    """
    encoded = io.BytesIO()
    if isinstance(picture, Figure):
        with default_style():
            picture.savefig(encoded, format="png")
    else:
        picture.save(encoded, format="PNG")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, encoded.getvalue(), owner=owner)
