"""The model card of an export: what is known about a model, and blanks for what is not."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from macnn.data.samples import SPLITS
from macnn.evaluation.figures import Figures, figures_of, read_figures
from macnn.report.contents import read_environment
from macnn.runs.checkpoint import Checkpoint
from macnn.text import markdown


def model_card(checkpoint: Checkpoint, description: dict[str, Any]) -> str:
    """Write the card, in Markdown: data, protocol, figures with their run, use, blanks to fill.

    Figures come from the run folder: only evaluations of this very checkpoint count.

    Raises:
        DataError: a file of the run folder is damaged.
    """
    template_environment = Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=markdown,
    )
    template = files("macnn.inference").joinpath("card.md").read_text(encoding="utf-8")
    root = checkpoint.settings.data.root
    run = checkpoint.run if checkpoint.in_run else checkpoint.folder
    environment = read_environment(run)
    return template_environment.from_string(template).render(
        model=description,
        settings=checkpoint.settings,
        data=root.name if root else "not recorded",
        run=run.name,
        commit=environment and environment.commit,
        evaluations=_evaluations(run, checkpoint.step),
    )


def _evaluations(run: Path, step: int) -> list[Figures]:
    evaluated = [split for split in sorted(SPLITS) if figures_of(run, split).exists()]
    return [each for each in (read_figures(run, split) for split in evaluated) if each.step == step]
