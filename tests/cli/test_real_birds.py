"""The clusters alone, on real photographs: a group of channels finds the eye."""

import json


def test_one_group_finds_an_eye_in_four_of_five_test_images(
    macnn, real_birds, real_weights, tmp_path
):
    run = tmp_path / "cub"
    code, _, err = macnn(
        "pretrain-parts", "--data", real_birds, "--backbone", "squeezenet1_0",
        "--weights", real_weights, "--img-size", 224, "--parts", 4,
        "--output", run, "-q",
    )  # fmt: skip
    assert code == 0, err
    code, out, err = macnn("eval", "--checkpoint", run, "--json")
    assert code == 0, err
    found = {m["landmark"]: m for m in json.loads(out)["localisation"]["best"]}
    assert found["eye"]["pck15"] > 0.8
    assert found["eye"]["share15"] > 0.75
