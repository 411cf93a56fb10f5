"""What the library says, in words that can be typed.

The library names settings and arguments in backticks, as in `data.image_size` or `overwrite`; here
they become options of the running command: --img-size, --overwrite, `--set train.margin=...`.
"""

import re
from collections.abc import Mapping

NAMED = re.compile(r"`(?P<name>[a-z_]+(?:\.[a-z_]+)?)(?:=(?P<value>[^`]*))?`")
SET = "--set "

_options: Mapping[str, str] = {}


def speak_of(options: Mapping[str, str]) -> None:
    """Use the options of the running command from here on, by setting or argument."""
    global _options  # one command runs in a process
    _options = options


def as_typed(text: str) -> str:
    """The text with every setting and argument of the running command as its option.

    `a.b=v` becomes the option with that value; whatever the command does not take stays.
    """
    return NAMED.sub(_option, text)


def _option(found: re.Match[str]) -> str:
    option, value = _options.get(found["name"]), found["value"]
    if option is None:
        return found[0]
    if option.startswith(SET):
        return f"{option}={'...' if value is None else value}"
    return option if value in (None, "true") else f"{option} {value}"
