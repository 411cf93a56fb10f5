import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import macnn
from macnn import events
from macnn.commands import export as stage
from macnn.commands.export import export
from macnn.errors import CheckpointError, DiskError, ExportError, UsageError
from macnn.inference import formats
from macnn.inference.description import read_export
from macnn.inference.formats import FORMATS
from macnn.inference.parity import compare
from macnn.inference.recogniser import Recognition, open_recogniser
from macnn.runs.checkpoint import read_checkpoint

TOLERANCE = 1e-4
PIXELS = 0.01


def write(run, output, form="safetensors", *, tolerance=TOLERANCE, overwrite=False):
    return export(
        read_checkpoint(run),
        output,
        form,
        tolerance=tolerance,
        overwrite=overwrite,
        listen=events.silent,
    )


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Every format of MA-CNN and of the baseline, written once."""
    folder = tmp_path_factory.mktemp("exports")
    for kind in ("macnn", "baseline"):
        for form in FORMATS:
            write(trained(kind), folder / kind / form, form)
    return folder


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["macnn", "baseline"])
def test_an_export_answers_as_the_original_whatever_the_batch(trained, exported, kind, form):
    original = open_recogniser(read_checkpoint(trained(kind)))
    run = FORMATS[form].run(exported / kind / form)
    generator = torch.Generator().manual_seed(1)
    for count in (1, 3, 17):
        images = torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)
        expected, got = original(images), run(images)
        assert (got.logits - expected.logits).abs().max() <= TOLERANCE
        assert torch.equal(got.logits.argmax(1), expected.logits.argmax(1))
        assert got.boxes.shape == (count, 0 if kind == "baseline" else 4, 4)
        torch.testing.assert_close(got.boxes, expected.boxes, rtol=0, atol=PIXELS)


ALONE = """
import sys
for name in ("macnn", "macnn_kernels", "triton"):
    sys.modules[name] = None  # importing it is an error
import numpy
file, images = sys.argv[1], numpy.load(sys.argv[2])
if file.endswith(".pt2"):
    import torch
    answer = torch.export.load(file).module()(torch.from_numpy(images))
    logits, boxes = answer["logits"].numpy(), answer["boxes"].numpy()
else:
    import onnxruntime
    session = onnxruntime.InferenceSession(file)
    logits, boxes = session.run(["logits", "boxes"], {"images": images})
