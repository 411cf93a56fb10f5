"""Options of the commands: built from the settings, so that each is described once."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from macnn.config import Resolved, Settings, resolve
from macnn.config.settings import paths

if TYPE_CHECKING:
    from macnn.runs.checkpoint import Checkpoint, Kind

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, warnings only.")]
OVERWRITE = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the run in the folder; other files stay."),
]
AUTO = "auto"  # without a checkpoint there is nothing to lose: the run begins again
RESUME = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="auto|PATH",
        help="Go on with a run: from the newest checkpoint of --output if there is one, or from a "
        "run folder or checkpoint.",
        show_default=False,
    ),
]
CONFIG = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings.", show_default=False)
]
PRESET = Annotated[
    str | None, typer.Option("--preset", help="Packaged settings by name.", show_default=False)
]
ASSIGN = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set any setting.", show_default=False),
]


@dataclass(frozen=True)
class Given:
    """Settings as the user gave them, before they are resolved."""

    flags: dict[str, Any]
    assignments: tuple[str, ...]
    config: Path | None
    preset: str | None

    def resolve(self, checkpoint: tuple[str, dict[str, Any]] | None = None) -> Resolved:
        """Resolve them, over those of a checkpoint (its name and its settings) if there is one.

        Raises:
            UsageError: an unknown key, preset or file, or a value out of range.
        """
        return resolve(
            flags=self.flags,
            assignments=self.assignments,
            file=self.config,
            checkpoint=checkpoint,
            preset=self.preset,
        )


def resumed(
    given: Given, resume: str | None, *kinds: "Kind"
) -> "tuple[Checkpoint | None, Settings]":
    """The checkpoint that --resume finds, if any, and the settings in force then.

    Raises:
        UsageError: settings the run did not begin with.
        CheckpointError: a checkpoint that is damaged or of none of these kinds.
    """
    settings = given.resolve().settings
    if resume is None:
        return None, settings
    from macnn.runs.resume import check_output_is, check_unchanged, find_resume

    found = find_resume(resume, settings.run.output, *kinds)
    if found is not None:
        check_output_is(found.run, settings.run.output)
        settings = given.resolve(found.all_settings()).settings
        check_unchanged(found, settings)
    return found, settings


def takes_settings(*sections: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per setting of `sections`, and --config, --preset and --set.

    A section may be narrowed to one setting, as in "run.seed". The command receives them as the
    keyword argument `given`.
    """
    chosen = {
        path: field
        for path, field in paths().items()
        if path in sections or path.split(".")[0] in sections
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command)

        @wraps(command)
        def wrapper(**arguments: Any) -> None:
            flags = {path: arguments.pop(_name(path)) for path in chosen}
            given = Given(
                flags,
                tuple(arguments.pop("assign") or ()),
                arguments.pop("config"),
                arguments.pop("preset"),
            )
            command(given=given, **arguments)

        options = {_name(path): _option(path, field) for path, field in chosen.items()}
        options |= {"config": CONFIG, "preset": PRESET, "assign": ASSIGN}
        parameters = [p for name, p in own.parameters.items() if name != "given"] + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in options.items()
        ]
        wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapper

    return decorate


def _name(path: str) -> str:
    return path.replace(".", "__")


def _option(path: str, field: Any) -> Any:
    default = "" if field.default in (None, "") else f" \\[default: {field.default}]"
    option = typer.Option(
        field.json_schema_extra["flag"],
        help=field.description + default,
        rich_help_panel=f"Settings: {path.split('.')[0]}",
        show_default=False,
    )
    return Annotated[field.annotation | None, option]
