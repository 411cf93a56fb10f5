import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file

from macnn.data.synth.classes import PARTS
from macnn.model.tiny import CHANNELS, TinyNet, tiny_weights_path


@pytest.mark.parametrize("side", [32, 112])
def test_features_have_stride_8_and_are_not_negative(side: int) -> None:
    features = TinyNet().eval()(torch.randn(2, 3, side, side))
    assert features.shape == (2, CHANNELS, side // 8, side // 8)
    assert features.min() >= 0


def test_packaged_weights_fit_the_network() -> None:
    TinyNet().load_state_dict(load_file(tiny_weights_path()), strict=True)


def test_packaged_weights_are_the_disclosed_ones_and_small() -> None:
    content = tiny_weights_path().read_bytes()
    facts = json.loads(tiny_weights_path().with_suffix(".json").read_text(encoding="utf-8"))
    assert hashlib.sha256(content).hexdigest() == facts["sha256"]
    assert len(content) == facts["bytes"] <= 2_000_000
    assert set(facts["accuracy"]) == set(PARTS)


def test_a_small_thing_peaks_in_the_cell_it_lies_in() -> None:
    torch.manual_seed(0)
    what = TinyNet().eval().what
    image = torch.zeros(1, 3, 112, 112)
    with torch.no_grad():
        empty = what(image)
        image[..., 48:56, 64:72] = 1
        change = (what(image) - empty).abs().sum(dim=1)[0]
    assert divmod(int(change.argmax()), 14) == (6, 8)
