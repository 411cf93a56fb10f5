import json
from pathlib import Path

import pytest

from macnn import demo


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
