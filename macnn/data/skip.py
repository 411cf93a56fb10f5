"""Leaving out images that cannot be read, as far as the user allows.

It happens before anything is trained or measured, so that every epoch, process and resumed run
sees the same images, and nothing is ever put in the place of another.
"""

from dataclasses import replace

from macnn.data.cache import Cache
from macnn.data.images import Admit, decode, quiet
from macnn.data.samples import BadImage, ImageSet, Sample
from macnn.data.threads import mapped
from macnn.errors import DataError
from macnn.events import Listener, Notice, track
from macnn.text import shown


def skip_bad(
    images: ImageSet, share: float, listen: Listener, cache: Cache | None = None
) -> ImageSet:
    """The data set without the images that cannot be read; each is named, and kept in `failed`.

    Args:
        images: the data set.
        share: how much of it may be bad, 0 to 1.
        listen: called with progress events, and with a notice for each image.
        cache: knows which images were bad when it was written; else all are decoded.

    Raises:
        DataError: more images are bad, or a class is left without training images.
    """
    if cache is None:
        bad = _find(images, listen)
    else:
        bad = [
            BadImage(sample, reason)
            for sample in images.samples
            if (reason := cache.reason(sample.path))
        ]
    if len(bad) > share * len(images.samples):
        raise DataError(
            f"{shown(images.root)}: {len(bad):,} of {len(images.samples):,} images cannot be read, "
            f"more than the share of {share:g} that may be skipped; the first: {bad[0].reason}"
        )
    for image in bad:
        listen(Notice("warning", f"skipped, {image.reason}"))
    paths = {image.sample.path for image in bad}
    kept = replace(
        images,
        samples=tuple(sample for sample in images.samples if sample.path not in paths),
        failed=tuple(bad),
    )
    trained = {sample.label for sample in kept.split("train").samples}
    for label, name in enumerate(images.class_names):
        if label not in trained:
            raise DataError(f"{shown(images.root)}: no training image of '{name}' can be read")
    return kept


def _find(images: ImageSet, listen: Listener) -> list[BadImage]:
    count = len(images.samples)
    with quiet():
        found = mapped(_reason, images.samples)
        reasons = list(track(found, "Looking for bad images", count, listen))
    pairs = zip(images.samples, reasons, strict=True)
    return [BadImage(sample, reason) for sample, reason in pairs if reason]


def _reason(sample: Sample, admit: Admit) -> str | None:
    try:
        decode(sample.path, admit)
    except DataError as error:
        return str(error)
    return None
