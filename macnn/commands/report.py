"""What stands behind `report`: an evaluated run in, one page that opens offline out."""

from pathlib import Path

from macnn.config import Settings
from macnn.data.samples import Split
from macnn.errors import DiskError
from macnn.files import write_text
from macnn.reading import why
from macnn.report.contents import read_contents
from macnn.report.page import Baseline, check_images, page_of, render
from macnn.runs.setup import open_images
from macnn.text import shown


def run(folder: Path, settings: Settings, *, split: Split, baseline: Baseline | None) -> Path:
    """Write the page of a run that was evaluated on `split`; returns its file.

    Args:
        folder: the run folder.
        settings: those of the run; its images are read again for the pictures.
        split: which evaluation to show.
        baseline: what to compare with, if anything.

    Raises:
        UsageError: the run was not evaluated on the split.
        DataError: a file of the run is damaged, or the images are not those of the evaluation.
        DiskError: the page cannot be written.
    """
    contents = read_contents(folder, settings, split)
    allowed = contents.figures.skip_bad_images
    data = (
        settings.data
        if allowed is None
        else settings.data.model_copy(update={"skip_bad_images": allowed})
    )
    images = open_images(settings.model_copy(update={"data": data})).split(split)
    check_images(images, contents)
    file = page_of(folder, split)
    text = render(contents, images, settings, baseline)
    try:
        write_text(file, text)
    except OSError as error:
        raise DiskError(f"{shown(file)}: cannot be written ({why(error)})") from None
    return file
