import argparse
import io
import os
import re
import tempfile
import zipfile
from collections import OrderedDict
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import nn

from macnn.errors import CheckpointError
from macnn.model.weights import load_into, mismatch, read_weights


def create():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))


@pytest.fixture
def network():
    return create()


KEYS = ["state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema"]
PREFIXES = ["module.", "model.", "backbone.", "_orig_mod."]


def named(prefix, value=1.0):
    """Tensors of the network, of one value."""
    tensors = create().state_dict()
    return {prefix + name: torch.full_like(tensor, value) for name, tensor in tensors.items()}


def loaded(content, suffix):
    """The one value of the weights that are loaded from a file of this content."""
    network = create()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"weights{suffix}"
        file.write_bytes(content)
        load_into(network, read_weights(file), "weights x", "net")
    (value,) = {v for tensor in network.state_dict().values() for v in tensor.unique().tolist()}
    return value


def saved(content, **options):
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(KEYS), max_size=4),
    st.lists(st.sampled_from(PREFIXES), max_size=4).map("".join),
    st.sampled_from([".pth", ".pt", ".bin"]),
    st.booleans(),
)
def test_any_nesting_of_wrappings_reads_to_the_same_tensors(keys, prefix, suffix, zipped):
    content = named(prefix)
    for key in keys:
        content = {"epoch": 3, key: content, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    content = saved(content, _use_new_zipfile_serialization=zipped)
    assert loaded(content, suffix) == 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([*PREFIXES, *(f"{key}." for key in KEYS)]), max_size=6))
def test_safetensors_names_are_unwrapped(prefixes):
    content = named("".join(prefixes)) | {
        "head.weight": torch.zeros(2),
        "n_averaged": torch.ones(1),
    }
    assert loaded(save(content), ".safetensors") == 1


def test_prefixes_are_those_under_which_most_of_the_network_is_found(network):
    teacher = {"module.model." + name: t for name, t in list(named("", 2).items())[:3]}
    load_into(network, teacher | named("model.") | {"0.bias": torch.zeros(4)}, "weights x", "net")
    assert network[0].bias.eq(1).all()


def test_a_network_may_have_a_module_named_as_a_wrapping():
    network = nn.Sequential(OrderedDict(model=nn.Conv2d(1, 1, 1), module=nn.Conv2d(1, 1, 1)))
    tensors = {f"model.{name}": torch.ones_like(t) for name, t in network.state_dict().items()}
    load_into(network, tensors, "weights x", "net")
    assert all(tensor.eq(1).all() for tensor in network.parameters())


@pytest.mark.parametrize("keys", [KEYS, KEYS[::-1]])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_of_several_state_dictionaries_averaged_ones_come_last(keys, suffix):
    for first in range(len(KEYS)):
        held = {key: named("module.", KEYS.index(key)) for key in keys if key in KEYS[first:]}
        flat = {f"{key}.{name}": t for key in held for name, t in held[key].items()}
        content = saved(held | {"args": None}) if suffix == ".pth" else save(flat)
        assert loaded(content, suffix) == first


def test_an_architecture_by_name_under_a_wrapping_key_is_no_state_dictionary():
    held = {"state_dict": {"layers": 2}, "model": "resnet50", "state_dict_ema": named("module.")}
    assert loaded(saved(held), ".pth") == 1


def test_a_checkpoint_that_holds_itself_is_read():
    held = {"model": {"epoch": 3}, "model_ema": named("")}
    held["model"]["state_dict"] = held
    assert loaded(saved(held), ".pth") == 1


def test_a_state_dictionary_with_attributes_in_place_of_methods_is_refused(tmp_path):
    odd = OrderedDict(named(""))
    odd.itemz = 5
    content = saved(odd, _use_new_zipfile_serialization=False).replace(b"itemz", b"items")
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pth is not a state dictionary"):
        read_weights(tmp_path / "a.pth")


class _Config(dict):
    """A configuration as libraries have them: items, attributes and a class of its own."""

    def __init__(self):
        super().__init__(lr=0.1)
        self.frozen = True


class _Kind(Enum):
    SGD = "sgd"


class _Never:
    def __init__(self):
        self.here = True

    def __setstate__(self, _):
        pytest.fail("code in a weights file was executed")


