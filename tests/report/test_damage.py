"""Whatever a stranger's run folder says: one line, and no page is written over the old one."""

import json
import os
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from markupsafe import Markup

from macnn.errors import MacnnError
from macnn.evaluation.figures import VALUES, read_figures
from macnn.evaluation.predictions import Scores, read_predictions, write_predictions
from macnn.report import page
from macnn.report.contents import read_contents
from macnn.runs.metrics import LINE_BYTES
from macnn.runs.setup import open_images

ODD = (None, {}, [], "x", True, -1, 0.5, 10**400, float("inf"), float("nan"), ...)
EMPTY = ("one_to_one", "regions")  # may be
OLD = "the page before"
HOSTILE = (
    "</style></title><script>alert(1)</script>\" onload='x' {{ 7 * 7 }} \x1b[2J\u202egnp.exe\n"
    "[bold]y[/] $x$ =1 " + "z" * 10_000
)


@pytest.fixture
def run(run_of):
    return run_of("macnn")


def figures_file(run):
    return run.folder / "report" / "eval-test.json"


def refusal(run):
    """What is said instead of a page, on one line, while the old page stays."""
    file = page.page_of(run.folder, "test")
    file.write_text(OLD)
    with pytest.raises(MacnnError) as raised:
        run.page()
    assert file.read_text() == OLD
    assert str(raised.value).isprintable()
    return str(raised.value)


def paths(value, path=()):
    """Paths to everything in a JSON value, of lists to the first element."""
    yield path
    for key in value if isinstance(value, dict) else range(isinstance(value, list) and value != []):
        yield from paths(value[key], (*path, key))


def changed(document, path, value):
    """A copy with the value at `path` replaced; `...` leaves it out."""
    copy = deepcopy(document)
    *outer, last = path
    inner = copy
    for step in outer:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copy


def said_of(run, images, read):
    """What is said of the figures as they are now, None if they may be shown."""
    try:
        odd = replace(read, figures=read_figures(run.folder, "test"))
        page.check_images(images, odd)
    except MacnnError as error:
        return str(error)
    return None


def test_figures_with_anything_in_any_place_are_checked(run):
    whole = json.loads(figures_file(run).read_text())
    images = open_images(run.settings).split("test")
    read = read_contents(run.folder, run.settings, "test")
    told = []
    for path in filter(None, paths(whole)):
        for value in ODD:
            figures_file(run).write_text(json.dumps(changed(whole, path, value)))
            said = said_of(run, images, read)
            told.append(said)
            assert said is None or said.isprintable()
            assert said is not None or not isinstance(value, (dict, list)) or path[-1] in EMPTY
    assert len([said for said in told if said]) > 5 * told.count(None) > 0


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("images",), 17, "classification: of 16 images, not of 17"),
        (("split",), "train", "of the train images"),
        (("attention_metrics",), None, "not of one evaluation"),
        (("classification", "joint", "top1"), 1.5, "top1: Input should be less than or equal to 1"),
        (("classification", "confusion", 0), [0] * 15, "confusion: does not fit"),
        (("classification", "reliability", 0, "images"), 5, "of no images, or none of some"),
        (("localisation", "best", 0, "part"), 2, "best: not one of every part"),
        (("localisation", "landmarks", 0, "part"), 5, "of parts that are not there"),
        (("published", "images"), 15, "published: of 15 images, not of 16"),
        (("published", "present"), [], "present: of no part"),
        (("published", "present"), [0.5], "not of one evaluation"),
        (("specialisation", "images"), 15, "specialisation: of 15 images, not of 16"),
        (("specialisation", "lost"), [[0.5]], "not of one evaluation"),
        (("specialisation", "lost", 0), [0.5], "lost: not every classifier for every part"),
        (("specialisation", "specialisation"), None, "of nothing lost, or none of something"),
        (("localisation", "regression_errors"), {"\x1b": 0.5}, "not distances of the landmarks"),
    ],
)
def test_figures_that_contradict_each_other_are_named(run, path, value, said):
    whole = json.loads(figures_file(run).read_text())
    figures_file(run).write_text(json.dumps(changed(whole, path, value)))
    assert said in refusal(run)


