"""What the doctor says about one thing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    name: what was looked at, such as "kernels".
    ok: False if training would fail on it, or give wrong figures.
    text: what was found, one line.
    remedy: what to do; only where something is broken.
    """

    name: str
    ok: bool
    text: str
    remedy: str | None = None
