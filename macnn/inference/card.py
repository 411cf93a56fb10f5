"""The model card of an export: what is known about a model, and blanks for what is not."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from macnn.runs.checkpoint import Checkpoint


def model_card(checkpoint: Checkpoint, description: dict[str, Any]) -> str:
    """Write the card, in Markdown: data, protocol, figures with their run, use, blanks to fill.

    Figures come from the run folder: only evaluations of this very checkpoint count.
    """
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )  # Markdown, not HTML: nothing to escape
    template = files("macnn.inference").joinpath("card.md").read_text(encoding="utf-8")
    root = checkpoint.settings.data.root
    run = checkpoint.run if checkpoint.in_run else checkpoint.folder
    return environment.from_string(template).render(
        model=description,
        settings=checkpoint.settings,
        data=root.name if root else "not recorded",
        run=run.name,
        commit=_json(run / "env.json").get("commit"),
        evaluations=_evaluations(run, checkpoint.step),
    )


def _evaluations(run: Path, step: int) -> list[dict[str, Any]]:
    found = map(_json, sorted((run / "report").glob("eval-*.json")))
    return [each for each in found if each.get("step") == step]


def _json(file: Path) -> dict[str, Any]:
    """A JSON object of the run folder; empty where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
