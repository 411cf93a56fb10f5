"""The result of one check of the doctor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    name: of what was checked, such as "kernels".
    ok: False if training would fail on it, or give wrong figures.
    text: what was found, one line.
    remedy: what to do; only where something is broken.
    """

    name: str
    ok: bool
    text: str
    remedy: str | None = None
