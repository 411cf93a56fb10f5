"""Settings as TOML text that `resolve` reads back unchanged."""

import json

from macnn.config.settings import Settings


def to_toml(settings: Settings) -> str:
    """Write every setting; what is None is left out, for None means "not given"."""
    lines: list[str] = []
    for section, content in settings.model_dump(mode="json", exclude_none=True).items():
        lines.append(f"[{section}]")
        # JSON's strings, numbers and booleans are TOML's.
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()
        ]
        lines.append("")
    return "\n".join(lines)