def checkpoint(**further):
    network = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    states = {"optimizer": optimizer.state_dict(), "lr_scheduler": schedule.state_dict()}
    return {**further, **states, "epoch": 3, "model": named("module."), **further}


@pytest.mark.parametrize(
    "beside",
    [
        None,
        argparse.Namespace(lr=0.1, output_dir=Path("runs"), betas=[0.9, 0.99]),
        _Config(),
        _Kind.SGD,
        _Never(),
        pytest.fail,
        {"hook": [1, 2].append, "frozen": {1, 2}},
    ],
    ids=lambda beside: type(beside).__name__,
)
def test_objects_beside_the_weights_are_left_out(beside):
    assert loaded(saved(checkpoint(args=beside)), ".pth") == 1


def test_a_class_is_never_looked_up(monkeypatch):
    content = saved(checkpoint(args=_Config()))
    monkeypatch.delitem(globals(), "_Config")
    assert loaded(content, ".pth") == 1


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (nn.Sequential(nn.Linear(2, 2)), "torch.nn.modules.container.Sequential"),
        ({"model": nn.Linear(2, 2), "epoch": 3}, "torch.nn.modules.linear.Linear"),
        (checkpoint(best=np.float64(0.9)), r"numpy\._?core\.multiarray\.scalar"),
        ({"student": named(""), "args": argparse.Namespace()}, "argparse.Namespace"),
        (checkpoint(args=os.system), r"(posix|nt)\.system"),
    ],
    ids=["network", "network under a key", "numpy", "no known key", "blocked by PyTorch"],
)
def test_objects_in_the_way_are_named_with_what_to_do(tmp_path, content, first):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as refused:
        read_weights(tmp_path / "a.pth")
    assert re.fullmatch(
        f"weights file {re.escape(str(tmp_path))}/a.pth is not a state dictionary of named "
        rf"tensors, it holds {first}.*; where it is trusted, save the tensors alone: "
        r"torch\.save\(model\.state_dict\(\), \.\.\.\)",
        str(refused.value),
    )


def test_a_class_that_pytorch_was_told_to_trust_is_not_run(tmp_path):
    torch.save(checkpoint(args=_Never()), tmp_path / "a.pth")
    with torch.serialization.safe_globals([_Never]), pytest.raises(CheckpointError, match="_Never"):
        read_weights(tmp_path / "a.pth")


def test_a_state_dictionary_under_another_key_is_asked_for(tmp_path):
    torch.save({"teacher": named("")}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="expected one, or one under state_dict, "):
        read_weights(tmp_path / "a.pth")


def test_a_file_that_does_not_count_batches_is_read():
    network = nn.BatchNorm2d(2)
    tensors = {name: torch.ones(2) for name in ("weight", "bias", "running_mean", "running_var")}
    load_into(network, tensors, "weights x", "net")
    assert network.running_mean.eq(1).all()
    assert network.num_batches_tracked == 0


def test_weights_of_another_architecture_are_named_with_what_the_file_holds(network):
    tensors = {f"blocks.{i}.weight": torch.zeros(1) for i in range(9)} | {"0.bias": torch.zeros(4)}
    with pytest.raises(CheckpointError) as refused:
        load_into(network, tensors, "weights x", "net")
    assert str(refused.value) == (
        "weights x: not weights of net, 3 of 4 tensors are missing, '0.weight' first, but it holds "
        "'blocks.0.weight', 'blocks.1.weight', 'blocks.2.weight'; "
        "name the file of this network, or another `model.backbone`"
    )


