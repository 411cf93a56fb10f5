import json
from pathlib import Path

import pytest

from macnn.commands import demo
from macnn.errors import MacnnError


@pytest.fixture
def small(monkeypatch):
    """A demo of seconds: fewer birds, one short round."""

    def few(output, *, seed, listen):
        return demo_birds(output, classes=16, images_per_class=3, size=64, seed=seed, listen=listen)

    demo_birds = demo.write_birds
    monkeypatch.setattr(demo, "write_birds", few)
    for name, value in {
        "DATA__IMAGE_SIZE": 64,
        "PRETRAIN__FIT_STEPS": 10,
        "TRAIN__ROUNDS": 1,
        "TRAIN__EPOCHS": 1,
        "TRAIN__GROUPING_STEPS": 1,
    }.items():
        monkeypatch.setenv(f"MACNN_{name}", str(value))


def test_the_demo_compares_with_the_baseline_and_shows_the_parts(macnn, small, tmp_path):
    code, out, err = macnn("demo", "--output", tmp_path / "demo", "--json")
    assert code == 0, err
    result = json.loads(out)
    baseline, found, trained = result["rows"]
    assert baseline["accuracy"] is not None
    assert baseline["pck10"] is None
    assert found["accuracy"] is None
    assert 0 <= trained["accuracy"] <= 1
    assert 0 <= trained["pck10"] <= 1
    assert (tmp_path / "demo" / "macnn" / "report" / "parts-test.png").samefile(result["picture"])
    assert "points against baseline" in Path(result["page"]).read_text(encoding="utf-8")


def test_a_used_folder_needs_to_be_given_up(macnn, small, tmp_path):
    (tmp_path / "mine").touch()
    code, _, err = macnn("demo", "--output", tmp_path)
    assert code == 2
    assert "--overwrite" in err


def test_a_folder_of_other_things_is_never_written_to(macnn, small, tmp_path):
    (tmp_path / "wren.jpg").touch()
    (tmp_path / "macnn").mkdir()
    code, out, err = macnn("demo", "--output", tmp_path, "--overwrite")
    assert (code, out) == (2, "")
    assert err == f"macnn: {tmp_path}: not a folder of the demo; pass another --output\n"
    code, _, err = macnn("demo", "--output", tmp_path / "wren.jpg", "--overwrite")
    assert code == 2
    assert "is a file" in err
    assert sorted(f.name for f in tmp_path.iterdir()) == ["macnn", "wren.jpg"]


@pytest.mark.parametrize("left", ["birds-seed1", ".birds-seed0-killed"])
def test_the_folder_of_a_demo_is_given_up_when_asked(macnn, monkeypatch, tmp_path, left):
    def begun(*_, **__):
        raise MacnnError("begun")

    monkeypatch.setattr(demo, "write_birds", begun)
    (tmp_path / left).mkdir()
    assert macnn("demo", "--output", tmp_path, "--overwrite") == (1, "", "macnn: begun\n")
