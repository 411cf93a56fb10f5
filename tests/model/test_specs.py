import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from macnn.errors import CheckpointError
from macnn.model import MACNN, PartCNN, PartLocator, PooledClassifier
from macnn.model.specs import LocatorSpec, MACNNSpec, PartCNNSpec, PooledSpec, Spec, build
from macnn.reading import parse_json

SEEN = {
    "backbone": "tiny",
    "tap": None,
    "map_tap": None,
    "split_signs": False,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "image_size": 64,
}
FOUND = SEEN | {"parts": 2, "hidden": 8, "activation": "sigmoid", "power": 8.0}
FOUND["competition"] = 1.0
CLASSIFIED = FOUND | {
    "classes": 5,
    "part_features": "plain",
    "map_gradient": False,
    "whole_image": False,
}
PART_CNN = PartCNNSpec(
    **CLASSIFIED | {"image_size": 128},
    locator_size=64,
    stream_size=32,
    part_share=0.25,
    object_threshold=0.5,
    shared=False,
)
SPECS = {
    PartLocator: LocatorSpec(**FOUND),
    MACNN: MACNNSpec(**CLASSIFIED),
    PooledClassifier: PooledSpec(**SEEN, classes=5),
    PartCNN: PART_CNN,
}
NEVER = ({}, [], "", "x" * 201, -1, 2**200, 1e300, float("nan"), float("inf"))
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=[kind.__name__ for kind in SPECS])


def read(content, form):
    return parse_json(json.dumps(content).encode(), Path("spec"), form, CheckpointError)


@each_spec
def test_a_description_is_read_back(spec):
    assert read(asdict(spec), type(spec)) == spec
    assert read(asdict(spec), Spec) == spec


@each_spec
def test_no_field_of_a_description_holds_anything_unbearable(spec):
    for name in asdict(spec):
        for wrong in NEVER:
            with pytest.raises(CheckpointError, match=r"^spec: damaged \("):
                read(asdict(spec) | {name: wrong}, type(spec))
    for content in (asdict(spec) | {"further": 1}, {}, [], None, 1):
        with pytest.raises(CheckpointError, match=r"^spec: damaged \("):
            read(content, type(spec))


@each_spec
def test_no_field_of_a_description_goes_without_saying(spec):
    for field in fields(spec):
        content = asdict(spec)
        del content[field.name]
        with pytest.raises(CheckpointError, match=f"{field.name}: "):
            read(content, type(spec))
        with pytest.raises(TypeError, match=field.name):
            type(spec)(**content)


@pytest.mark.parametrize("kind", SPECS)
def test_a_description_is_built_into_what_it_describes(kind):
    spec = SPECS[kind]
    model = build(spec)
    assert type(model) is kind
    for name in ("parts", "classes", "image_size", "power", "map_gradient", "stream_size"):
        if hasattr(model, name):
            assert getattr(model, name) == getattr(spec, name)
    if kind in (PartLocator, MACNN):
        assert model.grouping.w1.shape == (2, 8, 128)
    if kind is PartCNN:
        assert model.locator.image_size == 64
        assert len(model.streams) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 100}, "100 px are no multiple of 64"),
        ({"stream_size": 2048}, "4 streams of 2048 px see 16,777,216 pixels, more than 4,194,304"),
    ],
)
def test_fields_of_a_part_cnn_that_do_not_go_together_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PartCNNSpec(**asdict(PART_CNN) | change)
    with pytest.raises(CheckpointError, match=message):
        read(asdict(PART_CNN) | change, PartCNNSpec)


@pytest.mark.parametrize(("kind", "field"), [(MACNN, "parts"), (MACNN, "classes"),
                                             (PartCNN, "parts"), (PartCNN, "classes")])  # fmt: skip
def test_none_of_something_is_no_description(kind, field):
    with pytest.raises(CheckpointError, match=f"{field}: Input should be greater than or equal"):
        read(asdict(SPECS[kind]) | {field: 0}, type(SPECS[kind]))
