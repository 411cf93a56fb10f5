"""A damaged checkpoint is refused, whatever the damage."""

import random
import sys

import pytest

from macnn_cli.main import run


def test_64_truncations_and_64_flipped_bytes_are_refused(
    training, flags, report, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "run"
    training(output, {"train.rounds": 1, "run.save_every": 4, "run.keep_checkpoints": 9})
    newest = output / "checkpoints" / "step-8"
    files = sorted(file for file in newest.iterdir() if file.stat().st_size)
    draw, refused = random.Random(0), 0
    for trial in range(128):
        file = files[trial % len(files)]
        whole = file.read_bytes()
        position = draw.randrange(len(whole))
        if trial < 64:
            file.write_bytes(whole[:position])
        else:
            # White space in a list of files says nothing; every other byte does.
            while whole[position : position + 1].isspace():
                position = draw.randrange(len(whole))
            file.write_bytes(
                whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
            )
        monkeypatch.setattr(sys, "argv", ["macnn", "eval", "--checkpoint", str(output), "-q"])
        with pytest.raises(SystemExit) as left:
            run()
        message = capsys.readouterr().err
        assert left.value.code == 4, (file.name, position)
        assert "step-8" in message
        assert "the newest sound one is" in message
        assert "step-4" in message
        file.write_bytes(whole)
        refused += 1
    report(f"{refused} of 128 damaged checkpoints refused")
