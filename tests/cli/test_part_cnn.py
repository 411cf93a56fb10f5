"""`macnn train-part-cnn`, and what is done with its checkpoint, on a few small birds."""

import json

import pytest

from macnn import events
from macnn.commands import pretrain_parts, train
from macnn.config import resolve
from macnn.runs.checkpoint import read_checkpoint

SMALL = ("--stream-size", 32, "--stream-epochs", 1)
STREAMS = ["whole image", "object", "part 1", "part 2", "part 3", "part 4"]


@pytest.fixture(scope="module")
def located(birds, tmp_path_factory):
    """Run folder of a network with parts, trained for an epoch; its baseline is beside it."""
    folder = tmp_path_factory.mktemp("located")
    common = {
        "data.root": birds,
        "data.image_size": 32,
        "data.validation": 0.0,
        "pretrain.restarts": 4,
        "pretrain.fit_steps": 20,
        "train.rounds": 1,
        "train.epochs": 1,
        "train.grouping_steps": 2,
    }

    def run(stage, name, *init, **more):
        output = folder / name
        settings = resolve(flags=common | more | {"run.output": output}, environ={}).settings
        stage(settings, *init, overwrite=False, listen=events.silent)
        return read_checkpoint(output)

    parts = run(pretrain_parts.run, "parts")
    run(train.run, "baseline", parts, **{"model.parts": 0})
    return run(train.run, "macnn", parts).run


@pytest.fixture
def run(macnn, located, tmp_path):
    """The run folder of a part CNN, on photographs of twice the size that parts were found at."""
    output = tmp_path / "part-cnn"
    code, out, err = macnn(
        "train-part-cnn", "--init", located, "--img-size", 64, *SMALL, "--output", output
    )
    assert code == 0, err
    assert "streams phase" in err
    assert "optimiser steps" in out
    return output


def test_it_is_evaluated_stream_by_stream_and_jointly(macnn, located, run):
    baseline = located.parent / "baseline"
    assert macnn("eval", "--checkpoint", baseline)[0] == 0

    code, out, err = macnn("eval", "--checkpoint", run, "--baseline", baseline)
    assert code == 0, err
    assert "part-cnn checkpoint, 16 test images" in out
    for name in (*STREAMS, "locator", "joint", "baseline"):
        assert f"│ {name} " in out
    result = json.loads((run / "report" / "eval-test.json").read_text())
    assert result["classification"]["classifiers"] == [*STREAMS, "locator"]
    assert len(result["classification"]["parts"]) == 7
    assert len(result["localisation"]["one_to_one"]) == 4

    page = (run / "report" / "report-test.html").read_text()
    assert "MA-CNN with one stream per crop" in page
    for name in ("whole image", "object", "locator", "joint", "baseline"):
        assert f'<th scope="row">{name}</th>' in page


def test_it_predicts_and_is_exported(macnn, run, birds, tmp_path):
    picture = next((birds / "images").rglob("*.*g"))
    code, out, err = macnn("predict", "--checkpoint", run, picture, "--json")
    assert code == 0, err
    assert len(json.loads(out)["parts"]) == 4
    for form in ("safetensors", "torch-export"):
        exported = tmp_path / form
        code, _, err = macnn("export", "--checkpoint", run, "--output", exported, "--format", form)
        assert code == 0, err
        described = json.loads((exported / "model.json").read_text())
        assert described["kind"] == "part-cnn"
        assert described["inputs"]["images"]["shape"] == ["batch", 3, 64, 64]
    code, again, _ = macnn("predict", "--checkpoint", tmp_path / "safetensors", picture, "--json")
    assert (code, again) == (0, out)


def test_streams_may_share_a_backbone(macnn, located, tmp_path):
    sizes = []
    for more in ((), ("--share-streams",)):
        output = tmp_path / f"run{len(sizes)}"
        code, _, err = macnn(
            "train-part-cnn", "--init", located, *SMALL, *more,
            "--output", output, "--ema", 0.9, "--grad-accum-steps", 2, "--precision", "bf16",
        )  # fmt: skip
        assert code == 0, err
        sizes.append((read_checkpoint(output).folder / "model.safetensors").stat().st_size)
    assert sizes[1] < sizes[0] / 2


def test_what_cannot_be_trained_is_named(macnn, located, trained, birds, tmp_path):
    def refused(*arguments):
        output = tmp_path / "run"
        code, out, err = macnn("train-part-cnn", *arguments, "--output", output)
        assert out == ""
        assert not output.exists()
        return code, err.splitlines()[-1]

    code, why = refused("--data", birds)
    assert (code, why) == (2, "macnn: no parts to crop; name a trained run with --init")
    code, why = refused("--init", trained("baseline"))
    assert code == 4
    assert "a 'baseline' checkpoint, expected macnn" in why
    code, why = refused("--init", located, "--img-size", 48)
    assert code == 2
    assert "--img-size 48" in why
    assert "use 32 or a multiple of it" in why
    code, why = refused("--init", trained("macnn"), "--data", birds)
    assert code == 3
    assert "other classes than in the checkpoint" in why
