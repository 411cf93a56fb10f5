"""What a section of settings is: each setting has a type, default, text, unit and source."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from macnn import bounds
from macnn.reading import why


def setting(
    default: Any,
    text: str,
    *,
    source: str = "ours",
    flag: str | None = None,
    unit: str = "",
    **limits: Any,
) -> Any:
    """Declare a setting.

    Args:
        default: its value unless one is given.
        text: what it is, for the help and for `config show --all`.
        source: who says so: the paper, its released network, a third party, or else we.
        flag: its option on the command line; one without is set by `--set`, file or environment.
        unit: of its value.
        limits: what pydantic's `Field` takes.
    """
    described: Any = {"flag": flag, "unit": unit, "source": source}
    return Field(default, description=text, json_schema_extra=described, **limits)


class Section(BaseModel):
    """A table of the configuration file; unknown keys are errors, and so is what does not print."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )

    @field_validator("*")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        if isinstance(value, str) and not (value.isprintable() and len(value) <= bounds.PATH):
            raise ValueError("does not print, or is too long")
        return value


def absolute(path: Path) -> Path:
    """The path from the root: a saved configuration then means the same from any folder.

    Raises:
        ValueError: it does not print, or there is no current folder any more.
    """
    try:
        whole = path.absolute()
    except OSError as problem:
        raise ValueError(f"the current folder: {why(problem)}") from None
    if not str(whole).isprintable() or len(str(whole)) > bounds.PATH:
        raise ValueError("its name does not print; rename the folder, or link to it")
    return whole
