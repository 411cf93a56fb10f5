"""What the library says becomes what can be typed."""

import pytest
import typer

from macnn.errors import UsageError
from macnn.events import Notice
from macnn_cli import wording
from macnn_cli.console import listening
from macnn_cli.main import app
from macnn_cli.options import typed_names


@pytest.fixture
def of(monkeypatch):
    """Speak as a command does."""

    def speak(name):
        command = typer.main.get_command(app).commands[name]
        monkeypatch.setattr(wording, "_options", typed_names(command))
        return wording.as_typed

    return speak


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("raise `data.image_size`", "raise --img-size"),
        ("`data.image_size=96`: too small", "--img-size 96: too small"),
        ("raise `train.margin`", "raise --set train.margin=..."),
        ("try `train.margin=0.1`", "try --set train.margin=0.1"),
        ("set `run.compile=true`", "set --compile"),
        ("pass `overwrite`, or another `output`", "pass --overwrite, or another --output"),
        ("`weights` and `init`", "--weights and --init"),
        ("`pretrain.keep` and `part_cnn.epochs`", "`pretrain.keep` and `part_cnn.epochs`"),
        ("a `state_dict` in `x.y` of `file.toml`", "a `state_dict` in `x.y` of `file.toml`"),
        ("`a\nb` ``lr` --lr", "`a\nb` `--lr --lr"),
    ],
)
def test_settings_and_arguments_become_options_and_all_else_stays(of, said, typed):
    assert of("train")(said) == typed


def test_a_command_says_only_what_it_takes(of):
    assert of("export")("`data.image_size`, `overwrite`") == "`data.image_size`, --overwrite"
    assert of("pretrain-parts")("`data.augment`") == "`data.augment`"


def test_errors_and_notices_are_shown_in_options(macnn, monkeypatch):
    from macnn.commands.doctor import run as stage

    def run(settings, listen):
        listen(Notice("warning", "no `run.threads`"))
        raise UsageError("`run.device=x`: unknown", hint="see `run.seed`")

    monkeypatch.setattr(stage, "run", run)
    code, out, err = macnn("doctor")
    assert (code, out) == (2, "")
    assert err == "warning: no --threads\nmacnn: --device x: unknown; see `run.seed`\n"


def test_before_a_command_runs_nothing_is_translated(capsys, monkeypatch):
    monkeypatch.setattr(wording, "_options", {})
    with listening(quiet=True) as listen:
        listen(Notice("warning", "`data.root`"))
    assert capsys.readouterr().err == "warning: `data.root`\n"
