import json
import shutil

import pytest

from macnn import events
from macnn.inference.export import export
from macnn.runs.checkpoint import read_checkpoint


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained("macnn"), tmp_path / "finches")


def card(run, form="safetensors"):
    checkpoint, output = read_checkpoint(run), run.parent / "out"
    export(checkpoint, output, form, tolerance=1e-4, overwrite=True, listen=events.silent)
    return (output / "README.md").read_text()


def evaluation(step, top5=1.0):
    score = {"top1": 0.875, "top5": top5, "standard_error": 0.0125}
    parts = [{**score, "top1": top1} for top1 in (0.5, 0.625)]
    classification = {
        "joint": score,
        "parts": parts,
        "classifiers": ["part 1", "part 2"],
        "calibration_error": 0.0625,
    }
    return {
        "step": step,
        "split": "test",
        "images": 64,
        "classification": classification,
        "localisation": {"pck10": 0.25, "pck15": 0.75},
    }


def test_a_card_gives_data_protocol_and_figures_with_their_run(run):
    (run / "report").mkdir()
    (run / "report" / "eval-test.json").write_text(json.dumps(evaluation(step=5)))
    environment = json.loads((run / "env.json").read_text())
    (run / "env.json").write_text(json.dumps(environment | {"commit": "abc123"}))
    text = card(run)
    for words in (
        "# finches",
        "MA-CNN with 4 parts: it names one of 16",
        "Data set: birds, 16 classes",
        "Backbone: tiny, 64 px, crop",
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
