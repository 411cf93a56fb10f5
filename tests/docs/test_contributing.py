import re
import traceback
from pathlib import Path

from macnn.model import locator

ROOT = Path(__file__).parents[2]


def listed():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## From the command to the operator")[1].split("\n## ")[0]
    return re.findall(r"^\d\. `(\S+): (\w+)`", section, re.MULTILINE)


def test_the_way_from_the_command_to_the_operator_is_as_listed(
    macnn, trained, birds, tmp_path, monkeypatch
):
    stacks = []
    operator = locator.part_attention

    def noted(*arguments, **options):
        stacks.append(traceback.extract_stack()[:-1])
        return operator(*arguments, **options)

    monkeypatch.setattr(locator, "part_attention", noted)
    small = ("--rounds", 1, "--epochs", 1, "--set", "data.validation=0")
    code, _, error = macnn(
        "train", "--init", trained("parts"), "--data", birds, "--output", tmp_path / "run", *small
    )
    assert code == 0, error
    calls = [
        (str(Path(frame.filename).relative_to(ROOT)), frame.name)
        for frame in stacks[-1]
        if Path(frame.filename).is_relative_to(ROOT) and ".venv" not in frame.filename
    ]
    start = next(i for i, (file, _) in enumerate(calls) if file == "cli/macnn_cli/train.py")
    assert calls[start:] == listed()
    assert len(listed()) <= 7
