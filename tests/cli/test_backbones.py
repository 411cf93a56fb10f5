"""`macnn backbones`, as a person meets it."""

import json

import pytest


def test_names_are_listed_one_a_line_and_those_of_timm_counted(macnn):
    code, out, err = macnn("backbones")
    assert (code, err) == (0, "")
    assert {"tiny", "resnet50", "vit_b_16"} <= set(out.splitlines())
    assert out.splitlines()[-1].endswith(" of timm: macnn backbones 'timm/*'")


def test_a_pattern_filters(macnn):
    code, out, _ = macnn("backbones", "resnet1*")
    assert (code, out.splitlines()) == (0, ["resnet101", "resnet152", "resnet18"])
    found = json.loads(macnn("backbones", "resnet1*", "--json")[1])
    assert found["names"] == ["resnet101", "resnet152", "resnet18"]


def test_a_backbone_is_shown_with_what_it_expects_and_its_layers(macnn):
    code, out, err = macnn("backbones", "resnet18", "--img-size", 448)
    assert (code, err) == (0, "")
    assert "resnet18: made for 224 px, bilinear; mean 0.485, 0.456, 0.406" in out
    assert "Layers at 448 px" in out
    row = next(line for line in out.splitlines() if " layer4 * " in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["layer4 *", "32", "512", "14 x 14"]
    assert "with --weights, values are measured too" in out


def test_what_was_measured_on_which_images_is_said(macnn, birds, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = macnn("backbones", "tiny", "-q")[1]
    assert "Measured on 64 images: noise." in out
    assert "smallest" not in out
    code, out, err = macnn("backbones", "tiny", "--data", birds, "--parts", 3, "-q")
    assert (code, err) == (0, "")
    assert "images: training images." in out
    assert "in 3 groups" in out


def test_a_program_gets_the_same(macnn):
    code, out, err = macnn("backbones", "tiny", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["mean"] == [0.5, 0.5, 0.5]
    assert found["layers"][0].keys() >= {"stride", "positive", "follows", "spread", "smallest"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet5O",), "did you mean 'resnet50'?"),
        (("timm/resnet5O",), "did you mean 'timm/resnet50'?"),
        (("nothing*",), "no backbone matches 'nothing*'"),
        (("resnet18", "--img-size", 2), "--img-size"),
        (("resnet18", "--set", "train.lr=1"), "--set train.lr has no effect in this command"),
    ],
)
def test_bad_input_is_one_line_and_a_usage_error(macnn, arguments, message):
    code, out, err = macnn("backbones", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
