"""The pages of the commands, and the list of everything that a person can type."""

import difflib
import shlex

import pytest
import typer

from macnn_cli.examples import EXAMPLES
from macnn_cli.main import app


@pytest.fixture
def pages(tool):
    return tool("pages")


def test_the_options_are_those_that_were_agreed_on(pages):
    agreed = pages.OPTIONS.read_text(encoding="utf-8").splitlines()
    changes = [
        line
        for line in difflib.unified_diff(agreed, pages.options().splitlines(), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    assert not changes, (
        "what a person can type has changed:\n  "
        + "\n  ".join(changes)
        + "\nif that is meant, run 'make docs' and commit what it writes"
    )


def test_the_pages_say_what_the_commands_do(pages):
    wanted = pages.files()
    stale = [f.name for f, text in wanted.items() if f.read_text(encoding="utf-8") != text]
    assert not stale, f"out of date: {', '.join(stale)}; run 'make docs'"
    assert set(pages.PAGES.glob("*.md")) <= wanted.keys()


def test_every_command_has_two_examples_and_no_example_lacks_a_command(pages):
    names = {name for name, _ in pages.commands()}
    assert names == EXAMPLES.keys()
    assert all(len(examples) >= 2 for examples in EXAMPLES.values())


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, given in EXAMPLES.items() for _, line in given]
)
def test_an_example_can_be_typed(pages, name, line):
    program, *words = shlex.split(line)
    assert program == "macnn"
    count = len(name.split())
    assert " ".join(words[:count]) == name
    command = dict(pages.commands())[name]
    context = command.make_context(line, words[count:])  # raises if an option is unknown
    assert not context.args


def test_examples_are_shown_by_help(macnn_help):
    for name, examples in EXAMPLES.items():
        shown = macnn_help(*name.split())
        assert all(what in shown for what, _ in examples[:2])


@pytest.fixture
def macnn_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*words):
        typer.main.get_command(app)([*words, "--help"], standalone_mode=False)
        return capsys.readouterr().out

    return call
