"""Nothing that a file holds reaches a terminal as anything but text."""

import ast
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import macnn_cli
from macnn.events import Notice, Progress
from macnn_cli import console

HOSTILE = "[bold red]x[/] :bird: \x1b[2J\u202egnp.exe\nnext [/nothing] [link=http://x]y[/link]"
SEEN = "[bold red]x[/] :bird: \\x1b[2J\\u202egnp.exe\\nnext [/nothing] [link=http://x]y[/link]"
PRINTERS = {"print", "echo", "secho", "print_exception", "pprint"}


@pytest.fixture
def terminals(monkeypatch):
    """Stdout and stderr as colour terminals; what was written to both."""
    written = io.StringIO()
    for name in ("out", "err"):
        terminal = Console(file=written, force_terminal=True, width=200, soft_wrap=True)
        monkeypatch.setattr(console, name, terminal)
    return written


@pytest.mark.parametrize(
    "show",
    [
        lambda: console.print_line(HOSTILE),
        lambda: console.print_line((HOSTILE, "bold"), ": ", HOSTILE),
        lambda: console.complain(HOSTILE.replace("\n", "\\n")),
        lambda: console.print_table(HOSTILE, ["a" * 100], []),
        lambda: console.print_table("a", [HOSTILE], [["b"]]),
        lambda: console.print_table("a", ["b"], [[HOSTILE]]),
        lambda: console.print_table("a", ["b"], [[["first", HOSTILE]]]),
    ],
)
def test_text_is_shown_as_it_is_and_on_one_line(terminals, show):
    show()
    assert SEEN in terminals.getvalue()


@pytest.mark.parametrize(
    "event",
    [
        Notice("info", HOSTILE),
        Notice("warning", HOSTILE),
        Progress(HOSTILE, 0, 1),
        Progress("task", 0, 1, {HOSTILE: 1.0}),
    ],
)
def test_events_are_shown_as_they_are(terminals, event):
    with console.listening(quiet=False) as listen:
        listen(event)
    assert SEEN in terminals.getvalue()


def test_off_a_terminal_a_finished_task_is_one_line(monkeypatch):
    monkeypatch.setattr(console, "err", Console(file=io.StringIO(), soft_wrap=True))
    with console.listening(quiet=False) as listen:
        listen(Progress(HOSTILE, 1, 1, {HOSTILE: 1.0}))
    assert console.err.file.getvalue() == f"{SEEN}: 1 done  {SEEN} 1\n"


def test_a_line_is_bounded(terminals):
    console.print_line("a" * 10**6)
    assert len(terminals.getvalue()) < 11_000


def test_json_is_plain_ascii(capsys):
    console.print_json({"name": HOSTILE + "\udcff"})
    console.JsonLines().write({"name": HOSTILE + "\udcff"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out.splitlines()[-1])["name"] == HOSTILE + "\udcff"


def test_no_cell_of_a_csv_file_is_a_formula(capsys):
    console.CsvRows().write(['=HYPERLINK("http://x")', "-a\nb", -0.5, None])
    (row,) = csv.reader(io.StringIO(capsys.readouterr().out))
    assert row == ['\'=HYPERLINK("http://x")', "'-a\\nb", "-0.5", ""]


def test_characters_that_the_encoding_lacks_are_printed_as_escapes(tmp_path):
    settings = tmp_path / "鳥.toml"
    settings.touch()
    done = subprocess.run(
        [sys.executable, "-m", "macnn_cli", "config", "validate", settings],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/\\u9ce5.toml: valid\n"


def test_only_the_console_prints():
    for file in Path(macnn_cli.__file__).parent.glob("*.py"):
        if file.name == "console.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = getattr(node, "attr", getattr(node, "id", None))
            where = f"{file.name}:{getattr(node, 'lineno', '')}"
            assert named not in {"stdout", "stderr", "Console"}, where
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", None))
                assert called not in PRINTERS, where
            if isinstance(node, ast.ImportFrom):
                assert not {alias.name for alias in node.names} & {"out", "err"}, where
