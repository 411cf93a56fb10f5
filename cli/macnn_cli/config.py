"""`macnn config`: which settings are in force, and where each comes from."""

from pathlib import Path
from typing import Annotated

import typer

from macnn_cli.console import print_json, print_line, print_table
from macnn_cli.options import JSON, Given, takes_settings

app = typer.Typer(help="Show and check settings.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Show and check settings."""


@app.command("show")
@takes_settings("data", "model", "pretrain", "train", "run")
def show(*, given: Given, json: JSON = False) -> None:
    """Show every setting, its value and its source."""
    resolved = given.resolve()
    values = {
        f"{section}.{key}": value
        for section, content in resolved.settings.model_dump(mode="json").items()
        for key, value in content.items()
    }
    if json:
        print_json({p: {"value": v, "source": resolved.sources[p]} for p, v in values.items()})
        return
    rows = [[path, str(value), resolved.sources[path]] for path, value in values.items()]
    print_table("Settings", ["setting", "value", "source"], rows)


@app.command("validate")
def validate(file: Annotated[Path, typer.Argument(help="TOML file of settings.")]) -> None:
    """Check a file of settings: unknown keys and values out of range are errors."""
    from macnn.config import resolve

    resolve(file=file, environ={})
    print_line(f"{file}: valid")
