"""The figures of an evaluation, as report/eval-SPLIT.json keeps them, read back and checked."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from macnn.data.samples import Split
from macnn.errors import DataError, UsageError
from macnn.evaluation.attention_metrics import AttentionFigures
from macnn.evaluation.localisation import Localisation
from macnn.evaluation.metrics import Classification
from macnn.evaluation.published import Published
from macnn.evaluation.specialisation import Specialisation
from macnn.ranges import Count, Share
from macnn.reading import misfit, read_bytes, why
from macnn.runs.checkpoint import Kind
from macnn.text import shown

FIGURES_BYTES = 64 * 2**20
VALUES = 4_000_000  # a confusion matrix of 2,000 classes; one may take 160 bytes of memory
AGAIN = "evaluate again"


class Figures(BaseModel):
    """The figures of one split, and of which checkpoint they are. What does not apply is None.

    `published` and `specialisation` are None unless asked for; `skip_bad_images` is the share of
    its images that could be left out. All three are None in older files.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    step: Count
    split: Split
    images: Annotated[Count, Field(ge=1)]
    classification: Classification | None
    localisation: Localisation | None
    attention_metrics: AttentionFigures | None
    published: Published | None = None
    specialisation: Specialisation | None = None
    skip_bad_images: Share | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("classification", "localisation", "published", "specialisation"):
            part = getattr(self, name)
            if part is not None and part.images != self.images:
                raise ValueError(f"{name}: of {part.images} images, not of {self.images}")
        return self


def figures_of(run: Path, split: Split) -> Path:
    """The file of the figures of a run."""
    return run / "report" / f"eval-{split}.json"


def read_figures(run: Path, split: Split) -> Figures:
    """The figures of the last evaluation of a run on `split`.

    Raises:
        UsageError: the folder is missing, or was not evaluated.
        DataError: they are damaged.
    """
    if not run.is_dir():
        raise UsageError(f"{shown(run)}: no such folder", hint="name a run folder")
    file = figures_of(run, split)
    if not file.exists():
        raise UsageError(
            f"{shown(run)}: not evaluated on the {split} images",
            hint=f"evaluate it first, with `split={split}`",
        )
    content = read_bytes(file, DataError, limit=FIGURES_BYTES, hint=AGAIN)
    if content.count(b",") > VALUES:
        raise DataError(f"{shown(file)}: more than {VALUES:,} values", hint=AGAIN)
    try:
        # Not with validate_json: its errors hold copies of the whole document.
        figures = Figures.model_validate(from_json(content))
    except ValueError as error:
        reason = misfit(error) if isinstance(error, ValidationError) else why(error)
        raise DataError(f"{shown(file)}: damaged ({reason})", hint=AGAIN) from None
    if figures.split != split:
        raise DataError(f"{shown(file)}: of the {figures.split} images", hint=AGAIN)
    return figures
