import json

from macnn.commands.doctor.training import SMALL


def test_the_doctor_tries_everything_and_ends_well(macnn):
    code, out, err = macnn("doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    names = [finding["name"] for finding in found["findings"]]
    assert found["ok"]
    assert {"versions", "GPU", "kernels", "weights", "disk", "memory", "part_attention"} < set(
        names
    )
    assert names[-1] == "checkpoint"
    assert found["environment"]["packages"]["torch"]


def test_what_is_broken_has_a_remedy_and_an_exit_code(macnn, monkeypatch):
    monkeypatch.setitem(SMALL, "pretrain.fit_steps", 0)
    code, out, _ = macnn("doctor")
    assert code == 1
    assert "ok      checkpoint" not in out
    assert "broken  part pre-training: `pretrain.fit_steps=0`: " in out


def test_a_device_that_is_not_there(macnn):
    code, out, _ = macnn("doctor", "--device", "gpu")
    assert code == 1
    assert "broken  device: device 'gpu' is unknown\n        use auto, cpu, cuda or cuda:N" in out
