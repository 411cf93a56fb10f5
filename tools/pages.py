"""Write what follows from the command line: a page per command, and the list of all options.

python tools/pages.py           writes docs/commands/*.md and tests/cli/options.txt
python tools/pages.py --check   writes nothing; exit code 1 if one of them is out of date
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from macnn_cli.examples import EXAMPLES
from macnn_cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "commands"
OPTIONS = ROOT / "tests" / "cli" / "options.txt"


def commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its name as typed behind `macnn`."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def page(name: str, command: Any) -> str:
    """The page of a command."""
    context = command.make_context(f"macnn {name}", [], resilient_parsing=True)
    lines = [f"# macnn {name}", "", _plain(command.help), "", "    " + _usage(context), ""]
    for what, line in EXAMPLES.get(name, ()):
        lines += [f"{what}:", "", f"    {line}", ""]
    for panel, parameters in _panels(command).items():
        lines += [f"## {panel}", "", "| | |", "|---|---|"]
        lines += [_row(parameter, context) for parameter in parameters]
        lines.append("")
    return "\n".join(lines)


def index() -> str:
    """The page that lists the others."""
    lines = ["# Commands", "", "| | |", "|---|---|"]
    for name, command in commands():
        first = _plain(command.help).split("\n\n")[0]
        lines.append(f"| [macnn {name}]({_file(name)}) | {first} |")
    return "\n".join(
        [*lines, "", "These pages are written by `make docs` from what `--help` says.\n"]
    )


def options() -> str:
    """Every argument and option that a person can type, one a line."""
    lines = []
    for name, command in commands():
        context = command.make_context(f"macnn {name}", [], resilient_parsing=True)
        for parameter in command.params:
            needed = "  (required)" if parameter.required else ""
            lines.append(f"{name}  {_typed(parameter, context)}{needed}")
    return "\n".join([*lines, ""])


def files() -> dict[Path, str]:
    """All that this program writes."""
    pages = {PAGES / _file(name): page(name, command) for name, command in commands()}
    return {**pages, PAGES / "README.md": index(), OPTIONS: options()}


def _file(name: str) -> str:
    return name.replace(" ", "-") + ".md"


def _plain(text: str) -> str:
    """A docstring as Markdown: paragraphs, each on one line, without rich's markup."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(" ".join(p.split()) for p in paragraphs).replace("\\[", "[")


def _usage(context: Any) -> str:
    return " ".join(context.get_usage().removeprefix("Usage: ").split())


def _panels(command: Any) -> dict[str, list[Any]]:
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(parameter)
    return panels


def _typed(parameter: Any, context: Any) -> str:
    return " ".join(parameter.get_help_record(context)[0].split())


def _row(parameter: Any, context: Any) -> str:
    typed, text = _typed(parameter, context), _plain(parameter.get_help_record(context)[1])
    bar = chr(92) + "|"  # a table ends a cell at a bare one
    return f"| `{typed.replace('|', bar)}` | {text.replace('|', bar)} |"


def main() -> None:
    """Write all files, or check them."""
    wanted = files()
    stale = {*PAGES.glob("*.md")} - wanted.keys()
    wrong = [f for f, text in wanted.items() if not f.is_file() or f.read_text() != text]
    if sys.argv[1:] == ["--check"]:
        for file in sorted([*stale, *wrong]):
            sys.stderr.write(f"{file.relative_to(ROOT)}: out of date; run 'make docs'\n")
        sys.exit(bool(stale or wrong))
    PAGES.mkdir(exist_ok=True)
    for file in stale:
        file.unlink()
    for file in wrong:
        file.write_text(wanted[file], encoding="utf-8")


if __name__ == "__main__":
    main()