def test_tensors_of_the_part_cut_off_are_left_out(network):
    given = {name: torch.ones_like(t) for name, t in network.state_dict().items()}
    load_into(network, {**given, "fc.weight": torch.zeros(9)}, "weights x", "net")
    assert all((tensor == 1).all() for tensor in network.state_dict().values())


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_converted(network, precision):
    given = {name: torch.ones_like(t, dtype=precision) for name, t in network.state_dict().items()}
    load_into(network, given, "weights x", "net")
    assert all(t.dtype == torch.float32 and t.eq(1).all() for t in network.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("1.weight"), "1 of 4 tensors are missing, '1.weight' first"),
        (lambda d: d.update({"0.bias": torch.zeros(5)}), "'0.bias' has shape (5,), expected (4,)"),
        (
            lambda d: d.update({"0.bias": torch.zeros(1).expand(2**40)}),
            "'0.bias' has shape (1099511627776,), expected (4,)",
        ),
        (lambda d: d["0.weight"].fill_(torch.nan), "'0.weight' holds a value that is not finite"),
        (
            lambda d: d.update({"0.bias": torch.full((4,), 1e300, dtype=torch.float64)}),
            "'0.bias' holds a value that is not finite",
        ),
        *(
            (
                lambda d, kind=kind: d.update({"0.bias": torch.zeros(4).to(kind)}),
                f"'0.bias' is {str(kind)[6:]}, expected float32",
            )
            for kind in (torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
        ),
    ],
)
def test_weights_of_another_network_are_refused(network, change, message):
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    change(tensors)
    with pytest.raises(CheckpointError) as refused:
        load_into(network, tensors, "weights x", "net")
    assert message in str(refused.value)


def test_a_state_is_that_of_a_network_by_names_shapes_types_and_values():
    own = {"a": torch.zeros(2), "n": torch.tensor(0)}
    assert mismatch(own, {"n": torch.tensor(7), "a": torch.ones(2)}) is None
    assert mismatch(own, {"a": torch.zeros(2)}) == "'n' is missing"
    assert mismatch(own, own | {"\x1b": torch.zeros(1)}) == r"'\x1b' is none of its tensors"
    assert mismatch(own, own | {"n": torch.zeros(1)}) == "'n' has shape (1,), expected ()"
    assert mismatch(own, own | {"n": torch.zeros(())}) == "'n' is float32, expected int64"
    assert "finite" in mismatch(own, own | {"a": torch.tensor([0.0, torch.inf])})


class _Run:
    def __reduce__(self):
        return (pytest.fail, ("code in a weights file was executed",))


@pytest.mark.parametrize("text", ["some notes", "notes", "<!doctype html>", "PK\x03\x04", ""])
def test_a_file_that_is_no_weights_is_refused_without_the_advice_to_run_it(tmp_path, text):
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(CheckpointError) as refused:
        read_weights(tmp_path / "notes.txt")
    assert str(refused.value) == (
        f"weights file {tmp_path / 'notes.txt'} holds no weights, or is damaged; "
        "expected .safetensors, or a state dictionary of torch.save"
    )


def test_damaged_files_and_files_with_code_are_refused(tmp_path):
    torch.save({"a": _Run()}, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "short.safetensors").write_bytes(b"\x01\x02")
    save_file({"a": torch.zeros(9)}, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-4])
    torch.save([1, 2], tmp_path / "list.pth")
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(CheckpointError, match=file.name):
            read_weights(file)
    with pytest.raises(CheckpointError, match="no such file"):
        read_weights(tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_only_regular_files_of_bearable_size_are_read(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"{name}: not a regular file"):
        read_weights(tmp_path / name)
    (tmp_path / name).unlink()
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(2**41)
    with pytest.raises(CheckpointError, match=rf"{name}: 2,199,023,255,552 bytes, more than"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        {1: torch.zeros(2)},
        {},
        {"a": torch.zeros(2).to_sparse()},
        {"a": torch.zeros(2, device="meta")},
        {"a": {"b": torch.zeros(2)}},
        {"a": [torch.zeros(2)]},
        {"state_dict": {"a": None}},
    ],
    ids=["number as name", "empty", "sparse", "meta", "nested", "list", "nothing"],
)
def test_only_names_and_dense_tensors_are_taken(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd\.pth is not a state dictionary"):
        read_weights(tmp_path / "odd.pth")


class _Zeros:
    """Pickles as a call that fills memory: PyTorch allows it, in files of a hundred bytes."""

    def __reduce__(self):
        return bytearray, (2**40,)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_fills_memory_from_a_few_bytes_is_not_run(tmp_path, monkeypatch, zipped):
    torch.save({"a": _Zeros()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was run"))
    with pytest.raises(CheckpointError, match=r"a\.pth holds no weights, or is damaged"):
        read_weights(tmp_path / "a.pth")


def test_an_archive_that_unpacks_to_more_than_its_size_is_not_unpacked(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(2**20)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was unpacked"))
    with pytest.raises(CheckpointError, match=r"bomb\.pth holds no weights, or is damaged"):
        read_weights(tmp_path / "bomb.pth")
