"""Text that comes from files, made harmless for wherever it goes.

Names of classes, tensors, devices and files are whatever somebody wrote. HTML has its escaping from
jinja2; the rest is here.
"""

import re

_LONGEST = 1000  # characters of one name or reason that are shown
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for the start of a formula
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&])")


def shown(text: object, longest: int = _LONGEST) -> str:
    """A path, or any text, on one line of printable characters.

    Newlines, escape codes, bidirectional controls and bytes that are not UTF-8 appear as backslash
    escapes; what is longer than `longest` characters is cut in the middle.
    """
    whole = str(text)
    if len(whole) > longest:
        half = longest // 2
        whole = f"{whole[:half]}...{whole[-half:]}"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in whole
    )


def csv_cell(text: str) -> str:
    """Text for a cell of a CSV file: a spreadsheet must not take it for a formula.

    The same text again, behind a quotation mark where it begins as a formula does.
    """
    line = shown(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def markdown(text: object) -> str:
    """Text for Markdown: nothing in it is markup, HTML or the end of a table's cell."""
    return _MARKDOWN.sub(r"\\\1", shown(text))


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`, `3 classes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"
