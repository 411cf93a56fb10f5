"""The three commands, one after the other, on a few small birds."""

import json

import pytest

from macnn.runs.checkpoint import read_checkpoint

SMALL = ("--img-size", 64, "--batch-size", 16, "--set", "data.validation=0")


@pytest.fixture
def parts(macnn, birds, tmp_path):
    code, _, err = macnn(
        "pretrain-parts", "--data", birds, *SMALL, "--fit-steps", 20, "--output", tmp_path / "parts"
    )
    assert code == 0, err
    return tmp_path / "parts"


def test_pretrain_train_and_eval_run_on_one_another(macnn, parts, tmp_path):
    summary = json.loads((parts / "summary.json").read_text())
    assert len(summary["cluster_sizes"]) == 4
    assert 64 <= sum(summary["cluster_sizes"]) <= 68  # half of each cluster, rounded up
    assert (parts / "report" / "parts.png").stat().st_size > 1000

    code, out, _ = macnn("eval", "--checkpoint", parts, "--json")
    before = json.loads(out)
    assert code == 0
    assert before["classification"] is None
    assert len(before["localisation"]["one_to_one"]) == 4

    run = tmp_path / "run"
    code, _, err = macnn(
        "train", "--init", parts, "--rounds", 1, "--epochs", 1, "--grouping-steps", 2,
        "--output", run,
    )  # fmt: skip
    assert code == 0, err
    code, out, _ = macnn("eval", "--checkpoint", run, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["kind"] == "macnn"
    assert len(result["classification"]["parts"]) == 5  # and the whole image
    assert result["images"] == sum(map(sum, result["classification"]["confusion"])) == 16
    figures = run / "report" / "eval-test.json"
    assert json.loads(figures.read_text()) == result
    assert result["specialisation"] is None
    assert {"config.toml", "sources.json", "env.json", "classes.json", "images.json",
            "metrics.jsonl", "metrics.csv", "summary.json", "status.json", "checkpoints",
            "report"} == {
        file.name for file in run.iterdir()
    }  # fmt: skip
    code, out, _ = macnn("eval", "--checkpoint", run, "--specialisation", "--protocol", "published")
    assert code == 0
    assert "all alike" in out
    assert "as published: NMI" in out
    assert json.loads(figures.read_text())["published"]["images"] == 16


def test_the_baseline_needs_no_parts_and_shares_the_settings_of_the_run(macnn, parts, tmp_path):
    run = tmp_path / "baseline"
    code, _, err = macnn(
        "train", "--init", parts, "--parts", 0, "--rounds", 1, "--epochs", 1, "--output", run
    )
    assert code == 0, err
    code, out, _ = macnn("eval", "--checkpoint", run)
    assert code == 0
    assert "baseline checkpoint, 16 test images" in out
    assert "Localisation" not in out


def test_a_saved_configuration_reruns_to_the_same_weights(macnn, parts, tmp_path):
    again = tmp_path / "again"
    code, _, err = macnn(
        "pretrain-parts", "--config", parts / "config.toml", "--output", again, "-q"
    )
    assert (code, err) == (0, "")
    first, second = (
        (read_checkpoint(run).folder / "model.safetensors").read_bytes() for run in (parts, again)
    )
    assert first == second


def test_parts_without_classifiers_have_no_specialisation(macnn, trained, birds):
    code, out, err = macnn(
        "eval", "--checkpoint", trained("parts"), "--data", birds, "--specialisation"
    )
    assert (code, out) == (2, "")
    assert "macnn: --specialisation: this checkpoint has no classifiers" in err


def test_results_go_to_stdout_and_progress_to_stderr(macnn, parts):
    code, out, err = macnn("eval", "--checkpoint", parts)
    assert code == 0
    assert "Localisation" in out
    assert "Evaluating" not in out
    assert "Evaluating test images: 1 done" in err
