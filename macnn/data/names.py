"""Extensions of image files."""

SUFFIXES = frozenset(  # of files that are taken for images; what they hold may differ
    {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
