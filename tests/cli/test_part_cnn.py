"""`macnn train-part-cnn`, and what is done with its checkpoint, on a few small birds."""

import json

import pytest

from macnn.runs.checkpoint import read_checkpoint

SMALL = ("--stream-size", 32, "--stream-epochs", 1, "--batch-size", 16, "--validation", 0)
STREAMS = ["whole image", "object", "part 1", "part 2", "part 3", "part 4"]


@pytest.fixture
def located(macnn, birds, tmp_path):
    """The run folder of a network with parts, trained for an epoch."""
    given = ("--data", birds, "--img-size", 64, "--validation", 0, "-q")
    parts, output = tmp_path / "parts", tmp_path / "macnn"
    code, _, err = macnn("pretrain-parts", *given, "--fit-steps", 20, "--output", parts)
    assert code == 0, err
    short = ("--rounds", 1, "--epochs", 1, "--grouping-steps", 2)
    code, _, err = macnn("train", "--init", parts, *short, "--output", output)
    assert code == 0, err
    return output


@pytest.fixture
def run(macnn, located, tmp_path):
    """The run folder of a part CNN, on photographs of twice the size that parts were found at."""
    output = tmp_path / "part-cnn"
    code, out, err = macnn(
        "train-part-cnn", "--init", located, "--img-size", 128, *SMALL, "--output", output
    )
    assert code == 0, err
    assert "streams phase" in err
    assert "optimiser steps" in out
    return output


def test_it_is_evaluated_stream_by_stream_and_jointly(macnn, located, run, tmp_path):
    baseline = tmp_path / "baseline"
    init = located.parent / "parts"
    short = ("--rounds", 1, "--epochs", 1, "-q")
    macnn("train", "--init", init, "--parts", 0, *short, "--output", baseline)
    assert macnn("eval", "--checkpoint", baseline)[0] == 0

    code, out, err = macnn("eval", "--checkpoint", run, "--baseline", baseline)
    assert code == 0, err
    assert "part-cnn checkpoint, 16 test images" in out
    for name in (*STREAMS, "summed parts", "joint", "baseline"):
        assert f"│ {name} " in out
    result = json.loads((run / "report" / "eval-test.json").read_text())
    assert result["classification"]["classifiers"] == [*STREAMS, "summed parts"]
    assert len(result["classification"]["parts"]) == 7
    assert len(result["localisation"]["one_to_one"]) == 4

    page = (run / "report" / "report-test.html").read_text()
    assert "MA-CNN with one stream per crop" in page
    for name in ("whole image", "object", "summed parts", "joint", "baseline"):
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
        assert described["inputs"]["images"]["shape"] == ["batch", 3, 128, 128]
    code, again, _ = macnn("predict", "--checkpoint", tmp_path / "safetensors", picture, "--json")
    assert (code, again) == (0, out)


def test_streams_may_share_a_backbone(macnn, located, tmp_path):
    sizes = []
    for more in ((), ("--share-streams",)):
        output = tmp_path / f"run{len(sizes)}"
        code, _, err = macnn(
            "train-part-cnn", "--init", located, *SMALL, *more,
            "--output", output, "--ema", 0.9, "--accumulate", 2, "--precision", "bf16",
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
    assert (code, why) == (2, "macnn: no parts to crop; pass --init RUN of 'macnn train'")
    code, why = refused("--init", trained("baseline"))
    assert code == 4
    assert "a 'baseline' checkpoint, expected macnn" in why
    code, why = refused("--init", located, "--img-size", 96)
    assert code == 2
    assert "--img-size 96" in why
    assert "use 64 or a multiple of it" in why
    code, why = refused("--init", trained("macnn"), "--data", birds)
    assert code == 3
    assert "other classes than in the checkpoint" in why
