"""matplotlib is imported and drawn with as it comes, whatever lies in the current folder."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

import macnn
import macnn_cli
from macnn.plotting import Figure, default_style

IMPORT = """
import os
here = os.getcwd()
import macnn.{module}
import matplotlib
assert os.getcwd() == here
assert matplotlib.rcParams["lines.linewidth"] != 99
"""


@pytest.mark.parametrize(
    ("module", "lay"),
    [
        ("plotting", lambda file: file.write_text("lines.linewidth: 99")),
        ("evaluation.metrics", os.mkfifo),  # by way of torchmetrics
    ],
)
def test_settings_of_the_current_folder_are_not_read(tmp_path, module, lay):
    lay(tmp_path / "matplotlibrc")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(module=module)],
        cwd=tmp_path, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_pictures_are_drawn_in_the_default_style_and_the_users_is_kept():
    before = matplotlib.rcParams["lines.linewidth"]
    with matplotlib.rc_context({"lines.linewidth": 99}):
        with default_style():
            (line,) = Figure().add_subplot().plot([1, 2])
        assert line.get_linewidth() == matplotlib.rcParamsDefault["lines.linewidth"]
        assert matplotlib.rcParams["lines.linewidth"] == 99
    assert matplotlib.rcParams["lines.linewidth"] == before


def test_all_imports_of_matplotlib_go_through_one_module():
    for package in (macnn, macnn_cli):
        for file in Path(package.__file__).parent.rglob("*.py"):
            if file.name == "plotting.py":
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in getattr(node, "names", ()) if
                         isinstance(node, ast.Import)]  # fmt: skip
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not any(name.split(".")[0] == "matplotlib" for name in names), file
