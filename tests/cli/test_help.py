import os
import subprocess
import sys

import pytest

from macnn import __version__
from macnn.config.settings import paths

COMMANDS = [
    [],
    ["pretrain-parts"],
    ["train"],
    ["train-part-cnn"],
    ["eval"],
    ["predict"],
    ["export"],
    ["report"],
    ["backbones"],
    ["demo"],
    ["data", "synth"],
    ["data", "layouts"],
    ["data", "check"],
    ["data", "cache"],
    ["config", "show"],
    ["bench", "ops"],
]
NO_TORCH = "import sys; from macnn_cli.main import app; assert 'torch' not in sys.modules"


def test_importing_the_command_line_imports_no_torch():
    subprocess.run([sys.executable, "-c", NO_TORCH], check=True)


def test_help_takes_at_most_three_times_as_long_as_its_libraries():
    """Of processor time, the best of three, so that neither a slow nor a busy machine matters."""

    def seconds(*arguments):
        def once():
            before = os.times()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            spent = (after.children_user, after.children_system)
            return sum(spent) - before.children_user - before.children_system

        return min(once() for _ in range(3))

    libraries = seconds("-c", "import typer.rich_utils, rich.markdown, pydantic.types")
    assert seconds("-m", "macnn_cli", "--help") < 3 * libraries


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(macnn, command):
    code, out, err = macnn(*command, "--help")
    assert (code, err) == (0, "")
    assert "Usage: macnn" in out


@pytest.mark.parametrize("group", [[], ["data"], ["config"], ["bench"]], ids=" ".join)
def test_without_arguments_the_help_is_all_that_is_shown(macnn, group):
    code, out, err = macnn(*group)
    assert (code, err) == (2, "")
    assert "Usage: macnn" in out


def test_help_shows_the_default_of_every_setting_that_has_one(macnn, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    out = macnn("config", "show", "--help")[1]
    shown = {line.split()[1]: line for line in out.splitlines() if line.startswith("│ --")}
    for path, field in paths().items():
        flag = field.json_schema_extra["flag"]
        if flag in shown and field.default is not False and field.default not in (None, ""):
            assert f"[default: {field.default}]" in shown[flag], path


def test_the_version_is_printed(macnn):
    assert macnn("--version") == (0, f"macnn {__version__}\n", "")
