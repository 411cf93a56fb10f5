import json
import re

import numpy as np
import onnxruntime
import pytest
import torch

from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.inference.formats import FORMATS
from macnn.inference.preprocessing import preprocessing
from macnn.inference.recogniser import open_recogniser
from macnn.runs.checkpoint import read_checkpoint

BUG, USAGE, CHECKPOINT = 1, 2, 4


def test_an_exported_model_runs_in_onnxruntime_and_the_difference_is_printed(
    macnn, trained, tmp_path
):
    output = tmp_path / "out"
    code, out, err = macnn(
        "export", "--checkpoint", trained("macnn"), "--format", "onnx", "--output", output
    )
    assert code == 0, err
    printed = re.search(r"largest difference of a logit +│ +([\d.e-]+)", out)
    assert float(printed[1]) <= 1e-4
    session = onnxruntime.InferenceSession(output / "model.onnx")
    for count in (1, 4):
        images = np.zeros((count, 3, 64, 64), np.uint8)
        logits, boxes = session.run(None, {"images": images})
        assert (logits.shape, boxes.shape) == ((count, 16), (count, 4, 4))


def test_json_prints_the_description_that_is_saved(macnn, trained, tmp_path):
    code, out, err = macnn(
        "export", "--checkpoint", trained("macnn"), "--output", tmp_path / "out", "--json"
    )
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert printed.pop("output") == str(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "model.json").read_text()) == printed
    assert printed["file_format"] == "safetensors"


def test_a_difference_beyond_the_tolerance_is_an_error(macnn, trained, tmp_path):
    output = tmp_path / "out"
    code, out, err = macnn(
        "export", "--checkpoint", trained("macnn"), "--output", output, "--tolerance", -1, "-q"
    )
    assert (code, out) == (BUG, "")
    assert "logits of the exported model are up to 0 off" in err
    assert "--tolerance" in err
    assert not output.exists()


def test_what_cannot_be_exported_is_named(macnn, trained, tmp_path):
    code, _, err = macnn("export", "--checkpoint", trained("parts"), "--output", tmp_path / "out")
    assert code == CHECKPOINT
    assert "cannot name classes" in err
    (tmp_path / "thesis.tex").touch()
    code, _, err = macnn(
        "export", "--checkpoint", trained("macnn"), "--output", tmp_path, "--overwrite"
    )
    assert code == USAGE
    assert "not an export of macnn" in err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["macnn", "baseline"])
def test_exports_agree_on_all_real_test_images(macnn, real_birds, real_weights, tmp_path, kind):
    common = (
        "--data", real_birds, "--backbone", "squeezenet1_0", "--weights", real_weights,
        "--img-size", 96, "--set", "data.validation=0",
    )  # fmt: skip
    short = ("--rounds", 1, "--epochs", 1)
    parts, run = tmp_path / "parts", tmp_path / "run"
    if kind == "macnn":
        code, _, err = macnn("pretrain-parts", *common, "--fit-steps", 50, "--output", parts, "-q")
        assert code == 0, err
        code, _, err = macnn(
            "train", "--init", parts, *short, "--grouping-steps", 2, "--output", run, "-q"
        )
    else:
        code, _, err = macnn("train", *common, "--parts", 0, *short, "--output", run, "-q")
    assert code == 0, err

    checkpoint = read_checkpoint(run)
    models = {"original": open_recogniser(checkpoint)}
    for name in ("torch-export", "onnx"):
        code, _, err = macnn(
            "export", "--checkpoint", run, "--format", name, "--output", tmp_path / name, "-q"
        )
        assert code == 0, err
        models[name] = FORMATS[name].run(tmp_path / name)
    geometry = preprocessing(checkpoint).geometry()
    images = read_cub(real_birds).split("test")
    answers = {name: [] for name in models}
    for batch in Loader(ImageDataset(images, geometry, seed=0), 32).epoch():
        with torch.inference_mode():
            for name, model in models.items():
                answers[name].append(model(batch.images).logits)
    expected, *others = (torch.cat(logits) for logits in answers.values())
    assert len(expected) == len(images.samples)
    assert len(expected.argmax(1).unique()) > 1
    for logits in others:
        assert (logits - expected).abs().max() <= 1e-4
        assert torch.equal(logits.argmax(1), expected.argmax(1))
