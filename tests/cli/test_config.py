import json


def test_every_setting_is_shown_with_its_source(macnn):
    code, out, _ = macnn("config", "show", "--preset", "demo", "--lr", "0.5", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["train.lr"] == {"value": 0.5, "source": "flag"}
    assert shown["data.image_size"] == {"value": 112, "source": "preset demo"}
    assert shown["run.seed"] == {"value": 0, "source": "default"}


def test_a_file_is_checked_without_running_anything(macnn, tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[train]\nrounds = 3\n")
    bad.write_text("[train]\nrounds = -3\n")
    assert macnn("config", "validate", good)[0] == 0
    code, _, err = macnn("config", "validate", bad)
    assert code == 2
    assert "train.rounds" in err
