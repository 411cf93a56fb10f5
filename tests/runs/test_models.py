import hashlib
import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from macnn.config import resolve
from macnn.errors import CheckpointError, UsageError
from macnn.model import MACNN, PartCNN, PartLocator, PooledClassifier
from macnn.model.backbones import from_timm
from macnn.model.specs import MACNNSpec, PartCNNSpec, build
from macnn.reading import parse_json
from macnn.runs.checkpoint import read_checkpoint
from macnn.runs.models import (
    continue_macnn,
    continue_pooled,
    fill,
    load,
    load_model,
    new_locator,
    new_macnn,
    new_part_cnn,
    new_pooled,
)

FLOAT = "backbone.body.what.0.weight"
SCALES = ("feature_scale.value", "response_scale.value")
INTEGER = "backbone.body.what.1.num_batches_tracked"


@pytest.fixture
def checkpoint(trained):
    return read_checkpoint(trained("macnn"))


@pytest.fixture
def holding(checkpoint, tmp_path):
    """A checkpoint of the same description that holds other tensors."""

    def write(tensors):
        file = tmp_path / "model.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return replace(checkpoint, folder=tmp_path, digests={file.name: digest})

    return write


def settings(**flags):
    given = {"data.image_size": 64} | {name.replace("__", "."): v for name, v in flags.items()}
    return resolve(flags=given, environ={}).settings


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


WRONG = {
    "what.0.weight' is missing": lambda t: without(t, FLOAT),
    "none of its": lambda t: t | {"further": torch.zeros(1)},
    "0.weight' is missing": lambda t: without(t, FLOAT) | {f"{FLOAT}\x1b[31m": t[FLOAT]},
    r"shape \(24, 4, 3, 4\), expected \(24, 3, 4, 4\)": lambda t: (
        t | {FLOAT: t[FLOAT].transpose(1, 2)}
    ),
    r"shape \(\),": lambda t: t | {FLOAT: torch.zeros(())},
    r"shape \(0,\)": lambda t: t | {FLOAT: torch.zeros(0)},
    "is int64, expected float32": lambda t: t | {FLOAT: t[FLOAT].long()},
    "is float32, expected int64": lambda t: t | {INTEGER: t[INTEGER].float()},
    "not finite": lambda t: t | {FLOAT: t[FLOAT].fill_(torch.nan)},
    "backbone.body.what.0.weight' is missing": lambda t: {},
}
TYPES = (
    *(torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.bool, torch.int8, torch.uint8, torch.int16, torch.int32, torch.uint32, torch.complex64),
)


@pytest.mark.parametrize("message", WRONG)
def test_tensors_that_are_not_exactly_the_networks_are_refused(checkpoint, holding, message):
    changed = holding(WRONG[message](checkpoint.tensors("model")))
    with pytest.raises(CheckpointError) as refused:
        load_model(changed)
    start = f"{changed.folder}: its tensors do not fit its network ("
    assert str(refused.value).startswith(start)
    assert str(refused.value).isprintable()
    with pytest.raises(CheckpointError, match=message):
        fill(build(checkpoint.network), changed)


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_tensors_of_any_other_type_are_refused(checkpoint, holding, kind):
    tensors = checkpoint.tensors("model")
    with pytest.raises(CheckpointError, match=f"is {str(kind)[6:]}, expected float32"):
        load_model(holding(tensors | {FLOAT: tensors[FLOAT].to(kind)}))


LIES = {
    "backbone": ("regnet_y_128gf", "vit_h_14", "nothing"),
    "tap": ("layer4",),
    "image_size": (16, 2048),
    "parts": (0, 1, 16),
    "classes": (0, 1, 100_000),
    "hidden": (1, 16_384),
}


@pytest.mark.parametrize("field", LIES)
def test_a_description_that_is_not_its_tensors_is_refused_before_it_takes_memory(
    checkpoint, monkeypatch, field
):
    made, real = [], torch.Tensor.uniform_
    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda t, *a, **k: made.append(t.device.type) or real(t, *a, **k)
    )
    for lie in LIES[field]:
        lied = replace(checkpoint, network=replace(checkpoint.network, **{field: lie}))
        if field == "tap":
            lied = replace(lied, network=replace(lied.network, backbone="resnet18"))
        with pytest.raises(CheckpointError, match=r"fit its network|cannot be built|damaged"):
            load_model(lied)
    assert set(made) <= {"meta"}


def test_a_network_of_timm_without_timm_names_the_extra(checkpoint, monkeypatch):
    monkeypatch.setattr(from_timm, "find_spec", lambda name: None)
    network = replace(checkpoint.network, backbone="timm/resnet18")
    with pytest.raises(CheckpointError, match=r"cannot be built .*pip install 'macnn\[timm\]'"):
        load_model(replace(checkpoint, network=network))


