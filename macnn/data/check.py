"""Checking a data set before training: every image is decoded, every annotation compared."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from macnn.data.duplicates import fingerprint, lookalikes
from macnn.data.images import Admit, decode_bytes, encoded, quiet
from macnn.data.layouts import Found, files, find
from macnn.data.layouts.layout import outside
from macnn.data.samples import SPLITS, ImageSet, Sample
from macnn.data.threads import mapped
from macnn.errors import DataError
from macnn.events import Listener, silent, track
from macnn.text import counted, shown

SMALL = 32  # pixels; below this the shorter side holds no parts
SLACK = 1.0  # pixels that a box or part may lie outside: annotators round
Kind = Literal["layout", "unreadable", "duplicate", "box", "part", "small", "stray", "link"]


@dataclass(frozen=True)
class Finding:
    """A problem; `stops` if it would end whatever reads the data set."""

    kind: Kind
    path: str
    text: str
    stops: bool = False


@dataclass(frozen=True)
class Report:
    """What a data set holds, and what is wrong with it."""

    found: Found
    images: ImageSet | None  # None where the layout itself is broken
    findings: tuple[Finding, ...]

    @property
    def stops(self) -> bool:
        """Whether any finding would end whatever reads the data set."""
        return any(finding.stops for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON-able values."""
        samples = self.images.samples if self.images else ()
        splits = Counter(sample.split for sample in samples)
        pairs = Counter((sample.label, sample.split) for sample in samples)
        names = self.images.class_names if self.images else ()
        unreadable = sum(finding.kind == "unreadable" for finding in self.findings)
        return {
            "root": str(self.found.root),
            "layout": self.found.layout.name,
            "why": self.found.why,
            "images": len(samples),
            "readable": len(samples) - unreadable,
            "unreadable": unreadable,
            "splits": {split: splits[split] for split in SPLITS},
            "classes": {
                name: {split: pairs[label, split] for split in SPLITS}
                for label, name in enumerate(names)
            },
            "parts": list(self.images.keypoint_names) if self.images else [],
            "notes": list(self.images.notes) if self.images else [],
            "findings": [asdict(finding) for finding in self.findings],
            "stops": self.stops,
        }


@dataclass(frozen=True)
class Facts:
    """The result of decoding one image: its size and fingerprint, or why it failed."""

    size: tuple[int, int] = (0, 0)  # width, height
    digest: bytes = b""
    likeness: Tensor | None = None
    reason: str | None = None


def check(
    root: Path, dataset: str = "auto", listen: Listener = silent, *, allow_links: bool = False
) -> Report:
    """Check a data set: annotations, every image, duplicates, links, stray files.

    Args:
        root: a folder, or a CSV manifest.
        dataset: the name of a layout, or "auto" to recognise it.
        listen: called with progress events.
        allow_links: whether links may lead to images outside the folder, without a stop.

    Raises:
        DataError: there is no data set. One that is broken is reported, not raised.
        UsageError: two layouts fit.
    """
    found = find(root, dataset)
    try:
        images = found.load(allow_links=True)  # each of them is a finding
    except DataError as error:
        return Report(found, None, (Finding("layout", str(found.root), str(error), stops=True),))
    samples = images.samples
    with quiet():
        looks = mapped(_look, samples)
        facts = list(track(looks, "Checking images", len(samples), listen))
    pairs = list(zip(samples, facts, strict=True))
    findings = [
        *(finding for sample, fact in pairs for finding in _wrong(sample, fact, images)),
        *_duplicates(pairs, images),
        *_links(images, stops=not (allow_links or found.names_any)),
        *_strays(images),
    ]
    return Report(found, images, tuple(findings))


def _look(sample: Sample, admit: Admit) -> Facts:
    try:
        content = encoded(sample.path)
        pixels = decode_bytes(content, sample.path, admit)
    except DataError as error:
        return Facts(reason=str(error))
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return Facts((pixels.shape[2], pixels.shape[1]), digest, fingerprint(pixels))


