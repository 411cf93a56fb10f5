"""Text that comes from files, escaped for where it goes.

Names of classes, tensors, devices and files are untrusted. HTML is escaped by jinja2; the rest is
here.
"""

import re
import unicodedata

_LONGEST = 1000  # characters of one name or reason that are shown
_CELL = 32_000  # characters of a cell, fewer than spreadsheets can hold
_STACKED = 4  # marks on one letter; no script needs more, and a hundred cover the lines around
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters, to Unicode
# What spreadsheets take for the start of a formula; some split cells at semicolons.
_FORMULA = re.compile(r"(^|;\s*)(?=[=+\-@＝＋－＠])")
# Markup of Markdown, of tables and mathematics in it, and addresses that it makes links of.
_MARKDOWN = re.compile(
    r"[\\`*_{}\[\]()<>#+!|~$&@:\"]|^[-=]|(?<=\d)\.(?=\s|$)|(?<=www)\.", re.IGNORECASE
)


def shown(text: object, longest: int = _LONGEST) -> str:
    """A path, or any text, on one line of printable characters, at most `longest`.

    Newlines, escape codes, bidirectional controls, what has no width and bytes that are not UTF-8
    appear as backslash escapes; what is longer is cut in the middle.
    """
    marks, pieces = 0, []
    for c in _cut(str(text), longest):
        marks = marks + 1 if unicodedata.category(c).startswith("M") else 0
        plain = c.isprintable() and c not in _BLANK and marks <= _STACKED
        pieces.append(c if plain else c.encode("unicode_escape").decode("ascii"))
    return _cut("".join(pieces), longest)


def _cut(text: str, longest: int) -> str:
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"


def csv_cell(text: str) -> str:
    """Text for a cell of a CSV file, on one line: a spreadsheet must not take it for a formula.

    Shown as it is, behind a quotation mark where it begins as a formula does.
    """
    return _FORMULA.sub(r"\1'", shown(text, _CELL))


def markdown(text: object) -> str:
    """Text for a line of Markdown: nothing in it is markup, HTML, a link or the end of a cell."""
    return _MARKDOWN.sub(r"\\\g<0>", shown(text).strip())


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`, `3 classes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"
