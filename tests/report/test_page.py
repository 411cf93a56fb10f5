"""What the page says, without a browser."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from macnn.errors import DataError, UsageError
from macnn.evaluation.predictions import read_predictions, write_predictions
from macnn.report import page
from macnn.report.contents import read_contents
from macnn.runs.setup import open_images

SECTIONS = ["summary", "accuracy", "attention", "parts", "localisation", "specialisation",
            "confusion", "calibration", "classes", "training", "state", "settings"]  # fmt: skip


class Reader(HTMLParser):
    """Collects the elements of a page by tag, each as its attributes, and all text."""

    def __init__(self, file):
        super().__init__()
        self.elements, self.text = {}, ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.setdefault(tag, []).append(dict(attrs))

    def handle_data(self, data):
        self.text += f" {data}"

    def __getitem__(self, tag):
        return self.elements.get(tag, [])


@pytest.fixture(scope="module")
def read(html):
    return Reader(html)


def test_every_section_is_there_and_linked_to(read):
    assert [section["id"] for section in read["section"]] == SECTIONS
    assert [link["href"] for link in read["a"]] == [f"#{name}" for name in SECTIONS]


def test_nothing_comes_from_elsewhere(read):
    loaded = [each.get("src") or each.get("href") for tag in ("img", "script", "link", "iframe")
              for each in read[tag]]  # fmt: skip
    assert all(address is None or address.startswith("data:") for address in loaded)


def test_the_page_has_landmarks_and_every_picture_a_text(read):
    assert [len(read[tag]) for tag in ("h1", "header", "nav", "main")] == [1, 1, 1, 1]
    assert all(picture["alt"] for picture in read["img"])
    assert all("aria-label" in each or "aria-hidden" in each for each in read["svg"])
    assert all(each["aria-labelledby"] for each in read["section"])


def test_right_and_wrong_images_are_shown_with_all_parts(read):
    overlays = [i for i in read["img"] if i["alt"].startswith("Attention of part")]
    assert len(overlays) == (4 + 4) * 4
    assert "✓ recognised" in read.text
    assert "✗ taken for" in read.text


def test_every_part_has_its_mean_attention_and_a_crop_of_every_image(read):
    assert sum(i["alt"].startswith("Mean attention") for i in read["img"]) == 4
    assert sum(i["alt"].startswith("Crop") for i in read["img"]) == 4 * 16


def test_accuracy_is_compared_with_the_baseline(read):
    assert "+0.0 points against baseline" in read.text
    assert "75.0\xa0%" in read.text


def test_every_setting_is_shown_with_its_source(read):
    text = " ".join(read.text.split())
    assert "data.image_size 64 flag" in text
    assert "train.momentum 0.9 default" in text


def test_a_checkpoint_away_from_its_run_has_a_page_of_what_is_known(run_of):
    run = run_of("macnn")
    for name in ("sources.json", "env.json", "metrics.jsonl"):
        (run.folder / name).unlink()
    read = Reader(run.page())
    assert "data.image_size 64 not recorded" in " ".join(read.text.split())
    assert "training" not in [section["id"] for section in read["section"]]


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("baseline", {"attention", "parts", "localisation", "specialisation", "state"}),
        ("parts", {"accuracy", "specialisation", "confusion", "calibration", "classes"}),
    ],
)
def test_sections_that_do_not_apply_are_left_out(run_of, kind, missing):
    sections = [section["id"] for section in Reader(run_of(kind).page())["section"]]
    assert sections == [name for name in SECTIONS if name not in missing]


def test_names_are_text_not_markup(run_of):
    run = run_of("macnn")
    images = open_images(run.settings).split("test")
    odd = replace(images, class_names=("<img src=x>", *images.class_names[1:]))
    contents = read_contents(run.folder, run.settings, "test")
    text = page.render(contents, odd, run.settings, None)
    assert "<img src=x>" not in text
    assert "&lt;img src=x&gt;" in text


def test_other_images_than_those_evaluated_are_refused(run_of):
    run = run_of("macnn")
    file = run.folder / "report" / "predictions-test.safetensors"
    found = read_predictions(file)
    write_predictions(file, replace(found, labels=found.labels.flip(0)))
    with pytest.raises(DataError, match="not the images"):
        run.page()


def test_a_baseline_without_classifiers_is_refused(run_of):
    with pytest.raises(UsageError, match="no accuracy"):
        page.read_baseline(run_of("parts").folder, "test")


def test_a_damaged_evaluation_is_named(run_of):
    run = run_of("baseline")
    (run.folder / "report" / "eval-test.json").write_text("{")
    with pytest.raises(DataError, match=r"eval-test\.json: damaged .*; evaluate again"):
        run.page()
