from dataclasses import fields

import pytest
import torch

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
        telemetry=None,
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
    with pytest.raises(DataError, match=r"p\.safetensors: .*run 'macnn eval' again"):
        read_predictions(file)
