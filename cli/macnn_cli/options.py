"""Options of the commands: built from the settings, so that each is described once.

pydantic-settings could make a command line of them too, but without Typer's panels and completion.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand

from macnn.config import Resolved, Settings, resolve
from macnn.config.renamed import GONE, OPTIONS, RENAMED
from macnn.config.resolve import assignment
from macnn.config.settings import paths
from macnn.errors import UsageError
from macnn_cli.wording import SET, speak_of

if TYPE_CHECKING:
    from macnn.runs.checkpoint import Checkpoint, Kind

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, warnings only.")]
OVERWRITE = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run in the folder; other files stay.")
]
FOR_ALL = ("run.seed", "run.deterministic", "run.process_timeout")  # no option, some effect
AUTO = "auto"  # without a checkpoint there is nothing to lose: the run begins again
RESUME = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="auto|PATH",
        help="Go on from --output (auto), or from a run or checkpoint.",
    ),
]
CONFIG = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
PRESET = Annotated[str | None, typer.Option("--preset", help="Packaged settings by name.")]
ASSIGN = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Any setting; 'macnn config show --all' lists them.",
    ),
]


@dataclass(frozen=True)
class Given:
    """Settings as the user gave them, before they are resolved."""

    flags: dict[str, Any]
    assignments: tuple[str, ...]
    config: Path | None
    preset: str | None
    used: frozenset[str]  # settings that have an effect in this command

    def resolve(self, checkpoint: tuple[str, dict[str, Any]] | None = None) -> Resolved:
        """Resolve them, over those of a checkpoint (its name and its settings) if there is one.

        Raises:
            UsageError: an unknown key, preset or file, a value out of range, or a `--set` of what
                the command does not use. Files and environment are shared by all commands.
        """
        self.refuse(set(paths()) - self.used, "in this command")
        return resolve(
            flags=self.flags,
            assignments=self.assignments,
            file=self.config,
            checkpoint=checkpoint,
            preset=self.preset,
        )

    def refuse(self, settings: Iterable[str], where: str) -> None:
        """Refuse settings that were typed but have no effect.

        Raises:
            UsageError: one of them was typed.
        """
        typed = {path: option_of(path) for path, value in self.flags.items() if value is not None}
        typed |= {path: SET + path for path, _ in map(assignment, self.assignments)}
        for path in sorted(typed.keys() & set(settings)):
            raise UsageError(f"{typed[path]} has no effect {where}", hint="leave it out")


def resumed(
    given: Given,
    resume: str | None,
    *kinds: "Kind",
    overwrite: bool,
    init: Path | None = None,
) -> "tuple[Checkpoint | None, Settings]":
    """The checkpoint that --resume finds, if any, and the settings in force then.

    Raises:
        UsageError: settings the run did not begin with, or an option without effect.
        CheckpointError: a checkpoint that is damaged or of none of these kinds.
    """
    settings = given.resolve().settings
    if resume is None:
        return None, settings
    if overwrite:
        raise UsageError("--overwrite has no effect with --resume", hint="leave one of them out")
    if init and resume != AUTO:
        raise UsageError("--init has no effect with --resume PATH", hint="leave it out")
    from macnn.runs.resume import check_output_is, check_unchanged, find_resume

    found = find_resume(resume, settings.run.output, *kinds)
    if found is not None:
        check_output_is(found.run, settings.run.output)
        settings = given.resolve(found.all_settings()).settings
        check_unchanged(found, settings)
    return found, settings


def takes_settings(
    *sections: str, also: Iterable[str] = (), without: Iterable[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the settings of `sections`, and --config, --preset and --set.

    A section may be narrowed to one setting, as in "run.seed". The command receives them as the
    keyword argument `given`.

    Args:
        sections: what the command offers.
        also: what has an effect, but gets no option here.
        without: what of all these has none.
    """
    hidden = {*also, *without}
    flagged = {p: f for p, f in _chosen(sections, hidden).items() if option_of(p)}
    used = frozenset(_chosen({*sections, *also}, without))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command)

        @wraps(command)
        def wrapper(**arguments: Any) -> None:
            given = Given(
                {path: arguments.pop(_name(path)) for path in flagged},
                tuple(arguments.pop("assign") or ()),
                arguments.pop("config"),
                arguments.pop("preset"),
                used,
            )
            command(given=given, **arguments)

        options = {_name(path): _option(path, field) for path, field in flagged.items()}
        options |= {"config": CONFIG, "preset": PRESET, "assign": ASSIGN}
        parameters = [p for name, p in own.parameters.items() if name != "given"] + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in options.items()
        ]
        wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapper.used = used  # type: ignore[attr-defined]
        return wrapper

    return decorate


class Command(TyperCommand):
    """A command that the library's messages speak of while it runs."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        speak_of(typed_names(self))
        return super().invoke(ctx)


def typed_names(command: Any) -> dict[str, str]:
    """What a command takes, by the names the library has for it: settings and arguments."""
    own = {p.name: max(p.opts, key=len) for p in command.params if p.opts[0].startswith("-")}
    settings = {path: own.get(_name(path)) or SET + path for path in _used(command)}
    keys = {path.split(".")[1]: o for path, o in settings.items() if not o.startswith(SET)}
    return keys | settings | own


def explain_unknown(option: str, command: Any, name: str) -> str | None:
    """What became of an option that a command does not have; None if it never was one.

    Args:
        option: as typed, such as --margin.
        command: what it was given to.
        name: of that command.
    """
    key = option.removeprefix("--").replace("-", "_")
    by_flag = {option_of(path): path for path in paths()}
    by_key = {path.split(".")[1]: path for path in (*paths(), *RENAMED, *GONE)}
    path = by_flag.get(option) or OPTIONS.get(option) or by_key.get(key)
    if path is None:
        return None
    if path in GONE:
        return f"{option} is gone: {GONE[path]}; leave it out"
    path = RENAMED.get(path, path)
    if path not in _used(command):
        return f"{option} has no effect in '{name}'; leave it out"
    now = typed_names(command)[path]
    return f"{option} is a setting: {now}=..." if now.startswith(SET) else f"{option} is now {now}"


def option_of(path: str) -> str | None:
    """The option of a setting; None if it has none."""
    flag: str | None = paths()[path].json_schema_extra["flag"]
    return flag


def _chosen(sections: Iterable[str], without: Iterable[str]) -> dict[str, Any]:
    named = set(sections)
    found = {path: f for path, f in paths().items() if named & {path, path.split(".")[0]}}
    return {path: field for path, field in found.items() if path not in without}


def _used(command: Any) -> frozenset[str]:
    return getattr(command.callback, "used", frozenset())


def _name(path: str) -> str:
    return path.replace(".", "__")


def _option(path: str, field: Any) -> Any:
    bare = field.default is False or field.default in (None, "")
    default = "" if bare else f" \\[default: {field.default}]"
    kind = field.annotation
    choices = "|".join(get_args(kind)) if get_origin(kind) is Literal else ""
    option = typer.Option(
        option_of(path),
        help=field.description + default,
        metavar="NAME" if len(choices) > 20 else None,  # the text says which
        rich_help_panel=f"Settings: {path.split('.')[0]}",
    )
    return Annotated[kind | None, option]
