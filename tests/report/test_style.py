import pytest

from macnn.report.style import PALETTE, part_colour, readable


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("Boeing 737-200", "Boeing 737-200"),
        ("707", "707"),
    ],
)
def test_class_names_read_as_prose(name, text):
    assert readable(name) == text


def test_colours_differ_and_then_repeat():
    assert len({part_colour(i) for i in range(7)}) == 7
    assert part_colour(len(PALETTE)) == part_colour(0)


def test_class_names_are_one_printable_line_of_bounded_length():
    assert readable("001.a_\u202eb\n") == "a \\u202eb\\n"
    assert len(readable("z" * 10_000)) <= 200
