"""From flags, environment, file, checkpoint and preset to one `Settings`, each value with a source.

Precedence: flag = `--set a.b=v` > `MACNN_A__B` environment > file > checkpoint > preset > default.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from macnn.config.renamed import GONE, RENAMED
from macnn.config.settings import Settings, paths
from macnn.errors import UsageError
from macnn.reading import read_text, why
from macnn.text import shown

PREFIX = "MACNN_"
TOML_BYTES = 2**15  # some ten times all settings
Layer = Mapping[str, Any]  # dotted path -> value


@dataclass(frozen=True)
class Resolved:
    """The settings in force, and for each dotted path where its value came from."""

    settings: Settings

    @property
    def sources(self) -> Mapping[str, str]:
        """Dotted path -> where its value came from."""
        return self.settings.sources


def resolve(
    *,
    flags: Layer | None = None,
    assignments: tuple[str, ...] = (),
    file: Path | None = None,
    checkpoint: tuple[str, Layer] | None = None,
    preset: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    """Resolve the settings of a command.

    Args:
        flags: values typed by the user, by dotted path; None means "not given".
        assignments: `a.b=v` strings of `--set`, as strong as flags.
        file: a TOML file.
        checkpoint: the name and settings of a checkpoint to continue from.
        preset: the name of a packaged preset.
        environ: the environment; by default the process's.

    Raises:
        UsageError: an unknown key or preset, an unreadable file, or a value out of range.
    """
    given = {path: value for path, value in (flags or {}).items() if value is not None}
    layers: list[tuple[str, Layer]] = [
        ("preset " + preset, read_preset(preset)) if preset else ("", {}),
        checkpoint or ("", {}),
        (str(file), read_toml(file)) if file else ("", {}),
        ("environment", _environment(os.environ if environ is None else environ)),
        ("--set", dict(map(assignment, assignments))),
        ("flag", given),
    ]
    known = paths()
    values: dict[str, Any] = {}
    sources = dict.fromkeys(known, "default")
    for name, layer in layers:
        for path, value in layer.items():
            if path not in known:
                raise _unknown(shown(name), path, known)
            values[path] = value
            sources[path] = name
    settings = _validated(values, sources)
    settings.sources.update(sources)
    return Resolved(settings)


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file of sections into dotted paths.

    Raises:
        UsageError: the file is missing, too large or not TOML.
    """
    text = read_text(file, UsageError, limit=TOML_BYTES)
    try:
        return flatten(tomllib.loads(text))
    except (ValueError, RecursionError) as error:  # endless numbers, arrays in arrays in arrays
        raise UsageError(f"{shown(file)}: not a readable TOML file ({why(error)})") from None


def presets() -> tuple[str, ...]:
    """Names of the packaged presets."""
    folder = files("macnn.config") / "presets"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def read_preset(name: str) -> dict[str, Any]:
    """Read a packaged preset into dotted paths, over the one that its `base` names, if any.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in presets():
        raise UsageError(
            f"preset '{shown(name, 100)}' does not exist",
            hint=f"choose from {', '.join(presets())}",
        )
    text = (files("macnn.config") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    own = flatten(tomllib.loads(text))
    base = own.pop("base", None)
    return (read_preset(base) if base else {}) | own


def flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `{"data": {"root": 1}}` into `{"data.root": 1}`."""
    flat: dict[str, Any] = {}
    for section, content in sections.items():
        if isinstance(content, Mapping):
            flat.update({f"{section}.{key}": value for key, value in content.items()})
        else:
            flat[section] = content
    return flat


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`MACNN_TRAIN__LR=0.1` sets train.lr; other `MACNN_` variables are not settings."""
    found = {}
    for name, value in environ.items():
        if name.startswith(PREFIX) and "__" in name:
            section, key = name.removeprefix(PREFIX).lower().split("__", 1)
            found[f"{section}.{key}"] = value
    if "MACNN_KERNELS" in environ:
        found["run.kernels"] = environ["MACNN_KERNELS"]
    return found


def assignment(text: str) -> tuple[str, str]:
    """Take `a.b=v` apart.

    Raises:
        UsageError: it is not of that form.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {shown(text)}: expected section.key=value")
    return path.strip(), value.strip()


def _unknown(name: str, path: str, known: Mapping[str, Any]) -> UsageError:
    if path in RENAMED:
        return UsageError(f"{name}: '{path}' is now '{RENAMED[path]}'")
    if path in GONE:
        return UsageError(f"{name}: '{path}' is gone: {GONE[path]}", hint="leave it out")
    return UsageError(f"{name}: unknown key '{shown(path, 100)}'", hint=_nearest(path[:100], known))


def _nearest(path: str, known: Mapping[str, Any]) -> str | None:
    last = {name.split(".")[1]: name for name in known}
    close = get_close_matches(path, known, n=1) or [
        last[name] for name in get_close_matches(path.split(".")[-1], last, n=1)
    ]
    return f"did you mean '{close[0]}'?" if close else None


def _validated(values: Layer, sources: Mapping[str, str]) -> Settings:
    nested: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        section, key = path.split(".")
        nested.setdefault(section, {})[key] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"][:2])
        where, value = sources[path], values[path]
        if where == "flag":
            raise UsageError(f"`{path}={_said(str, value)}`: {first['msg']}") from None
        raise UsageError(
            f"{path} = {_said(repr, value)} ({shown(where)}): {first['msg']}"
        ) from None


def _said(text: Callable[[Any], str], value: Any) -> str:
    """A value in a message."""
    try:
        return shown(text(value), 200)
    except (ValueError, RecursionError):  # thousands of digits, arrays in arrays in arrays
        return type(value).__name__
