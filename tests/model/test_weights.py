import os
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from macnn.errors import CheckpointError
from macnn.model.weights import load_into, mismatch, read_weights


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))


@pytest.mark.parametrize("wrap", [dict, lambda d: {"state_dict": d, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pth_file_is_unwrapped(tmp_path, network, wrap, prefix, zipped):
    tensors = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save(wrap(tensors), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert read_weights(tmp_path / "a.pth").keys() == network.state_dict().keys()


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
        {"a": torch.zeros(2).to_sparse()},
        {"a": torch.zeros(2, device="meta")},
        {"a": {"b": torch.zeros(2)}},
        {"a": [torch.zeros(2)]},
        {"state_dict": {"a": None}},
    ],
    ids=["number as name", "sparse", "meta", "nested", "list", "nothing"],
)
def test_only_names_and_dense_tensors_are_taken(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd\.pth (holds no weights|is not a state)"):
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
