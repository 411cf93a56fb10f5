"""The messages that the page explains are those of the program, as a command shows them."""

import ast
import re
from pathlib import Path

import pytest
import typer

from macnn import errors
from macnn.errors import MacnnError
from macnn_cli.main import app
from macnn_cli.options import typed_names
from macnn_cli.wording import as_typed, speak_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^    macnn: (.*)$", PAGE, re.MULTILINE)
LEAST = 8  # characters that a message must hold, spaces aside, or it would fit anything
ANY = "\0"  # in place of a value
NAMED_BY_VALUE = re.compile(f"`{ANY}(={ANY})?`")  # any setting


def template(node):
    """The strings that an expression can give."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    if isinstance(node, ast.BinOp):
        return template(node.left) + template(node.right)
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return CONSTANTS[node.id]
    return ANY


def nodes():
    for file in (ROOT / "macnn").rglob("*.py"):
        yield from ast.walk(ast.parse(file.read_text(encoding="utf-8")))


CONSTANTS = {
    node.targets[0].id: node.value.value
    for node in nodes()
    if isinstance(node, ast.Assign)
    and isinstance(node.targets[0], ast.Name)
    and node.targets[0].id.isupper()
    and isinstance(node.value, ast.Constant)
    and isinstance(node.value.value, str)
}


def raised(node):
    """What is raised as an error of the user's or the machine's, if it is here."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
        return None
    kind = getattr(errors, node.func.id, None)
    if not (isinstance(kind, type) and issubclass(kind, MacnnError)):
        return None
    hints = [template(k.value) for k in node.keywords if k.arg == "hint"]
    return "; ".join([template(node.args[0]), *hints])


def commands(group):
    for command in group.commands.values():
        yield from commands(command) if hasattr(command, "commands") else [command]


def compiled(templates):
    """Regular expressions for what any command makes of these messages."""
    said = {t for t in templates if t and len(re.sub(f"[{ANY} ]", "", t)) >= LEAST}
    typed = set()
    for command in commands(typer.main.get_command(app)):
        speak_of(typed_names(command))
        typed.update(NAMED_BY_VALUE.sub(ANY, as_typed(message)) for message in said)
    speak_of({})
    return [re.compile(re.escape(t).replace(re.escape(ANY), ".*")) for t in typed]


ERRORS = compiled(map(raised, nodes()))
STRINGS = compiled(template(node) for node in nodes() if isinstance(node, ast.JoinedStr))


def is_known(message):
    """Whether it is raised somewhere, whole or with a hint added where it is passed on."""
    problem, _, hint = message.partition("; ")
    return any(known.fullmatch(message) for known in ERRORS) or (
        any(known.fullmatch(problem) for known in ERRORS)
        and any(known.fullmatch(hint) for known in STRINGS)
    )


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_one_of_the_program(message):
    assert is_known(message)


def test_an_invented_message_would_be_noticed():
    assert not is_known("birds: it went wrong; do it again")
    assert not is_known("birds/wren/7.jpg: does not decode (empty file); do it again with others")
    assert len(QUOTED) > 20


def test_every_exit_code_is_explained():
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    raised = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    assert explained == raised | {0}
