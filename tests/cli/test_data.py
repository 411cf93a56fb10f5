"""`macnn data`: layouts, check and cache, as a person meets them."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from macnn.data.layouts import LAYOUTS

LEFT_OUT = (
    "a check of the data set finds all such images, --set data.skip_bad_images=... leaves them out"
)


@pytest.fixture
def broken(birds, tmp_path):
    """The birds, with a training image that does not decode."""
    root = shutil.copytree(birds, tmp_path / "broken")
    first(root).write_bytes(b"not an image")
    return root


def first(root, split="1"):
    """The first training image, or with "0" the first test image."""
    lists = [
        dict(line.split(" ", 1) for line in (root / name).read_text().splitlines())
        for name in ("images.txt", "train_test_split.txt")
    ]
    return next(root / "images" / lists[0][k] for k, flag in lists[1].items() if flag == split)


def train(macnn, root, output, *more):
    """Train a small baseline for an epoch."""
    return macnn(
        "train", "--data", root, "--parts", 0, "--rounds", 1, "--epochs", 1, "--img-size", 32,
        "--set", "data.validation=0", "--output", output, *more,
    )  # fmt: skip


def test_every_layout_is_shown_as_a_tree(macnn):
    code, out, _ = macnn("data", "layouts")
    assert code == 0
    for name, layout in LAYOUTS.items():
        assert f"--dataset {name}: {layout.title}" in out
        assert layout.tree.splitlines()[0].strip() in out
    code, out, _ = macnn("data", "layouts", "--json")
    assert json.loads(out)["cub"]["tree"] == LAYOUTS["cub"].tree


def test_a_sound_data_set_is_counted_by_class_and_split(macnn, birds):
    code, out, err = macnn("data", "check", birds)
    assert code == 0, err
    assert "48 images (32 train, 16 test), 16 classes, 4 annotated landmarks; 0 images" in out
    assert "read as cub, as it holds images.txt" in out
    assert "Checking images: 48 done" in err


def test_a_bad_image_is_named_and_ends_in_three(macnn, broken):
    first(broken, "0").write_bytes(b"")  # a test image: training passes, evaluation stops
    code, out, _ = macnn("data", "check", broken, "-q")
    assert code == 3
    for split in "10":
        assert f"stops the command that reads it: {first(broken, split)}: does not decode" in out
    assert "stops training" not in out
    code, out, err = macnn("data", "check", broken, "--json")
    assert (code, err) == (3, "")
    found = json.loads(out)
    assert found["stops"] is True
    assert {f["path"] for f in found["findings"]} == {str(first(broken, k)) for k in "10"}


def test_class_names_are_shown_as_they_are(macnn, tmp_path):
    for name in ("[red]wren", "robin"):
        (tmp_path / name).mkdir()
        Image.effect_noise((40, 40), 50).save(tmp_path / name / "a.png")
    code, out, _ = macnn("data", "check", tmp_path, "-q")
    assert code == 0
    assert "[red]wren" in out


def test_the_layout_is_announced_and_two_that_fit_are_a_usage_error(macnn, birds, tmp_path):
    root = shutil.copytree(birds, tmp_path / "both")
    (root / "list.csv").write_text("path,label\n")
    code, _, err = macnn("data", "check", root)
    assert code == 2
    assert "looks like cub (it holds images.txt and" in err
    assert "use --dataset cub or --dataset manifest" in err
    assert macnn("data", "check", root, "--dataset", "cub", "-q")[0] == 0


def test_an_unknown_layout_is_a_usage_error(macnn, birds):
    code, _, err = macnn("data", "check", birds, "--dataset", "cubs")
    assert code == 2
    assert "cubs" in err


def test_training_with_flips_from_a_cache_is_the_same_training(macnn, birds, tmp_path):
    code, out, err = macnn(
        "data", "cache", "--data", birds, "--img-size", 32, "--output", tmp_path / "cache", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["images"] == 48
    found = []
    cached = ("--cache", tmp_path / "cache")
    for name, more in (("plain", ()), ("cached", cached)):
        code, _, err = train(macnn, birds, tmp_path / name, "--augment", "flip", *more)
        assert code == 0, err
        assert "CUB-200-2011 (cub), as it holds images.txt" in err
        code, out, err = macnn("eval", "--checkpoint", tmp_path / name, "--cache", "none", "--json")
        assert code == 0, err
        found.append(json.loads(out)["classification"])
    assert found[0] == found[1]


def test_training_stops_at_a_bad_image_unless_it_may_be_skipped(macnn, broken, tmp_path):
    code, _, err = train(macnn, broken, tmp_path / "strict", "-q")
    assert code == 3
    assert f"{first(broken)}: does not decode" in err
    assert err.endswith(f"; {LEFT_OUT}\n")
    code, _, err = train(
        macnn, broken, tmp_path / "less", "-q", "--set", "data.skip_bad_images=0.01"
    )
    assert code == 3
    assert "1 of 48 images cannot be read, more than the share of 0.01" in err
    assert not (tmp_path / "less").exists()
    code, _, err = train(
        macnn, broken, tmp_path / "lax", "-q", "--set", "data.skip_bad_images=0.05"
    )
    assert code == 0, err
    assert err.startswith(f"warning: skipped, {first(broken)}: does not decode")
    assert err.count("\n") == 1


def test_a_bad_image_met_by_a_loader_process_ends_the_command(broken, tmp_path):
    command = (
        "pretrain-parts", "--data", broken, "--set", "data.validation=0", "--img-size", "32",
        "--output", tmp_path / "run", "--workers", "2", "-q",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "macnn_cli", *command], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 3, done.stderr
    assert f"{first(broken)}: does not decode" in done.stderr
    assert done.stderr.endswith(f"; {LEFT_OUT}\n")
    assert done.stderr.count("\n") == 1


def test_a_folder_whose_name_does_not_print_is_a_usage_error(macnn, birds, tmp_path):
    root = shutil.copytree(birds, tmp_path / os.fsdecode(b"caf\xe9"))
    code, _, err = macnn("train", "--parts", 0, "--data", root, "--output", tmp_path / "run")
    assert code == 2
    assert err.startswith("macnn: --data ")
    assert "rename the folder, or link to it" in err


def test_evaluation_scores_an_image_or_says_that_it_failed(macnn, birds, broken, tmp_path):
    code, _, err = train(macnn, birds, tmp_path / "run", "-q")
    assert code == 0, err
    bad = first(broken, "0")
    bad.write_bytes(b"")
    arguments = ("eval", "--checkpoint", tmp_path / "run", "--data", broken)
    code, _, err = macnn(*arguments, "-q")
    assert code == 3
    assert err == f"macnn: {bad}: does not decode (empty file); {LEFT_OUT}\n"
    code, out, _ = macnn(*arguments, "--set", "data.skip_bad_images=0.05", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["images"] + len(found["failed"]) == 16
    assert [reason.split(": ")[0] for reason in found["failed"]] == [str(bad)]
    code, _, err = macnn("report", "--run", tmp_path / "run", "--data", broken)
    assert code == 0, err


def test_evaluation_refuses_a_data_set_with_other_classes(macnn, birds, tmp_path):
    code, _, err = train(macnn, birds, tmp_path / "run", "-q")
    assert code == 0, err
    other = shutil.copytree(birds, tmp_path / "other")
    names = (other / "classes.txt").read_text()
    (other / "classes.txt").write_text(names.replace("2 002.", "2 2."))
    code, _, err = macnn("eval", "--checkpoint", tmp_path / "run", "--data", other)
    assert code == 3
    assert "other classes than in the checkpoint: class 2 is '2." in err
    assert "use a data set with the classes of training" in err
