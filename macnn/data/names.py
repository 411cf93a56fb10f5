"""File names as people have them."""

from pathlib import Path

SUFFIXES = frozenset(  # of files that are taken for images; what they hold may differ
    {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)


def shown(path: Path | str) -> str:
    """A path, or any text, on one line of printable characters.

    Newlines, control characters and bytes that are not UTF-8 appear as backslash escapes.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(path)
    )


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`, `3 classes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"
