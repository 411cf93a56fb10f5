import hashlib
import json

import torch

from macnn.model.tiny import TinyNet, tiny_weights_path


def test_the_packaged_weights_are_the_disclosed_ones_and_small():
    file = tiny_weights_path()
    facts = json.loads(file.with_suffix(".json").read_text())
    content = file.read_bytes()
    assert hashlib.sha256(content).hexdigest() == facts["sha256"]
    assert len(content) == facts["bytes"] <= 2_000_000


def test_features_are_not_negative_and_at_stride_eight():
    features = TinyNet().eval()(torch.randn(2, 3, 112, 112))
    assert features.shape == (2, 128, 14, 14)
    assert (features >= 0).all()
