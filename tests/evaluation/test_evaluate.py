import pytest
import torch
from torch.testing import assert_close

from macnn import events
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.errors import DataError
from macnn.evaluation.evaluate import evaluate
from macnn.evaluation.predict import keypoint_tensors, predict
from macnn.model import MACNN, Output, create_backbone


def loader(birds, split="test", batch_size=16, mode="squash"):
    view = geometry(64, mode)
    return Loader(ImageDataset(read_cub(birds).split(split), view, seed=0), batch_size)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MACNN(create_backbone("tiny"), 4, 16, image_size=64)


def test_every_image_counts_once_whatever_the_batch(birds, network):
    results = [
        predict(network, loader(birds, batch_size=size).epoch(), margin=0.02)[0] for size in (5, 16)
    ]
    for result in results:
        assert result.samples.tolist() == list(range(16))
    one, other = (result.scores for result in results)
    assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-4)
    assert_close(one.logits, one.classifier_logits.sum(dim=1))


@pytest.mark.parametrize("mode", ["squash", "pad", "crop"])
def test_a_part_that_sits_on_a_keypoint_is_measured_to_sit_there(birds, network, mode, monkeypatch):
    """Maps that peak at the tail's cell: the centre must land within a cell of the tail."""
    data = loader(birds, mode=mode)
    points, _ = keypoint_tensors(data.dataset.images)
    batch = next(iter(data.epoch()))
    framed = points[:, 3:] * batch.frames[:, None, :, 0] + batch.frames[:, None, :, 1]
    cells = (network.grid.to_fractions(framed) * 8 - 0.5).round().long().clamp(0, 7)[:, 0]
    maps = torch.full((16, 1, 8, 8), 1e-6)
    maps[torch.arange(16), 0, cells[:, 1], cells[:, 0]] = 1
    logits = torch.zeros(16, 1, 16)
    monkeypatch.setattr(MACNN, "forward", lambda *_: Output(logits[:, 0], logits, maps))
    found, _ = predict(network, data.epoch(), margin=0.02)
    inside = ((framed > 0) & (framed < 64)).all(dim=2)[:, 0]
    error = (found.places.centres[:, 0] - points[:, 3]).abs().amax(dim=1)
    assert (error[inside] <= 6).all()


def test_an_empty_split_is_refused(birds, network):
    with pytest.raises(DataError, match="no image in the validation split"):
        evaluate(
            network,
            loader(birds, "validation"),
            None,
            split="validation",
            margin=0.02,
            listen=events.silent,
        )
