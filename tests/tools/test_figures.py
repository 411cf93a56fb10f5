"""What the pages say was measured is what the files of docs/figures hold."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
MEASURED = re.compile(r"\d ?%|± ?\d|\d\.\d{2,}")


@pytest.fixture
def figures(tool, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield tool("figures")
    sys.modules.pop("tables", None)


def test_the_pages_agree_with_the_figures(figures):
    wrong = [file.name for file, text, wanted in figures.pages() if text != wanted]
    assert not wrong, f"{', '.join(wrong)}: other figures than in docs/figures; run 'make docs'"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/tutorial.md", "docs/inference.md", "docs/report.md"]
)
def test_no_figure_is_written_by_hand(figures, page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = figures.TABLE.sub("", figures.FIGURE.sub("", text))
    prose = re.sub(r"^```.*?^```|^    [^\n]*|`[^`]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not MEASURED.findall(prose.replace("Python 3.11", "Python"))


def test_no_path_of_a_machine_is_kept(figures):
    for file in figures.FIGURES.glob("*.json"):
        assert not re.search(r'"/|"[A-Z]:\\', file.read_text(encoding="utf-8")), file.name


def test_a_comment_of_a_figure_never_begins_a_line(figures):
    """Markdown would end the paragraph there."""
    for file, text, _ in figures.pages():
        assert not re.search(r"^\s*<!-- figure", text, re.MULTILINE), file


def test_a_figure_that_changes_changes_the_page(figures, tmp_path, monkeypatch):
    (tmp_path / "speed.json").write_text('{"rows": [{"share": 0.123}]}')
    monkeypatch.setattr(figures, "FIGURES", tmp_path)
    page = "about <!-- figure: speed.rows.0.share .1% -->99 %<!-- /figure --> of it"
    assert figures.filled(page) == page.replace("99 %", "12.3 %")
    with pytest.raises(KeyError):
        figures.filled(page.replace("share", "shares"))


def test_figures_are_collected_over_seeds(figures, tmp_path):
    for seed, accuracy in enumerate((0.5, 0.7)):
        run = tmp_path / f"seed{seed}" / "macnn"
        (run / "report").mkdir(parents=True)
        score = {"top1": accuracy, "standard_error": 0.1}
        result = {
            "images": 20,
            "classification": {
                "joint": score,
                "calibration_error": 0.2,
                "classifiers": ["part 1"],
                "parts": [score],
            },
            "localisation": None,
            "attention_metrics": None,
            "files": ["/home/me/picture.png"],
        }
        (run / "report" / "eval-test.json").write_text(json.dumps(result))
        (run / "config.toml").write_text(f"[run]\nseed = {seed}\n")
        known = {"commit": f"abc{seed}", "python": "3.12", "packages": {}}
        (run / "env.json").write_text(json.dumps(known))
    found = figures.collect("mine", [tmp_path / "seed0", tmp_path / "seed1"])
    assert found["seeds"] == [0, 1]
    assert found["commits"] == {"macnn": ["abc0", "abc1"]}
    assert found["macnn"]["accuracy"] == {
        "mean": pytest.approx(0.6),
        "std": pytest.approx(0.1414, abs=1e-4),
        "runs": [0.5, 0.7],
    }
    assert "/home" not in json.dumps(found)


def test_the_difference_to_the_baseline_is_paired_over_images(figures, tmp_path):
    right = {"macnn": ([1, 1, 1, 0], [1, 1, 0, 0]), "baseline": ([1, 0, 1, 0], [1, 0, 0, 0])}
    for network, seeds in right.items():
        for seed, hits in enumerate(seeds):
            report = tmp_path / str(seed) / network / "report"
            report.mkdir(parents=True)
            labels = torch.zeros(4, dtype=torch.int64)
            joint = torch.tensor([[1.0, 0.0] if hit else [0.0, 1.0] for hit in hits])
            tensors = {
                "samples": torch.arange(4),
                "labels": labels,
                "logits": joint,
                "classifier_logits": joint[:, None].clone(),
            }
            save_file(tensors, report / "predictions-test.safetensors")
    found = figures.difference([tmp_path / "0", tmp_path / "1"])
    assert found == {"mean": 0.25, "standard_error": pytest.approx(0.25)}  # only image 2 differs