def test_where_parts_are_found_does_not_depend_on_what_is_checked_first(checkpoint):
    before = torch.random.get_rng_state()
    build(checkpoint.network)
    expected = torch.random.get_rng_state()
    torch.random.set_rng_state(before)
    load_model(checkpoint)
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_a_network_that_sees_other_images_than_the_settings_say_is_refused(checkpoint):
    other = replace(checkpoint, settings=settings(data__image_size=128))
    with pytest.raises(CheckpointError, match="sees 64 px and its settings say 128"):
        load_model(other)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, "is 0)"),
        (-1.0, "is -1)"),
        (2e30, "is 2e+30)"),
        (torch.nan, "holds a value that is not finite)"),
        (torch.inf, "holds a value that is not finite)"),
    ],
)
def test_a_scale_that_no_measurement_gives_is_refused(checkpoint, holding, name, value, message):
    changed = holding(checkpoint.tensors("model") | {name: torch.tensor(value)})
    for read in (load_model, lambda c: fill(build(c.network), c)):
        with pytest.raises(CheckpointError) as refused:
            read(changed)
        assert f"'{name}' {message}" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "model"), [("parts", PartLocator), ("macnn", MACNN), ("baseline", PooledClassifier)]
)
def test_a_model_is_loaded_with_its_tensors_and_scales(trained, kind, model):
    checkpoint = read_checkpoint(trained(kind))
    loaded = load(checkpoint, model)
    for name, value in checkpoint.tensors("model").items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert loaded.feature_scale.number == 1
    assert kind == "baseline" or loaded.response_scale.number == 2


def test_another_kind_of_model_is_refused(checkpoint):
    for kind in (PartCNN, PartLocator, PooledClassifier):
        with pytest.raises(CheckpointError, match="a 'macnn' checkpoint"):
            load(checkpoint, kind)


def test_a_part_cnn_is_loaded_as_it_was_made(checkpoint, holding):
    larger = settings(data__image_size=128, part_cnn__stream_size=32)
    spec, made = new_part_cnn(checkpoint, larger)
    assert isinstance(spec, PartCNNSpec)
    state = made.state_dict()
    kept = replace(holding(state), kind="part-cnn", network=spec, settings=larger)
    loaded = load(kept, PartCNN).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    (one, *_, last) = (stream.body.what[0].weight for stream in made.streams)
    assert torch.equal(one, last)
    assert one is not last


def test_responses_that_never_differ_are_refused(checkpoint, holding):
    responses = checkpoint.tensors("model")["responses.value"].clone()
    responses[1, 2] = 0
    changed = holding(checkpoint.tensors("model") | {"responses.value": responses})
    with pytest.raises(CheckpointError, match=r"'responses\.value' is 0\)"):
        load_model(changed)


@pytest.mark.parametrize("kind", ["parts", "baseline"])
def test_no_part_cnn_is_made_around_a_model_without_parts_or_classes(trained, kind):
    with pytest.raises(CheckpointError, match=f"a '{kind}' checkpoint"):
        new_part_cnn(read_checkpoint(trained(kind)), settings())


def test_a_part_cnn_sees_a_multiple_of_what_its_locator_does(checkpoint):
    with pytest.raises(UsageError, match=r"`data\.image_size` 100: .* finds parts at 64 px"):
        new_part_cnn(checkpoint, settings(data__image_size=100))


def test_found_parts_are_gone_on_from_with_their_scales(trained):
    parts = read_checkpoint(trained("parts"))
    start = load(parts, PartLocator)
    _, model = continue_macnn(parts, settings(model__gain=3.0), classes=16)
    assert model.response_scale.number == 3 * start.response_scale.number
    assert model.feature_scale.number == start.feature_scale.number
    assert torch.equal(model.responses.value, start.responses.value)
    for name in ("backbone", "grouping"):
        own, found = (getattr(each, name).state_dict() for each in (model, start))
        assert all(torch.equal(own[key], value) for key, value in found.items())


def test_a_gain_beyond_what_a_checkpoint_may_hold_is_refused(trained, holding):
    parts = read_checkpoint(trained("parts"))
    tensors = parts.tensors("model") | {"response_scale.value": torch.tensor(8e29)}
    far = replace(holding(tensors), kind="parts", network=parts.network)
    continue_macnn(far, settings(), classes=16)
    with pytest.raises(UsageError, match=r"`model\.gain` 2: responses would be .* 1\.6e\+30"):
        continue_macnn(far, settings(model__gain=2.0), classes=16)


def test_the_baseline_goes_on_from_the_backbone_of_found_parts(trained):
    parts = read_checkpoint(trained("parts"))
    found = load(parts, PartLocator).backbone.state_dict()
    spec, model = continue_pooled(parts, settings(model__parts=7), classes=16)
    assert spec.classes == model.classes == 16
    assert all(torch.equal(model.backbone.state_dict()[key], v) for key, v in found.items())


@pytest.mark.parametrize(
    ("path", "value"), [("model.parts", 3), ("model.hidden", 9), ("data.image_size", 128)]
)
def test_settings_that_contradict_found_parts_are_refused(trained, path, value):
    parts = read_checkpoint(trained("parts"))
    with pytest.raises(UsageError, match=f"`{path}` {value}: .* has"):
        continue_macnn(parts, settings(**{path.replace(".", "__"): value}), classes=16)


def test_what_is_made_of_settings_can_be_read_back(trained):
    for new in (new_macnn, new_pooled):
        with pytest.raises(UsageError, match="classes: Input should be less than"):
            new(settings(), classes=10**6)
    parts = read_checkpoint(trained("parts"))
    kept, _ = continue_macnn(parts, settings(), classes=16)
    content = json.dumps(asdict(kept)).encode()
    assert parse_json(content, parts.folder, MACNNSpec, CheckpointError) == kept
    spec, locator = new_locator(settings())
    assert (spec.parts, locator.map_shape) == (4, (128, 8, 8))
