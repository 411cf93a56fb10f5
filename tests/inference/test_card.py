import json
import shutil
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from macnn import events
from macnn.commands.export import export
from macnn.errors import DataError
from macnn.evaluation.metrics import CALIBRATION_BINS
from macnn.inference.card import model_card
from macnn.runs.checkpoint import read_checkpoint
from macnn.text import shown

DESCRIPTION = {
    "file": "model.safetensors",
    "file_format": "safetensors",
    "kind": "macnn",
    "macnn": "1",
    "step": 5,
    "classes": ["auk", "tern"],
    "network": {"parts": 2, "backbone": "tiny", "tap": None, "map_tap": None},
    "preprocessing": {
        "size": 64,
        "resize_mode": "crop",
        "interpolation": "bilinear",
        "normalisation": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    },
    "parity": {"batches": [1, 3], "logits": 1e-7},
}


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained("macnn"), tmp_path / "finches")


def card(run, form="safetensors"):
    checkpoint, output = read_checkpoint(run), run.parent / "out"
    export(checkpoint, output, form, tolerance=1e-4, overwrite=True, listen=events.silent)
    return (output / "README.md").read_text()


def note(run, **more):
    """Change what env.json says."""
    known = json.loads((run / "env.json").read_text())
    (run / "env.json").write_text(json.dumps(known | more))


def evaluation(step, top5=1.0, classifiers=("part 1", "part 2")):
    score = {"top1": 0.875, "top5": top5, "standard_error": 0.0125}
    bins = [{"images": 0, "confidence": None, "accuracy": None}] * (CALIBRATION_BINS - 1)
    classification = {
        "images": 64,
        "class_names": ["auk", "tern"],
        "joint": score,
        "parts": [{**score, "top1": top1} for top1 in (0.5, 0.625)],
        "classifiers": classifiers,
        "per_class": [0.875, None],
        "confusion": [[56, 8], [0, 0]],
        "calibration_error": 0.0625,
        "reliability": [*bins, {"images": 64, "confidence": 0.9, "accuracy": 0.875}],
    }
    localisation = {"images": 64, "pck10": 0.25, "pck15": 0.75, "regression_errors": {}}
    localisation |= {name: [] for name in ("one_to_one", "best", "regions", "landmarks")}
    localisation |= dict.fromkeys(("regression_error", "nmi", "ari"))
    return {
        "kind": "macnn",
        "step": step,
        "split": "test",
        "images": 64,
        "classification": classification,
        "localisation": localisation,
        "attention_metrics": None,
    }


def test_a_card_gives_data_protocol_and_figures_with_their_run(run):
    (run / "report").mkdir()
    (run / "report" / "eval-test.json").write_text(json.dumps(evaluation(step=5)))
    note(run, commit="abc123")
    text = card(run)
    for words in (
        "# finches",
        "MA-CNN with 4 parts: it names one of 16",
        "Data set: birds, 16 classes",
        "Backbone: tiny\n",
        "Images: 64 px, crop, bilinear; ",
        "by mean 0.5, 0.5, 0.5 and standard deviation 0.5, 0.5, 0.5 (red",
        "optimiser step 5",
        "Run: finches, commit abc123",
        "| test, 64 images | top-1 | top-5 |",
        "| joint | 0.875 ± 0.013 | 1.000 |",
        "| part 2 alone | 0.625 | 1.000 |",
        "calibration error: 0.062",
        "0.250 / 0.750",
        'macnn.load("this folder")',
    ):
        assert words in text, words


def test_a_card_of_few_classes_has_no_top5(run):
    (run / "report").mkdir()
    (run / "report" / "eval-test.json").write_text(json.dumps(evaluation(step=5, top5=None)))
    text = card(run)
    assert "| test, 64 images | top-1 |\n|---|---|\n| joint | 0.875 ± 0.013 |\n" in text
    assert "| part 2 alone | 0.625 |\n" in text


def test_figures_of_another_checkpoint_are_not_its_figures(run):
    (run / "report").mkdir()
    (run / "report" / "eval-test.json").write_text(json.dumps(evaluation(step=4)))
    text = card(run)
    assert "0.875" not in text
    assert "has not been evaluated" in text


def test_licences_are_left_to_the_user_and_no_path_of_the_machine_is_told(run):
    text = card(run)
    front = text.split("---")[1]
    assert "license:  #" in front
    assert "*To be filled in*: of the weights" in text
    assert str(run.parent) not in text


HOSTILE = "<img src=x>|`` [x](javascript:1)\n---\nlicense: mit\n# *H* ${{x}}\u202e"


def test_names_are_text_not_markup(run, tmp_path):
    """The same blocks, cells and code as with plain names, and no HTML, link or emphasis."""
    read = []
    for name in ("plain", HOSTILE):
        run = run.rename(tmp_path / name)
        figures = evaluation(5, classifiers=[name, name])
        (run / "report").mkdir(exist_ok=True)
        (run / "report" / "eval-test.json").write_text(json.dumps(figures))
        note(run, commit=name)
        checkpoint = read_checkpoint(run)
        data = checkpoint.settings.data.model_copy(update={"root": tmp_path / name})
        settings = checkpoint.settings.model_copy(update={"data": data})
        text = model_card(replace(checkpoint, settings=settings), DESCRIPTION)
        assert text.startswith("---\nlicense:  # yours to choose")
        read.append(MarkdownIt().enable("table").parse(text.split("---\n", 2)[2]))
    inlines = [[t.type for block in each for t in block.children or []] for each in read]
    assert [block.type for block in read[0]] == [block.type for block in read[1]]
    assert [t for t in inlines[1] if t != "text_special"] == inlines[0]
    texts = ["".join(t.content for t in block.children or []) for block in read[1]]
    assert shown(HOSTILE) in texts


def test_damaged_figures_are_named_and_nothing_is_exported(run):
    (run / "report").mkdir()
    (run / "report" / "eval-test.json").write_text('{"step": "5"}')
    with pytest.raises(DataError, match=r"eval-test\.json: damaged \(.*; evaluate again"):
        card(run)
    assert not (run.parent / "out").exists()


def test_a_damaged_environment_is_named(run):
    note(run, commit=["a"])
    with pytest.raises(DataError, match=r"env\.json: damaged \(commit: "):
        card(run)