numpy.savez(sys.argv[3], logits=logits, boxes=boxes)
"""


@pytest.mark.parametrize("form", ["torch-export", "onnx"])
def test_programs_run_where_neither_this_package_nor_triton_is(trained, exported, form, tmp_path):
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    np.save(tmp_path / "images.npy", images.numpy())
    file = exported / "macnn" / form / FORMATS[form].file
    arguments = [file, tmp_path / "images.npy", tmp_path / "answer.npz"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, arguments)], check=True)
    answer = np.load(tmp_path / "answer.npz")
    expected = open_recogniser(read_checkpoint(trained("macnn")))(images)
    assert np.abs(answer["logits"] - expected.logits.numpy()).max() <= TOLERANCE
    assert np.abs(answer["boxes"] - expected.boxes.numpy()).max() <= PIXELS


def test_a_safetensors_export_predicts_as_its_run(trained, exported, birds):
    files = sorted(birds.glob("images/*/*"))[:3]
    ours, theirs = (
        macnn.load(path, device="cpu").predict(files)
        for path in (trained("macnn"), exported / "macnn" / "safetensors")
    )
    assert ours == theirs


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_says_what_it_is(trained, exported, form):
    folder = exported / "macnn" / form
    assert {file.name for file in folder.iterdir()} == {
        FORMATS[form].file,
        "model.json",
        "README.md",
    }
    content = json.loads((folder / "model.json").read_text())
    assert content["classes"] == list(read_checkpoint(trained("macnn")).class_names)
    assert [step["step"] for step in content["preprocessing"]["steps"]] == [
        "decode",
        "resize",
        "centre_crop",
    ]
    prepared = content["preprocessing"]
    assert (prepared["size"], prepared["interpolation"]) == (64, "bilinear")
    assert prepared["normalisation"]["mean"] == prepared["normalisation"]["std"] == [0.5, 0.5, 0.5]
    assert content["inputs"]["images"]["shape"] == ["batch", 3, 64, 64]
    assert content["outputs"]["boxes"]["shape"] == ["batch", 4, 4]
    assert content["parity"]["batches"] == [1, 2, 5]
    assert content["parity"]["logits"] <= TOLERANCE


def test_another_answer_is_refused_and_nothing_stays(trained, tmp_path, monkeypatch):
    class Off(torch.nn.Module):
        def forward(self, images):
            return Recognition(torch.ones(len(images), 16), torch.zeros(len(images), 4, 4))

    real = FORMATS["safetensors"]
    off = formats.Format(real.file, real.write, lambda folder: Off())
    monkeypatch.setitem(FORMATS, "safetensors", off)
    with pytest.raises(ExportError, match=r"off the original's, more than 0\.0001; .*`tolerance`"):
        write(trained("macnn"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_answers_that_are_not_finite_or_of_another_shape_are_noticed():
    def model(value, classes=3):
        return lambda images: Recognition(
            torch.full((len(images), classes), value), torch.zeros(len(images), 0, 4)
        )

    assert compare(model(1.0), model(1.0), 16).logits == 0
    assert compare(model(1.5), model(1.0), 16).logits == 0.5
    assert compare(model(float("nan")), model(1.0), 16).logits == float("inf")
    with pytest.raises(ValueError, match=r"logits: \(1, 4\), expected \(1, 3\)"):
        compare(model(1.0, classes=4), model(1.0), 16)


def test_a_failed_write_leaves_the_old_export_intact(trained, tmp_path, monkeypatch):
    output = tmp_path / "out"
    write(trained("baseline"), output)
    before = {file.name: file.read_bytes() for file in output.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage, "write_text", full)
    with pytest.raises(DiskError, match="No space left"):
        write(trained("macnn"), output, overwrite=True)
    assert {file.name: file.read_bytes() for file in output.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_used_folder_is_kept_unless_it_is_an_export_given_up(trained, tmp_path):
    write(trained("baseline"), tmp_path / "out")
    with pytest.raises(UsageError, match="`overwrite`"):
        write(trained("baseline"), tmp_path / "out")
    write(trained("baseline"), tmp_path / "out", overwrite=True)
    with pytest.raises(UsageError, match="not an export"):
        write(trained("baseline"), tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="is a file"):
        write(trained("baseline"), tmp_path / "out" / "model.json")


def test_a_missing_package_is_named_with_its_extra(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"onnxruntime: not installed; pip install 'macnn\[onnx\]"):
        write(trained("macnn"), tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_found_parts_alone_cannot_be_exported(trained, tmp_path):
    with pytest.raises(CheckpointError, match="cannot name classes"):
        write(trained("parts"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_loading_a_program_says_how_to_run_it(exported):
    with pytest.raises(CheckpointError, match="exported as onnx, which runs without macnn"):
        macnn.load(exported / "macnn" / "onnx")


def test_a_damaged_export_is_named(exported, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"model\.json: damaged"):
        macnn.load(tmp_path)
    copy = shutil.copytree(exported / "macnn" / "safetensors", tmp_path / "copy")
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged \(SHA-256\)"):
        macnn.load(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        macnn.load(copy)


ODD = ({}, [], "", "x", "../model.safetensors", -1, 0, 2**200, 1e300, float("nan"), None)
READ = ("format", "file", "file_format", "sha256", "kind", "classes", "preprocessing", "network")
FITTING = {("step", "0"), ("competition", "0")}


def test_no_field_that_loading_reads_holds_anything_odd(trained, tmp_path):
    copy = tmp_path / "copy"
    write(trained("macnn"), copy)
    content = json.loads((copy / "model.json").read_text())
    places = [(content, name) for name in (*READ, "step")]
    prepared = ("size", "resize_mode", "interpolation")
    places += [(content["preprocessing"], name) for name in prepared]
    places += [(content["network"], name) for name in content["network"]]
    for holder, name in places:
        right = holder[name]
        for odd in ODD:
            if odd == right or (name, str(odd)) in FITTING:
                continue
            holder[name] = odd
            (copy / "model.json").write_text(json.dumps(content))
            with pytest.raises(CheckpointError) as refused:
                macnn.load(copy)
            assert str(refused.value).isprintable()
        holder[name] = right


SEEN = {"size": 64, "resize_mode": "crop", "interpolation": "bilinear"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["a", "b"]}, "2 names for 16 classes"),
        ({"preprocessing": SEEN | {"size": 32}}, "pictures of 32 px"),
        ({"preprocessing": SEEN | {"resize_mode": "fold"}}, r"preprocessing\.resize_mode"),
        ({"preprocessing": SEEN | {"interpolation": "cubic"}}, r"preprocessing\.interpolation"),
        ({"file": "../copy/model.safetensors"}, "file: Input should be 'model.safetensors'"),
        ({"kind": "part-cnn"}, "kind part-cnn with another kind's network"),
        ({"kind": "parts"}, "kind parts with another kind's network"),
        ({"format": 3}, "format: Input should be 5"),
        ({"kind": "other"}, "kind: Input should be"),
        ({"sha256": "0" * 64}, r"model\.safetensors: damaged \(SHA-256\)"),
    ],
)
def test_what_does_not_go_together_is_refused(trained, tmp_path, change, message):
    copy = tmp_path / "copy"
    write(trained("macnn"), copy)
    content = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(content | change))
    with pytest.raises(CheckpointError, match=message):
        macnn.load(copy)


def test_the_bytes_that_were_verified_are_those_that_are_loaded(trained, tmp_path, monkeypatch):
    """Exchanging the file between the check and the load does not help."""
    write(trained("macnn"), tmp_path / "out")
    other = write(trained("baseline"), tmp_path / "other")
    assert other["kind"] == "baseline"
    found = read_export(tmp_path / "out")
    shutil.copyfile(tmp_path / "other" / "model.safetensors", tmp_path / "out/model.safetensors")
    with pytest.raises(CheckpointError, match=r"damaged \(SHA-256\)"):
        found.tensors("model")
