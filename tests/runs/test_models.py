import hashlib
import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from macnn.config import resolve
from macnn.errors import CheckpointError, UsageError
from macnn.model import NetworkSpec, PartCNNSpec, build_network
from macnn.model.backbones import BackboneSpec, build_backbone
from macnn.runs.checkpoint import read_checkpoint
from macnn.runs.networks import (
    continue_network,
    fill,
    load_model,
    load_part_cnn,
    new_network,
    new_part_cnn,
)

FLOAT = "backbone.body.what.0.weight"
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
        fill(build_network(checkpoint.network), changed)


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


def test_where_parts_are_found_does_not_depend_on_what_is_checked_first(checkpoint):
    before = torch.random.get_rng_state()
    build_network(checkpoint.network)
    expected = torch.random.get_rng_state()
    torch.random.set_rng_state(before)
    load_model(checkpoint)
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_a_network_that_sees_other_images_than_the_settings_say_is_refused(checkpoint):
    other = replace(checkpoint, settings=settings(data__image_size=128))
    with pytest.raises(CheckpointError, match="sees 64 px and its settings say 128"):
        load_model(other)


def test_a_description_of_another_kind_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match="a 'macnn' checkpoint"):
        load_part_cnn(checkpoint)
    with pytest.raises(CheckpointError, match="a 'part-cnn' checkpoint"):
        load_model(replace(checkpoint, kind="part-cnn"))


def test_a_part_cnn_is_loaded_as_it_was_made(checkpoint, holding):
    made = new_part_cnn(checkpoint, settings(data__image_size=128, part_cnn__stream_size=32))
    assert isinstance(made.spec, PartCNNSpec)
    state = made.state_dict()
    kept = replace(holding(state), kind="part-cnn", network=made.spec)
    loaded = load_model(replace(kept, settings=settings(data__image_size=128))).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    (one, *_, last) = (stream.body.what[0].weight for stream in made.streams)
    assert torch.equal(one, last)
    assert one is not last


def test_no_part_cnn_is_made_around_a_network_without_parts(trained):
    with pytest.raises(UsageError, match="no parts, or no classes"):
        new_part_cnn(read_checkpoint(trained("baseline")), settings())


def test_what_is_made_of_settings_can_be_read_back(trained):
    with pytest.raises(UsageError, match="classes: Input should be less than"):
        new_network(settings(), classes=10**6)
    parts = read_checkpoint(trained("parts"))
    far = replace(parts, network=replace(parts.network, response_scale=1e30))
    with pytest.raises(UsageError, match="response_scale: Input should be less than"):
        continue_network(far, settings(model__gain=2.0), classes=16)
    kept = continue_network(parts, settings(), classes=16).spec
    assert NetworkSpec(**json.loads(json.dumps(asdict(kept)))) == kept
    assert build_backbone(BackboneSpec(kept.backbone), None).map_shape(64) == (128, 8, 8)
