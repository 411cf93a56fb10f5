import re
import shutil
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"


def test_the_python_example_runs_as_printed(trained, birds, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(trained("macnn"), tmp_path / "runs" / "macnn")
    for name, file in zip(("a.jpg", "b.jpg"), birds.glob("images/*/*"), strict=False):
        shutil.copy(file, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * (1 + 4)
    assert re.fullmatch(r"a\.jpg \d{3}\.Bird_\d+ 0\.\d\d", lines[0])
    assert all(len(line.split()) == 4 for line in lines[1:5])