def test_figures_of_millions_of_values_are_not_parsed(run):
    figures_file(run).write_text(f'{{"x": [{"0," * (VALUES + 1)}0]}}')
    assert "more than 4,000,000 values" in refusal(run)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.jsonl", '{"phase": "a"}', "metrics.jsonl:1: damaged (step: Field required)"),
        ("metrics.jsonl", '{"phase": "a", "step": 1}\n[', "metrics.jsonl:2: damaged"),
        ("metrics.jsonl", '{"phase": "a", "step": -1}', "damaged (step: "),
        ("metrics.jsonl", '{"phase": "a", "step": 1, "cls": "x"}', "damaged (cls: "),
        ("metrics.jsonl", '{"phase": "a", "step": 1, "cls": NaN}', "damaged (cls: "),
        ("metrics.jsonl", '{"phase": "a", "step": 1, "cls": 1e999}', "damaged (cls: "),
        ("metrics.jsonl", " " * (LINE_BYTES + 1), "metrics.jsonl:1: longer than"),
        ("env.json", '{"packages": []}', "env.json: damaged (packages: "),
        ("env.json", '{"command": "rm"}', "env.json: damaged (command: "),
        ("sources.json", '{"data.root": 1}', "sources.json: damaged (data.root: "),
        ("sources.json", "\ud800", "sources.json: damaged"),
    ],
)
def test_damaged_records_are_named_by_file_and_field(run, name, content, said):
    (run.folder / name).write_text(content, errors="surrogatepass")
    assert said in refusal(run)


@pytest.mark.parametrize("name", ["metrics.jsonl", "env.json", "report/eval-test.json"])
def test_a_pipe_is_not_waited_for(run, name):
    (run.folder / name).unlink()
    os.mkfifo(run.folder / name)
    assert f"{name}: not a regular file" in refusal(run)


def without_the_first(found):
    places = {n: v[1:] for n, v in vars(found.places).items() if isinstance(v, torch.Tensor)}
    return {
        "samples": found.samples[1:],
        "labels": found.labels[1:],
        "scores": Scores(*(value[1:] for value in vars(found.scores).values())),
        "places": replace(found.places, **places),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {"samples": p.samples + 1},
        lambda p: {"scores": Scores(p.scores.logits, p.scores.classifier_logits[:, :3])},
        lambda p: {"scores": None},
        lambda p: {"places": None},
        without_the_first,
    ],
)
def test_predictions_of_another_evaluation_are_refused(run, change):
    file = run.folder / "report" / "predictions-test.safetensors"
    found = read_predictions(file)
    write_predictions(file, replace(found, **change(found)))
    assert "evaluate again" in refusal(run)


@pytest.fixture
def without_pictures(monkeypatch):
    """Pages with empty pictures, which take their time."""

    class Blank:
        def __init__(self, *_, **__):
            self.plain = self.marked = lambda place: Markup("data:,")
            self.overlays = self.crops = lambda place: self.means()

        def means(self):
            return [Markup("data:,")] * 4

    monkeypatch.setattr(page, "Album", Blank)


class Tags(HTMLParser):
    """The tags and the names of the attributes of a page, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, [name for name, _ in attrs]))

    def handle_data(self, data):
        self.text.append(data)


def test_no_name_changes_the_page(run, without_pictures):
    """The same tags with plain names and hostile ones, which are cut and seen."""
    whole = json.loads(figures_file(run).read_text())
    pages = []
    for name in ("plain", HOSTILE):
        accuracy, place = whole["classification"], whole["localisation"]
        accuracy["classifiers"] = [f"{name}{i}"[-4096:] for i in range(5)]
        names = {match["landmark"]: f"{match['landmark']} {name}"[:4096]
                 for match in place["landmarks"]}  # fmt: skip
        for match in (*place["one_to_one"], *place["best"], *place["landmarks"]):
            match |= {"landmark": names[match["landmark"]], "region": name[:4096]}
        errors = place["regression_errors"].items()
        place["regression_errors"] = {names[k]: v for k, v in errors}
        figures_file(run).write_text(json.dumps(whole))
        whole = json.loads(figures_file(run).read_text())
        paths_of_settings = json.loads((run.folder / "sources.json").read_text())
        (run.folder / "sources.json").write_text(json.dumps(dict.fromkeys(paths_of_settings, name)))
        values = dict.fromkeys(("macnn", "python", "platform", "gpu", "commit"), name[:4096])
        values |= {"packages": {"torch": name[:4096]}, "command": [name]}
        (run.folder / "env.json").write_text(json.dumps(values))
        images = open_images(run.settings).split("test")
        odd = replace(images, class_names=tuple(f"{name} {i}" for i in range(16)), name=name)
        read = replace(read_contents(run.folder, run.settings, "test"), name=name)
        baseline = page.Baseline(name, read.figures.classification.joint)
        pages.append(page.render(read, odd, run.settings, baseline))
    plain, hostile = map(Tags, pages)
    assert hostile.tags == plain.tags
    assert all(c.isprintable() or c in "\n\N{NO-BREAK SPACE}" for c in pages[1])
    assert "\\x1b[2J\\u202egnp.exe\\n[bold]" in "".join(hostile.text)
    assert "z" * 2000 not in pages[1]


def test_two_classes_of_one_readable_name_are_told_apart(run, without_pictures):
    """What is right is decided by the class, not by the name that is shown of it."""
    read = read_contents(run.folder, run.settings, "test")
    images = open_images(run.settings).split("test")
    same = replace(images, class_names=tuple(f"{i:03}.Wren" for i in range(16)))
    assert "taken for Wren" in page.render(read, same, run.settings, None)
