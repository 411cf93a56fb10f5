"""What a person sees of the page: in a browser, on a wide and a narrow screen, light and dark."""

import numpy as np
import pytest
from PIL import ImageColor

from macnn.report.style import part_colour

BACKGROUND = {"light": "#fcfcfa", "dark": "#161615"}


def share(picture, colour):
    """Share of a picture, every other pixel looked at, that has nearly this colour."""
    pixels = np.asarray(picture)[::2, ::2].astype(np.int16)
    near = np.abs(pixels - np.array(ImageColor.getrgb(colour), dtype=np.int16)) < 10
    return near.all(-1).mean()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_parts_are_seen_in_their_colours_on_the_themes_background(browser, html, width, theme):
    browser.open(html, width=width, theme=theme)
    picture = browser.screenshot()
    assert picture.width == width
    assert share(picture, BACKGROUND[theme]) > 0.3
    for part in range(4):
        assert share(picture, part_colour(part)) * picture.width * picture.height > 300


@pytest.mark.parametrize("width", [1280, 360])
def test_every_section_is_visible_and_every_picture_is_drawn(browser, html, width):
    browser.open(html, width=width)
    sizes = browser.run(
        "[...document.querySelectorAll('section')].map(s => [s.id, s.offsetWidth, s.offsetHeight])"
    )
    assert len(sizes) == 12
    assert all(wide > 300 and high > 60 for _, wide, high in sizes)
    decoded = browser.run(
        "Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode())))"
        ".then(all => all.length)"
    )
    assert decoded == browser.run("document.images.length") > 100


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_nothing_sticks_out_of_the_page(browser, html, width):
    browser.open(html, width=width)
    assert browser.run("document.documentElement.scrollWidth") == width
    outside = browser.run(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg, h2')"
        f" && e.getBoundingClientRect().right > {width}).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []


def test_a_table_is_sorted_by_keyboard_alone(browser, html):
    browser.open(html, width=1280)
    heading = "document.querySelectorAll('#classes th button')[3]"
    browser.run("document.querySelectorAll('#classes th button')[2].focus()")
    browser.press("Tab")
    assert browser.run(f"document.activeElement === {heading}")
    column = (
        "[...document.querySelectorAll('#classes tbody tr')].map(r => +r.cells[3].dataset.value)"
    )
    before = browser.run(column)
    assert before != sorted(before)
    for order, reverse in (("ascending", False), ("descending", True)):
        browser.press("Enter")
        assert browser.run(column) == sorted(before, reverse=reverse)
        states = "[...document.querySelectorAll('#classes th')].map(t => t.ariaSort)"
        assert browser.run(states)[:5] == [None, None, None, order, None]


def test_words_are_sorted_as_words(browser, html):
    browser.open(html, width=1280)
    browser.run("document.querySelectorAll('#settings th button')[0].click()")
    names = browser.run(
        "[...document.querySelector('#settings tbody').rows].map(r => r.cells[0].textContent)"
    )
    assert len(names) > 1
    assert names == sorted(names)


def test_the_page_asks_for_nothing_but_itself(browser, html):
    browser.open(html, width=1280)
    assert browser.run("document.images.length") > 100
    assert [u for u in browser.requests if not u.startswith("data:")] == [html.as_uri()]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, html, theme):
    """WCAG 2.2: a contrast of 4.5 for text."""
    browser.open(html, width=1280, theme=theme)
    colours = browser.run(
        "['body', '.lead', '.right', '.wrong', 'nav a', 'th button'].map(s =>"
        " getComputedStyle(document.querySelector(s)).color)"
    )
    back = luminance(ImageColor.getrgb(BACKGROUND[theme]))
    for colour in colours:
        text = luminance(ImageColor.getrgb(colour))
        assert (max(text, back) + 0.05) / (min(text, back) + 0.05) >= 4.5


def luminance(rgb):
    channels = np.array(rgb[:3]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
