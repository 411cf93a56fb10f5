"""Experiments are collected from the run folders of all seeds."""

import json
import sys
from pathlib import Path

import pytest
import typer

from macnn_cli.main import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def experiments(tool, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield tool("experiments")
    for name in ("figures", "tables"):
        sys.modules.pop(name, None)


@pytest.fixture
def runs(experiments, tmp_path, monkeypatch):
    monkeypatch.setattr(
        experiments, "FACTORS", {"defaults": "", "no anchor": "--set train.anchor_weight=0"}
    )
    for name in experiments.FACTORS:
        for seed in experiments.SEEDS:
            folder = tmp_path / f"{name}-{seed}"
            (folder / "report").mkdir(parents=True)
            score = {"top1": 0.5 + seed / 10, "standard_error": 0.1}
            place = {"pck10": 0.25, "pck15": 0.5, "regression_error": 0.1, "nmi": 0.1, "ari": 0.1}
            result = {
                "images": 20,
                "classification": {"joint": score, "calibration_error": 0.2, "parts": [score]},
                "localisation": place | {"best": [{"part": 1, "landmark": "eye", "pck15": 0.5}]},
                "attention_metrics": None,
            }
            (folder / "report" / "eval-validation.json").write_text(json.dumps(result))
            (folder / "env.json").write_text(json.dumps({"commit": "abc"}))
    return tmp_path


def test_every_factor_has_its_options_and_the_figures_of_every_seed(experiments, runs, tool):
    found = experiments.collect(runs)
    factor = found["factors"]["no anchor"]
    assert factor["arguments"] == "--set train.anchor_weight=0"
    assert factor["accuracy"]["runs"] == [0.5, 0.6, 0.7]
    table = tool("tables").factors(found)
    figures = "0.600 ± 0.100 | 0.250 ± 0.000 | 0.500 ± 0.000 | 0.50 |"
    assert f"| no anchor | `--set train.anchor_weight=0` | {figures}" in table


def test_an_unknown_factor_is_named_before_anything_is_trained(experiments):
    with pytest.raises(SystemExit, match=r"no anchr: not in experiments\.toml"):
        experiments.main(["run", "data", "weights", "runs", "no anchr"])


def test_every_factor_is_made_of_options_of_train(experiments):
    frozen = (ROOT / "tests" / "cli" / "options.txt").read_text(encoding="utf-8").splitlines()
    known = {word for line in frozen if line.startswith("train ") for word in line.split()}
    texts = [
        experiments.PLAN["common"],
        experiments.PLAN["with_parts"],
        *experiments.FACTORS.values(),
    ]
    words = " ".join(texts).split()
    assert {word for word in words if word.startswith("--")} <= known
    settings = {word.split("=")[0] for word in words if "=" in word}
    assert settings <= typer.main.get_command(app).commands["train"].callback.used
