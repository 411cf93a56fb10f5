"""Writing a picture whole: a reader sees the old one or the new one, never half."""

import io
import os
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image


def save(picture: Image.Image | Figure, file: Path) -> None:
    """Write a picture as PNG, replacing any file of that name; its folder is made if missing."""
    encoded = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(encoded, format="png")
    else:
        picture.save(encoded, format="PNG")
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_bytes(encoded.getvalue())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
