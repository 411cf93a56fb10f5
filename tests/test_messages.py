"""The library's messages name settings and arguments; options and commands are the CLI's."""

import ast
import re
from pathlib import Path

import typer

from macnn.config.settings import paths
from macnn_cli.main import app

ROOT = Path(__file__).parents[1]
SETTING = re.compile(r"`([a-z_]+\.[a-z_]+)")
NO_SETTING = {"torchvision.models"}  # other dotted names in backticks
OTHERS = {"--dump-resource-usage": "an option of cuobjdump"}


def commands(group, prefix=""):
    for name, command in group.commands.items():
        yield prefix + name
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")


NAMES = "|".join(sorted(commands(typer.main.get_command(app)), key=len, reverse=True))
TYPED = re.compile(
    r"(?<!var\()--[a-z][a-z-]*"  # an option, but no variable of CSS
    rf"|\bmacnn (?:{NAMES})\b"
    rf"|'(?:{NAMES})(?: [^']*)?'"
)


def strings(source):
    """Line and text of every string that is no docstring; of f-strings the constant parts."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_string = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_string and id(node) not in docstrings:
            yield node.lineno, node.value


def typed(source):
    """What a person would type, in the strings of a module: line and text."""
    for line, text in sorted(strings(source)):
        for found in TYPED.findall(text):
            if found not in OTHERS:
                yield line, found


def modules():
    for room in ("macnn", "kernels"):
        for file in sorted((ROOT / room).rglob("*.py")):
            yield file.relative_to(ROOT), file.read_text(encoding="utf-8")


def test_no_message_names_an_option_or_a_command():
    found = [
        f"{file}:{line}: {text}"
        for file, source in modules()
        if file.parts[:2] != ("macnn", "config")  # declares the options
        for line, text in typed(source)
    ]
    assert not found, "\n".join(found)


def test_every_setting_that_a_message_names_exists():
    known = {*paths(), *NO_SETTING}
    found = [
        f"{file}:{line}: {name}"
        for file, source in modules()
        for line, text in strings(source)
        for name in SETTING.findall(text)
        if name not in known
    ]
    assert not found, "\n".join(found)


def test_options_and_commands_are_noticed():
    source = '''"""Behind `macnn train --lr`."""
f"{x}; pass --lr {y}"
hint = "the baseline needs 'train' only, then run 'macnn data check' again"
colour = "var(--ink)"
'''
    assert list(typed(source)) == [(2, "--lr"), (3, "'train'"), (3, "macnn data check")]
