"""The page of the method: what cites it finds what it cites, and its settings are as it says."""

import re
import tomllib
from pathlib import Path

import pytest

from macnn.config import Settings, resolve
from macnn.config.resolve import read_preset
from macnn.config.settings import paths

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
SECTIONS = {  # heading -> numbers of its formulas
    heading: re.findall(r"^ +\((\d+)\)  ", body, re.MULTILINE)
    for heading, body in re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", PAGE, re.MULTILINE)
}
HEADING = "|".join(map(re.escape, sorted(SECTIONS, key=len, reverse=True)))
CITATION = re.compile(rf", (?:{HEADING})(?: to ({HEADING}))?(?!\w)(?: \((\d+)\))?")
ROWS = re.findall(r"^\| `(\w+\.\w+)` \|[^|]*\| ([^|]+) \| ([^|]+) \|", PAGE, re.MULTILINE)


def wrong_citations(text):
    """What follows docs/paper.md wherever no section of it does, or another section's formula."""
    text = re.sub(r"\s+(?:# )?", " ", text)
    wrong = []
    for rest in text.split("docs/paper.md")[1:]:
        found = CITATION.match(rest)
        named = found and found[0].removeprefix(", ").partition(" (")[0].split(" to ")
        if not found or (found[2] and found[2] not in SECTIONS[named[-1]]):
            wrong.append(rest[:60])
    return wrong


@pytest.mark.parametrize("folder", ["macnn", "kernels", "cli"])
def test_every_citation_names_a_section_of_the_page(folder):
    files = [f for kind in ("py", "md", "toml") for f in (ROOT / folder).rglob(f"*.{kind}")]
    wrong = {f.name: wrong_citations(f.read_text(encoding="utf-8")) for f in files}
    assert files
    assert not {name: found for name, found in wrong.items() if found}


@pytest.mark.parametrize(
    "text",
    [
        "(docs/paper.md, Losses)",
        "see docs/paper.md, Losses (12).",
        "docs/paper.md,\n    Part attention: sharp",
        "# docs/paper.md, Channel-grouping\n# layers",
        "docs/paper.md, Channel clustering to Losses, in float32",
    ],
)
def test_a_citation_may_be_wrapped_numbered_and_span_sections(text):
    assert not wrong_citations(text)


@pytest.mark.parametrize(
    "text",
    [
        "docs/paper.md 6",
        "docs/paper.md, Lossless",
        "docs/paper.md, Part attention (12)",
        "docs/paper.md, Losses (99)",
        "docs/paper.md, losses; docs/paper.md, Losses",
    ],
)
def test_a_citation_that_leads_nowhere_is_noticed(text):
    assert len(wrong_citations(text)) == 1


def test_nothing_cites_a_page_that_is_not_in_the_repository():
    for folder in ("macnn", "kernels", "cli"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".toml", ".md"):
                assert "PAPER.md" not in file.read_text(encoding="utf-8"), file


def test_formulas_are_numbered_in_order():
    numbers = [int(number) for section in SECTIONS.values() for number in section]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20


def test_settings_have_the_defaults_and_the_preset_of_the_paper_the_values_of_the_page():
    def read(path, cell):
        given = () if cell == "not set" else (f"{path}={cell.strip('`')}",)
        return value(resolve(assignments=given, environ={}).settings, path)

    def value(settings, path):
        section, name = path.split(".")
        found = getattr(getattr(settings, section), name)
        return getattr(settings.train.rates, name, None) if found is None else found

    paper = resolve(preset="paper", environ={}).settings
    page = {path: [read(path, cell) for cell in cells] for path, *cells in ROWS}
    assert page == {path: [value(Settings(), path), value(paper, path)] for path in page}
    assert {
        path for path in read_preset("paper") if value(paper, path) != value(Settings(), path)
    } <= {*page}


def test_every_setting_that_the_page_names_exists():
    assert set(re.findall(r"`([a-z_]+\.[a-z_]+)`", PAGE)) <= {*paths()}


def test_the_project_is_cited_by_its_version_and_with_the_paper():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    keys = dict(re.findall(r"^([\w-]+): *(.*)$", text, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert keys["cff-version"] == "1.2.0"
    assert (keys["title"], keys["version"]) == (project["name"], project["version"])
    assert {"message", "type", "authors", "references"} <= {*keys}
    assert "Multi-Attention Convolutional Neural Network" in text
