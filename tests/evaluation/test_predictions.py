import os
from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file, save_file

from macnn.errors import DataError
from macnn.evaluation.predictions import Predictions, read_predictions, write_predictions
from macnn.model.alignment import CellGrid


def predictions(parts):
    maps = torch.rand(3, parts, 2, 2).half() if parts else None
    return Predictions(
        samples=torch.arange(3),
        labels=torch.tensor([0, 1, 0]),
        logits=torch.randn(3, max(parts, 1), 2),
        joint=torch.randn(3, 2),
        attention=maps,
        centres=torch.rand(3, parts, 2) if parts else None,
        owners=torch.zeros(3, 5, dtype=torch.int64) if parts else None,
        grid=CellGrid((2, 2), (7.5, 8.0), (16.0, 15.5)) if parts else None,
        attention_metrics=None,
    )


@pytest.mark.parametrize("parts", [0, 2])
def test_what_is_written_is_read_back(tmp_path, parts):
    written = predictions(parts)
    write_predictions(tmp_path / "p.safetensors", written)
    read = read_predictions(tmp_path / "p.safetensors")
    for field in fields(Predictions):
        before, after = (getattr(each, field.name) for each in (written, read))
        assert torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after


@pytest.mark.parametrize("content", [None, b"", b"not safetensors"])
def test_a_missing_or_damaged_file_is_named(tmp_path, content):
    file = tmp_path / "p.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"p\.safetensors: .*evaluate again"):
        read_predictions(file)


NAN = float("nan")


def put(name, value, at=(0,)):
    """A change: the element `at` of a tensor becomes `value`."""

    def change(tensors):
        tensors[name][at] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("samples"), "samples: missing"),
        (lambda t: t.pop("joint"), "joint: missing"),
        (lambda t: t.pop("grid"), "grid: missing"),
        (lambda t: t.update(labels=t["labels"].int()), "labels: expected torch.int64"),
        (lambda t: t.update(attention=t["attention"][0]), "attention: expected .* of 4 dimensions"),
        (lambda t: t.update(joint=t["joint"][:, :1]), "joint: shape"),
        (lambda t: t.update(centres=torch.rand(3, 2, 3)), "centres: shape"),
        (lambda t: t.update(grid=torch.ones(2, 2)), "grid: shape"),
        (lambda t: t.update({k: v[:0] for k, v in t.items() if k != "grid"}), "samples: shape"),
        (put("samples", -1), "samples: negative"),
        (put("samples", 1), "samples: an image comes twice"),
        (put("samples", 2**62), "samples: not finite, or beyond"),
        (put("labels", 2), "labels: more classes than logits"),
        (put("owners", 2, (0, 0)), "owners: not parts"),
        (put("logits", NAN, (0, 0, 0)), "logits: not finite"),
        (put("joint", -float("inf"), (0, 0)), "joint: not finite"),
        (put("attention", NAN, (0, 0, 0, 0)), "attention: not finite"),
        (put("attention", -0.5, (0, 0, 0, 0)), "attention: negative"),
        (put("attention", 0, (0, 0)), "attention: zero everywhere"),
        (put("centres", 1e30, (0, 0, 0)), "centres: not finite, or beyond"),
        (put("grid", 3, (0, 0)), "grid: not that of the attention"),
        (put("grid", 0, (2, 1)), "grid: not that of the attention"),
        (put("grid", NAN, (1, 1)), "grid: not finite"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, said):
    file = tmp_path / "p.safetensors"
    write_predictions(file, predictions(2))
    tensors = load_file(file)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    with pytest.raises(DataError, match=rf"damaged \({said}.*; evaluate again"):
        read_predictions(file)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.safetensors")
    with pytest.raises(DataError, match="not a regular file"):
        read_predictions(tmp_path / "p.safetensors")