def _wrong(sample: Sample, facts: Facts, images: ImageSet) -> Iterator[Finding]:
    """What is wrong with one image and its annotations."""
    path = str(sample.path)
    if facts.reason:
        yield Finding("unreadable", path, facts.reason, stops=True)
        return
    width, height = facts.size
    if min(facts.size) < SMALL:
        yield Finding("small", path, f"{width} x {height} pixels")
    if box := sample.box:
        right, bottom = box.x + box.width, box.y + box.height
        inside = _inside(box.x, box.y, facts.size) and _inside(right, bottom, facts.size)
        if not inside or min(box.width, box.height) <= 0:
            yield Finding(
                "box",
                path,
                f"box from ({box.x:g}, {box.y:g}) to ({right:g}, {bottom:g}), "
                f"image {width} x {height}",
            )
    for name, point in zip(images.keypoint_names, sample.keypoints, strict=True):
        if point and not _inside(*point, facts.size):
            yield Finding(
                "part",
                path,
                f"{name} at ({point[0]:g}, {point[1]:g}), image {width} x {height}",
            )


def _inside(x: float, y: float, size: tuple[int, int]) -> bool:
    return -SLACK <= x <= size[0] + SLACK and -SLACK <= y <= size[1] + SLACK


def _duplicates(pairs: Iterable[tuple[Sample, Facts]], images: ImageSet) -> Iterator[Finding]:
    """Images with the bytes of an earlier one, or that look like one of an earlier split."""
    seen: list[tuple[Sample, Tensor]] = []
    firsts: dict[bytes, Sample] = {}
    readable = [pair for pair in pairs if not pair[1].reason]
    for split in SPLITS:
        rest = []
        for sample, facts in readable:
            if sample.split != split:
                continue
            first = firsts.setdefault(facts.digest, sample)
            if first is not sample:
                yield _twin(sample, first, "same bytes as", images)
            elif facts.likeness is not None:
                rest.append((sample, facts.likeness))
        for here, there in lookalikes([p for _, p in rest], [p for _, p in seen]):
            yield _twin(rest[here][0], seen[there][0], "looks like", images)
        seen += rest


def _twin(sample: Sample, twin: Sample, how: str, images: ImageSet) -> Finding:
    text = f"{how} {shown(twin.path)}"
    if sample.split != twin.split:  # else a split may yet be drawn between them
        text = f"in {sample.split}, {text} in {twin.split}"
    if sample.label != twin.label:
        text += f", of class '{images.class_names[twin.label]}'"
    return Finding("duplicate", str(sample.path), text)


def _links(images: ImageSet, *, stops: bool) -> Iterator[Finding]:
    """Images that are links out of the folder: a copy of it would lack them."""
    for sample, place in outside(images):
        text = f"lies outside the data set, at {shown(place)}"
        if stops:
            text = f"{shown(sample.path)}: {text}; put it there, or use `data.allow_links=true`"
        yield Finding("link", str(sample.path), text, stops)


def _strays(images: ImageSet) -> Iterator[Finding]:
    """Files beside the images, or above class folders, that belong to no sample."""
    listed: dict[Path, set[str]] = {}
    for sample in images.samples:
        listed.setdefault(sample.path.parent, set()).add(sample.path.name)
    if images.layout == "folders":  # elsewhere annotations lie above the images
        for above in {images.root, *(folder.parent for folder in listed)}:
            inside = {name for name in _names(above) if os.path.isdir(above / name)}  # noqa: PTH112
            listed[above] = inside.union(files.images(above))  # these are in the notes
    for folder, names in sorted(listed.items()):
        strays = sorted(_names(folder) - names)
        if strays:
            first = ", ".join(shown(name) for name in strays[:3])
            more = ", ..." if len(strays) > 3 else ""
            count = counted(len(strays), "file")
            yield Finding("stray", str(folder), f"{count} of no sample: {first}{more}")


def _names(folder: Path) -> set[str]:
    """Names in a folder; none if it cannot be read, which is reported for its images."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208
    except (OSError, ValueError):
        return set()
