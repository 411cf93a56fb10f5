import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from macnn.errors import DataError
from macnn.evaluation.predictions import (
    Places,
    Predictions,
    Scores,
    read_predictions,
    write_predictions,
)
from macnn.model.alignment import CellGrid


def predictions(parts):
    places = Places(
        attention=torch.rand(3, parts, 2, 2).half(),
        centres=torch.rand(3, parts, 2),
        owners=torch.zeros(3, 5, dtype=torch.int64),
        grid=CellGrid((2, 2), (7.5, 8.0), (16.0, 15.5)),
    )
    return Predictions(
        samples=torch.arange(3),
        labels=torch.tensor([0, 1, 0]),
        scores=Scores(torch.randn(3, 2), torch.randn(3, max(parts, 1), 2)),
        places=places if parts else None,
    )


def flat(found):
    """All that is in predictions, by name."""
    groups = (found, found.scores, found.places)
    return {name: value for group in groups if group for name, value in vars(group).items()}


@pytest.mark.parametrize("parts", [0, 2])
def test_what_is_written_is_read_back(tmp_path, parts):
    written = predictions(parts)
    write_predictions(tmp_path / "p.safetensors", written)
    read = read_predictions(tmp_path / "p.safetensors")
    before, after = flat(written), flat(read)
    assert before.keys() == after.keys()
    for name in before.keys() - {"scores", "places"}:
        same = torch.equal if isinstance(before[name], torch.Tensor) else CellGrid.__eq__
        assert same(before[name], after[name]), name
    assert (read.places is None) == (parts == 0)


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
        (lambda t: t.pop("logits"), "logits: missing"),
        (lambda t: t.pop("grid"), "grid: missing"),
        (lambda t: t.update(labels=t["labels"].int()), "labels: expected torch.int64"),
        (lambda t: t.update(attention=t["attention"][0]), "attention: expected .* of 4 dimensions"),
        (lambda t: t.update(logits=t["logits"][:, :1]), "logits: shape"),
        (lambda t: t.update(centres=torch.rand(3, 2, 3)), "centres: shape"),
        (lambda t: t.update(grid=torch.ones(2, 2)), "grid: shape"),
        (lambda t: t.update({k: v[:0] for k, v in t.items() if k != "grid"}), "samples: shape"),
        (put("samples", -1), "samples: negative"),
        (put("samples", 1), "samples: an image comes twice"),
        (put("samples", 2**62), "samples: not finite, or beyond"),
        (put("labels", 2), "labels: more classes than logits"),
        (put("owners", 2, (0, 0)), "owners: not parts"),
        (put("classifier_logits", NAN, (0, 0, 0)), "classifier_logits: not finite"),
        (put("logits", -float("inf"), (0, 0)), "logits: not finite"),
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
