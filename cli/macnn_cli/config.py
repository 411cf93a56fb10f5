"""`macnn config`: which settings are in force, and where each comes from."""

from pathlib import Path
from typing import Annotated, Any

import typer

from macnn.config import Settings
from macnn.config.settings import paths
from macnn_cli.console import print_json, print_line, print_paragraph, print_table
from macnn_cli.options import JSON, Given, option_of, takes_settings

app = typer.Typer(help="Show and check settings.", no_args_is_help=True)


@app.command("show")
@takes_settings(*Settings.model_fields)
def show(
    *,
    given: Given,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every setting, with unit, default, reason and description."),
    ] = False,
    json: JSON = False,
) -> None:
    """Show the settings that are not at their default, and where each comes from.

    With --all or --json shows every setting: what it is, its unit, its default and who says so.
    """
    resolved = given.resolve()
    rows = {
        f"{section}.{key}": (value, resolved.sources[f"{section}.{key}"])
        for section, content in resolved.settings.model_dump(mode="json").items()
        for key, value in content.items()
    }
    if json:
        print_json({p: {"value": v, "source": s, **_described(p)} for p, (v, s) in rows.items()})
    elif everything:
        for path, (value, source) in rows.items():
            _explain(path, value, source)
    else:
        given_rows = [
            [path, _text(value), _text(paths()[path].default), source]
            for path, (value, source) in rows.items()
            if source != "default"
        ]
        print_table("Settings", ["setting", "value", "default", "from"], given_rows)
        print_line(f"{len(rows) - len(given_rows)} more are at their default; --all shows them.")


@app.command("validate")
def validate(file: Annotated[Path, typer.Argument(help="TOML file of settings.")]) -> None:
    """Check a file of settings: unknown keys and values out of range are errors."""
    from macnn.config import resolve

    resolve(file=file, environ={})
    print_line(f"{file}: valid")


def _described(path: str) -> dict[str, Any]:
    """What is known of a setting beside its value."""
    field = paths()[path]
    extra = field.json_schema_extra
    return {
        "default": field.default,
        "unit": extra["unit"] or None,
        "reason": extra["source"],
        "option": extra["flag"],
        "description": field.description,
    }


def _explain(path: str, value: Any, source: str) -> None:
    """Print a setting: its value on one line, below it what it is."""
    known = _described(path)
    unit = f" {known['unit']}" if known["unit"] and value is not None else ""
    print_line((path, "bold"), f" = {_text(value)}{unit}", (f"  ({source})", "dim"))
    option = f" Option: {option_of(path)}." if option_of(path) else ""
    default = f" Default: {_text(known['default'])} ({known['reason']})."
    print_paragraph(known["description"] + default + option)


def _text(value: Any) -> str:
    """A value as a file of settings has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value) if value != "" else '""'
