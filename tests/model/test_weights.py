import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from macnn.errors import CheckpointError
from macnn.model.weights import load_into, read_weights


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))


@pytest.mark.parametrize("wrap", [dict, lambda d: {"state_dict": d, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pth_file_is_unwrapped(tmp_path, network, wrap, prefix):
    tensors = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save(wrap(tensors), tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth").keys() == network.state_dict().keys()


def test_tensors_of_the_part_cut_off_are_left_out(network):
    given = {name: torch.ones_like(t) for name, t in network.state_dict().items()}
    load_into(network, {**given, "fc.weight": torch.zeros(9)}, "weights x", "net")
    assert all((tensor == 1).all() for tensor in network.state_dict().values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("1.weight"), "1 of 4 tensors are missing, '1.weight' first"),
        (lambda d: d.update({"0.bias": torch.zeros(5)}), "'0.bias' has shape (5,), expected (4,)"),
        (lambda d: d["0.weight"].fill_(torch.nan), "'0.weight' holds a value that is not finite"),
    ],
)
def test_weights_of_another_network_are_refused(network, change, message):
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    change(tensors)
    with pytest.raises(CheckpointError) as refused:
        load_into(network, tensors, "weights x", "net")
    assert message in str(refused.value)


class _Run:
    def __reduce__(self):
        return (pytest.fail, ("code in a weights file was executed",))


@pytest.mark.parametrize("text", ["some notes", "notes", "<!doctype html>", ""])
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
    with pytest.raises(CheckpointError, match="does not exist"):
        read_weights(tmp_path / "absent.pth")
