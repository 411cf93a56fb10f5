"""Which layout a folder has."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from macnn.data.layouts.aircraft import AIRCRAFT, FAMILIES, MANUFACTURERS
from macnn.data.layouts.cars import CARS
from macnn.data.layouts.cub import CUB
from macnn.data.layouts.dogs import DOGS
from macnn.data.layouts.files import folders
from macnn.data.layouts.flowers import FLOWERS
from macnn.data.layouts.folders import FOLDERS, lacks
from macnn.data.layouts.layout import Layout, outside
from macnn.data.layouts.manifest import MANIFEST
from macnn.data.layouts.pets import PETS
from macnn.data.samples import ImageSet
from macnn.errors import DataError, UsageError
from macnn.events import Listener, Notice, silent
from macnn.reading import why
from macnn.text import counted, shown

PUBLISHED = (CUB, AIRCRAFT, CARS, FLOWERS, PETS, DOGS)
COARSER = (FAMILIES, MANUFACTURERS)  # other labels of one data set: only by name
LAYOUTS = {layout.name: layout for layout in (*PUBLISHED, *COARSER, FOLDERS, MANIFEST)}


@dataclass(frozen=True)
class Found:
    """A data set on disk: where it is, its layout, and why it is taken for that."""

    root: Path
    layout: Layout
    why: str

    @property
    def names_any(self) -> bool:
        """Whether it may name images wherever they are, as only manifests do."""
        return self.layout is MANIFEST

    def load(self, *, allow_links: bool = False) -> ImageSet:
        """Read it.

        Args:
            allow_links: whether links may lead to images outside its folder.

        Raises:
            DataError: it is incomplete, contradictory or unreadable, or leads out of its folder.
        """
        try:
            images = self.layout.load(self.root)
        except OSError as error:
            raise _unreadable(self.root, error) from None
        away = outside(images)
        if self.names_any and away:
            note = f"{counted(len(away), 'image')} outside {shown(images.root)}"
            return replace(images, notes=(*images.notes, note))
        if away and not allow_links:
            sample, place = away[0]
            raise DataError(
                f"{shown(sample.path)}: a link leads out of the data set, to {shown(place)}",
                hint="put the image itself there, or use `data.allow_links=true`",
            )
        return images


def find(root: Path, dataset: str = "auto") -> Found:
    """Find the data set at `root`, or directly below it.

    Args:
        root: a folder, or a CSV manifest.
        dataset: the name of a layout, or "auto" to recognise it.

    Raises:
        DataError: nothing is there, no layout fits, or several data sets are below.
        UsageError: two layouts fit.
    """
    named = None if dataset == "auto" else LAYOUTS[dataset]
    try:
        if not root.exists():
            raise DataError(f"{shown(root)}: no such folder", hint="name that of a data set")
        fits = _fits(root, (named,) if named else (*PUBLISHED, FOLDERS, MANIFEST))
        if not fits and root.is_dir():
            below = [root / name for name in folders(root)]
            # Class folders below a class folder are not a data set of their own.
            wanted = (named,) if named else (*PUBLISHED, MANIFEST)
            fits = [fit for folder in below for fit in _fits(folder, wanted)]
    except OSError as error:
        raise _unreadable(root, error) from None
    if len({fit.root for fit in fits}) > 1:
        names = ", ".join(dict.fromkeys(shown(fit.root.name) for fit in fits))
        raise DataError(f"{shown(root)}: holds several data sets ({names})", hint="name one")
    if len(fits) > 1:
        reasons = " and ".join(f"{fit.layout.name} ({fit.why})" for fit in fits)
        names = " or ".join(f"`data.dataset={fit.layout.name}`" for fit in fits)
        raise UsageError(f"{shown(fits[0].root)}: looks like {reasons}", hint=f"use {names}")
    if fits:
        return fits[0]
    if named:  # its loader knows best what is missing
        return Found(root, named, "it was named")
    if not root.is_dir():
        raise DataError(
            f"{shown(root)}: in no layout that is known",
            hint="name a folder of class folders, or a CSV manifest",
        )
    raise DataError(
        f"{shown(root)}: in no layout that is known, {lacks(root)}",
        hint="make one folder per class, at least two, or list the images in a CSV manifest",
    )


def open_data_set(
    root: Path, dataset: str = "auto", listen: Listener = silent, *, allow_links: bool = False
) -> ImageSet:
    """Find and read a data set; says which layout was recognised and why.

    Args:
        root: a folder, or a CSV manifest.
        dataset: the name of a layout, or "auto" to recognise it.
        listen: called with the layout and the notes.
        allow_links: whether links may lead to images outside the folder.

    Raises:
        DataError, UsageError: as `find` and the layout's loader do.
    """
    found = find(root, dataset)
    if dataset == "auto":
        layout = found.layout
        listen(
            Notice("info", f"{shown(found.root)}: {layout.title} ({layout.name}), as {found.why}")
        )
    images = found.load(allow_links=allow_links)
    for note in images.notes:
        listen(Notice("info", note))
    return images


def _fits(root: Path, layouts: Iterable[Layout]) -> list[Found]:
    fits = [Found(root, layout, why) for layout in layouts if (why := layout.recognise(root))]
    # Published data sets hold folders of images too.
    published = any(fit.layout in PUBLISHED for fit in fits)
    return [fit for fit in fits if not (published and fit.layout is FOLDERS)]


def _unreadable(root: Path, error: OSError) -> DataError:
    return DataError(f"{shown(error.filename or root)}: cannot be read ({why(error)})")
