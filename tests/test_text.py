import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from macnn.text import csv_cell, markdown, shown

ACTIVE = "\x1b\n\r\t\x00\x9b\u202e\u2066\u200b\u2028\ud800\u0301=+-@;'`*_[](){}<>!|#\\.:1 "
HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from(ACTIVE)))


@given(HOSTILE, st.integers(10, 50))
def test_what_is_shown_is_one_bounded_line_of_printable_characters(text, longest):
    line = shown(text, longest)
    assert line.isprintable()
    assert len(line) <= longest


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("001.Auk", "001.Auk"),
        ("Würger 鳥 हिन्दी", "Würger 鳥 हिन्दी"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\nb\r\u2028c", r"a\nb\r\u2028c"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u200b\u3164b", r"a\u200b\u3164b"),
        ("\udcff", r"\udcff"),
        ("z" + "\u0301" * 6, "z" + "\u0301" * 4 + r"\u0301\u0301"),
    ],
)
def test_controls_are_seen_and_letters_stay(text, line):
    assert shown(text) == line


def test_a_long_name_keeps_both_ends():
    assert shown("a" * 9000 + "z", 13) == "aaaaa...aaaaz"


@given(HOSTILE)
def test_no_cell_begins_as_a_formula(text):
    cell = csv_cell(text)
    assert not re.search(r"(^|;\s*)[=+\-@\t\r]", cell)
    assert len(cell.splitlines()) <= 1


def test_a_cell_that_is_no_formula_stays_as_it_is():
    assert csv_cell("birds/a-1.jpg") == "birds/a-1.jpg"
    assert csv_cell('=HYPERLINK("http://x")') == '\'=HYPERLINK("http://x")'
    assert csv_cell("a; =1") == "a; '=1"
    assert csv_cell("p" * 4000) == "p" * 4000


@pytest.fixture(scope="module")
def reader():
    return MarkdownIt().enable("table").enable("strikethrough")


@given(text=HOSTILE)
def test_text_in_markdown_has_no_markup(reader, text):
    for around in ("{}", "- a: {}", "# {}", "| a |\n|---|\n| {} |"):
        plain, hostile = (reader.parse(around.format(each)) for each in ("x", markdown(text)))
        if markdown(text):
            assert [token.type for token in hostile] == [token.type for token in plain]
            inline = [child for token in hostile for child in token.children or []]
            assert {child.type for child in inline} <= {"text", "text_special"}


@pytest.mark.parametrize(
    "text",
    [
        "</style><script>alert(1)</script>",
        "[x](http://x)",
        "<http://x>",
        "![x](y)",
        "---\nlicense: mit",
        "1. one",
        "a | b",
        "`` ` ``",
        "&lt;b&gt;",
    ],
)
def test_text_in_markdown_reads_as_it_was_written(reader, text):
    (_, inline, _) = reader.parse(markdown(text))
    assert "".join(child.content for child in inline.children) == shown(text)


def test_addresses_are_no_links_in_the_markdown_of_code_hosts():
    assert markdown("http://x www.x.org a@x") == r"http\://x www\.x.org a\@x"
