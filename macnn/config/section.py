"""What a section of settings is: each setting has a type, default, flag, text and source."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def setting(default: Any, flag: str, text: str, *, source: str = "ours", **limits: Any) -> Any:
    """Declare a setting: its default, its flag, what it is (with unit), and who says so."""
    return Field(
        default, description=text, json_schema_extra={"flag": flag, "source": source}, **limits
    )


class Section(BaseModel):
    """A table of the configuration file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
