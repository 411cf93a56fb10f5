"""All that a model is to keep is in its `state_dict`, and nothing else fits."""

import os
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import nn

from macnn.errors import UsageError
from macnn.model import MACNN, PartLocator, PooledClassifier
from macnn.model.scale import Scale

RELOAD = """
import sys
import torch
from torch import nn
from macnn.model import MACNN, PartLocator, PooledClassifier

file, kind = sys.argv[1:]
saved = torch.load(file)
backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
model = {
    "macnn": lambda: MACNN(backbone, 2, 3, image_size=16),
    "locator": lambda: PartLocator(backbone, 2, image_size=16),
    "pooled": lambda: PooledClassifier(backbone, 3, image_size=16),
}[kind]()
model.load_state_dict(saved["state"])
again = model.eval()(saved["images"])
assert all(torch.equal(*pair) for pair in zip(again, saved["answer"], strict=True))
"""
KINDS = ("macnn", "locator", "pooled")


def made(kind, *, parts=2, classes=3, channels=8, layers=1):
    torch.manual_seed(0)
    deeper = [nn.Conv2d(channels, channels, 1) for _ in range(layers - 1)]
    convolution, norm = nn.Conv2d(3, channels, 3, 2, 1), nn.BatchNorm2d(channels)
    backbone = nn.Sequential(convolution, norm, nn.ReLU(), *deeper)
    model = {
        "macnn": lambda: MACNN(backbone, parts, classes, image_size=16),
        "locator": lambda: PartLocator(backbone, parts, image_size=16),
        "pooled": lambda: PooledClassifier(backbone, classes, image_size=16),
    }[kind]()
    model.feature_scale.set(1 / 3)
    if kind != "pooled":
        model.response_scale.set(1e2 / 7)
        model.responses.set(*(n / 7 for n in range(1, 2 * parts + 1)))
    return model


def images():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def same(one, other):
    pairs = zip(one.eval()(images()), other.eval()(images()), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def without_scales(kind):
    model = made(kind)
    for module in model.modules():
        if isinstance(module, Scale):
            module.set(1.0)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_answers_to_the_same_bit_in_another_process(kind, tmp_path):
    model = made(kind)
    for _ in range(3):
        model(images())  # moves what batch norms remember
    answer = tuple(model.eval()(images()))
    saved = {"state": model.state_dict(), "images": images(), "answer": answer}
    torch.save(saved, tmp_path / "model.pt")
    subprocess.run(
        [sys.executable, "-c", RELOAD, tmp_path / "model.pt", kind],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        check=True,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("assign", [True, False])
def test_scales_belong_to_the_state(kind, assign):
    model, plain = made(kind), without_scales(kind)
    assert not same(model, plain)
    plain.load_state_dict(model.state_dict(), assign=assign)
    assert same(model, plain)
    assert plain.feature_scale.number == model.feature_scale.number == 1 / torch.tensor(3.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_keeps_the_scales_and_shares_none(kind):
    model = made(kind)
    copy = deepcopy(model)
    assert same(model, copy)
    copy.feature_scale.set(5.0)
    assert model.feature_scale.number == pytest.approx(1 / 3)
    assert model.feature_scale.value == model.feature_scale.number


def test_a_scale_is_the_same_as_a_number_and_in_the_state():
    scale = Scale()
    assert (scale.number, scale.state_dict()["value"]) == (1.0, 1.0)
    scale.set(0.1)
    assert scale.number == scale.value.item() == torch.tensor(0.1).item()
    other = Scale()
    other.load_state_dict(scale.state_dict())
    assert other.number == scale.number


OTHERS = {
    "more parts": ("macnn", {"parts": 3}, "'grouping.w1' has shape (3, 8, 8), expected (2, 8, 8)"),
    "more classes": (
        "macnn", {"classes": 4}, "'classifiers.weight' has shape (3, 4, 8), expected (3, 3, 8)",
    ),
    "wider backbone": (
        "macnn", {"channels": 16}, "'backbone.0.weight' has shape (16, 3, 3, 3), expected (8,",
    ),
    "deeper backbone": ("macnn", {"layers": 2}, "'backbone.3.weight' is none of its tensors"),
    "no classifiers": ("locator", {}, "'classifiers.weight' is missing"),
    "no parts": ("pooled", {}, "'grouping.w1' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_the_state_of_another_model_is_refused_with_what_came_and_what_was_expected(name):
    kind, changes, message = OTHERS[name]
    model = made("macnn")
    before = deepcopy(model)
    with pytest.raises(ValueError, match="`state_dict`: not of this model") as refused:
        model.load_state_dict(made(kind, **changes).state_dict())
    assert isinstance(refused.value, UsageError)
    assert message in str(refused.value)
    assert same(model, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_without_its_scales_is_refused(kind):
    model = made(kind)
    state = model.state_dict()
    del state["feature_scale.value"]
    with pytest.raises(ValueError, match=r"'feature_scale\.value' is missing"):
        model.load_state_dict(state)


def test_what_is_no_tensor_is_refused():
    model = made("macnn")
    state = model.state_dict() | {"classifiers.bias": [0.0]}
    with pytest.raises(ValueError, match=r"'classifiers\.bias' is list, expected a tensor"):
        model.load_state_dict(state)


def test_not_strictly_what_fits_is_loaded():
    found, model = made("locator"), without_scales("macnn")
    result = model.load_state_dict(found.state_dict(), strict=False)
    assert sorted(result.missing_keys) == ["classifiers.bias", "classifiers.weight"]
    assert model.response_scale.number == found.response_scale.number


def test_a_model_without_memory_takes_a_state_and_its_scales():
    model = made("macnn")
    with torch.device("meta"):
        empty = MACNN(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()), 2, 3)
    empty.load_state_dict(model.state_dict(), assign=True)
    assert same(model, empty)
