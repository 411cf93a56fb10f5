import json

from macnn.config.settings import paths


def test_every_setting_is_shown_with_its_source(macnn):
    code, out, _ = macnn("config", "show", "--preset", "demo", "--lr", "0.5", "--json")
    shown = json.loads(out)
    assert code == 0
    sources = {path: (row["value"], row["source"]) for path, row in shown.items()}
    assert sources["train.lr"] == (0.5, "flag")
    assert sources["data.image_size"] == (112, "preset demo")
    assert sources["run.seed"] == (0, "default")


def test_what_is_at_its_default_is_only_counted(macnn):
    _, out, _ = macnn("config", "show", "--set", "train.lr=0.01")
    assert [line.split()[1] for line in out.splitlines() if "train." in line] == ["train.lr"]
    assert f"{len(paths()) - 1} more are at their default" in out


def test_a_file_is_checked_without_running_anything(macnn, tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[train]\nrounds = 3\n")
    bad.write_text("[train]\nrounds = -3\n")
    assert macnn("config", "validate", good)[0] == 0
    code, _, err = macnn("config", "validate", bad)
    assert code == 2
    assert "train.rounds" in err
