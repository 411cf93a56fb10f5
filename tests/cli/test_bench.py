import json

import pytest
import torch

SMALL = ("--device", "cpu", "--batch", 2, "--channels", 8, "--height", 3, "--width", 4,
         "--parts", 2, "--repeats", 2)  # fmt: skip


def test_json_holds_times_ratios_and_what_they_were_measured_on(macnn):
    code, out, err = macnn("bench", "ops", *SMALL, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert set(found) == {
        "device", "shape", "repeats", "copy_bandwidth", "rows", "environment"
    }  # fmt: skip
    assert found["shape"] == {
        "batch": 2, "channels": 8, "height": 3, "width": 4, "parts": 2, "dtype": "float32"
    }  # fmt: skip
    assert {"commit", "packages", "threads", "gpu"} <= set(found["environment"])
    for row in found["rows"]:
        assert set(row) == {
            "operator", "direction", "bytes", "times", "speedup", "of_copy_bandwidth"
        }  # fmt: skip
        assert set(row["times"]) == {"operator", "plain"}
        assert set(row["times"]["plain"]) == {"median", "low", "high"}


def test_the_table_goes_to_stdout_and_the_json_to_a_file(macnn, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # however long it takes, names are not cut
    file = tmp_path / "ops.json"
    code, out, err = macnn("bench", "ops", *SMALL, "--output", file)
    rows = json.loads(file.read_text())["rows"]
    assert code == 0
    assert all(f"{row['operator']} {row['direction']}" in out for row in rows)
    assert "x plain" in out
    assert "2 runs" in out
    assert "operators: 10 done" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch", 0), ("--batch 0", "at least 1")),
        (("--parts", 9), ("--parts 9", "one channel for each")),
        (("--repeats", 1), ("--repeats", "equal to 2")),
        (("--dtype", "int8"), ("--dtype", "int8", "bfloat16")),
        (("--device", "gpu"), ("'gpu'", "use auto, cpu, cuda")),
        (("--output", "nowhere/ops.json"), ("no folder nowhere", "make it first")),
        (("--chanels", 8), ("--chanels", "--channels")),
    ],
)
def test_bad_input_gets_one_line(macnn, arguments, words):
    code, out, err = macnn("bench", "ops", *SMALL, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert all(word in line for word in ("macnn: ", *words)), line


def test_a_missing_gpu_is_named(macnn, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = macnn("bench", "ops", *SMALL, "--device", "cuda")
    assert (code, out) == (2, "")
    assert "no CUDA device is usable here" in err


def test_every_phase_of_training_is_measured_against_the_plain_module(macnn, tmp_path):
    file = tmp_path / "train.json"
    code, out, err = macnn(
        "bench", "train", "--backbone", "tiny", "--img-size", 64, "--batch-size", 2,
        "--repeats", 2, "--device", "cpu", "--output", file,
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(file.read_text())
    phases = {row["phase"]: row for row in found["phases"]}
    assert list(phases) == [
        "statistics", "grouping", "convolution", "evaluation"
    ]  # fmt: skip
    for name, row in phases.items():
        assert name in out
        assert row["images_per_second"] == pytest.approx(2 / row["seconds"]["macnn"])
        assert row["ratios"]["plain"] == pytest.approx(
            row["seconds"]["plain"] / row["seconds"]["macnn"]
        )
        assert all(seconds >= 0 for seconds in row["split"].values())
    assert "backbone" in phases["convolution"]["ratios"]
    assert 0 <= found["data"]["share"] <= 1
    assert "Waiting for data" in out


def test_cost_is_measured_over_one_size_at_a_time(macnn, monkeypatch):
    from macnn.commands.bench import scaling

    monkeypatch.setattr(scaling, "CURVES", {"batch": (1, 2), "height": (3, 4)})
    monkeypatch.setattr(scaling, "IMAGES", (64, 256))
    code, out, err = macnn("bench", "scale", "--device", "cpu", "--repeats", 2, "--json")
    found = json.loads(out)
    assert code == 0, err
    assert [(row["axis"], row["size"]) for row in found["curves"]] == [
        ("batch", 1), ("batch", 2), ("height", 3), ("height", 4)
    ]  # fmt: skip
    assert all(row["seconds"]["part_attention forward"] > 0 for row in found["curves"])
    assert [row["images"] for row in found["statistics"]] == [64, 256]
