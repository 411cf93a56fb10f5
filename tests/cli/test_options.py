"""Options: few enough to survey, each with an effect, and none of earlier versions ignored."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import typer

from macnn.config.settings import Settings, paths
from macnn.errors import UsageError
from macnn.events import Notice
from macnn_cli.main import app

FORMER = [
    line.split("  ")
    for line in (Path(__file__).parent / "former_options.txt").read_text().splitlines()
]
TRAINING = ("pretrain-parts", "train", "train-part-cnn")
SMALL = ("--img-size", 64, "--batch-size", 16, "--set", "data.validation=0.5", "-q")


@pytest.fixture(scope="module")
def commands():
    return typer.main.get_command(app).commands


@pytest.fixture
def read(monkeypatch):
    """The settings that were read since, by dotted path."""
    found = set()
    for section, field in Settings.model_fields.items():
        kind = field.annotation

        def getter(self, name, *, section=section, kind=kind):
            if name in kind.model_fields:
                found.add(f"{section}.{name}")
            return object.__getattribute__(self, name)

        monkeypatch.setattr(kind, "__getattribute__", getter, raising=False)
    return found


@pytest.fixture
def done(macnn):
    def call(*arguments):
        code, _, err = macnn(*arguments)
        assert code == 0, err

    return call


@pytest.mark.parametrize("command", TRAINING)
def test_the_help_of_a_training_fits_a_page(macnn, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "100")
    assert len(macnn(command, "--help")[1].splitlines()) <= 60


def test_every_setting_that_part_pre_training_takes_is_read(commands, read, done, birds, tmp_path):
    done("pretrain-parts", "--data", birds, "--fit-steps", 1, "--output", tmp_path / "run", *SMALL)
    assert read == commands["pretrain-parts"].callback.used


def test_every_setting_that_a_training_takes_is_read(
    commands, read, done, trained, birds, tmp_path
):
    short = ("--data", birds, "--rounds", 1, "--epochs", 1, *SMALL)
    run = tmp_path / "run"
    done("train", "--init", trained("parts"), "--grouping-steps", 1, "--output", run, *short)
    done("train", "--parts", 0, "--output", tmp_path / "baseline", *short)
    assert read == commands["train"].callback.used

    read.clear()
    done(
        "train-part-cnn", "--init", run, "--data", birds, "--stream-epochs", 1,
        "--output", tmp_path / "part-cnn", *SMALL,
    )  # fmt: skip
    assert read >= commands["train-part-cnn"].callback.used


@pytest.mark.parametrize("command", TRAINING)
def test_what_a_command_does_not_take_is_refused(macnn, commands, command):
    unused = paths().keys() - commands[command].callback.used
    assert unused
    for path in unused:
        code, out, err = macnn(command, "--set", f"{path}=1")
        assert (code, out) == (2, "")
        assert err == f"macnn: --set {path} has no effect in this command; leave it out\n"


def test_files_and_environment_are_shared_by_commands(macnn, tmp_path, monkeypatch):
    file = tmp_path / "all.toml"
    file.write_text("[train]\nlr = 0.5\n[part_cnn]\nepochs = 3\n")
    monkeypatch.setenv("MACNN_TRAIN__ROUNDS", "2")
    code, _, err = macnn(
        "pretrain-parts",
        "--config",
        file,
        "--data",
        tmp_path / "nowhere",
        "--output",
        tmp_path / "run",
    )
    assert (code, "no such folder" in err) == (3, True), err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--init", "x", "--weights", "none"), "--weights has no effect with --init"),
        (("--init", "x", "--set", "model.weights=a"), "--set model.weights has no effect with"),
        (("--parts", 0, "--grouping-steps", 3), "--grouping-steps has no effect on the baseline"),
        (("--parts", 0, "--set", "train.margin=1"), "--set train.margin has no effect on the"),
        (("--parts", 0, "--set", "model.map_tap=a"), "--set model.map_tap has no effect on the"),
        (("--resume", "x", "--init", "y"), "--init has no effect with --resume PATH"),
        (("--resume", "auto", "--overwrite"), "--overwrite has no effect with --resume"),
    ],
)
def test_options_that_exclude_each_other_are_refused(macnn, arguments, message):
    code, out, err = macnn("train", "--output", "run", *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("arguments", [("--json",), ("--quiet",), ("--overwrite",)])
@pytest.mark.parametrize("command", TRAINING)
def test_options_that_are_no_settings_reach_the_command(
    macnn, monkeypatch, trained, command, arguments
):
    """What is printed and what may be replaced: with the option it is not as without."""
    before, after = (_received(macnn, monkeypatch, trained, command, a) for a in ((), arguments))
    assert before != after


def _received(macnn, monkeypatch, trained, command, arguments):
    """What a command hands on, and what it prints."""
    seen = {}

    def run(*_, overwrite, listen, **more):
        seen["overwrite"] = overwrite
        listen(Notice("info", "heard"))
        raise UsageError("stop")

    room = import_module(f"macnn.commands.{command.replace('-', '_')}")
    monkeypatch.setattr(room, "run", run)
    init = {"train": ("--init", trained("parts")), "train-part-cnn": ("--init", trained("macnn"))}
    return macnn(command, *init.get(command, ()), *arguments), seen


@pytest.mark.parametrize("command", sorted({command for command, _ in FORMER}))
def test_an_option_of_earlier_versions_says_what_to_use_now(macnn, command):
    for _, option in (row for row in FORMER if row[0] == command):
        code, out, err = macnn(*command.split(), option, 1)
        assert (code, out, len(err.splitlines())) == (2, "", 1), option
        assert err.startswith(f"macnn: {option} "), err
        assert any(
            text in err
            for text in (" is now --", " is a setting: --set ", " is gone: ", " has no effect in ")
        ), err


@pytest.mark.parametrize(
    ("command", "option", "message"),
    [
        ("train", "--rate", "--rate is now --lr"),
        ("train", "--margin", "--margin is a setting: --set train.margin=..."),
        ("train", "--test-share", "--test-share is a setting: --set data.test=..."),
        ("train", "--feature-cache", "--feature-cache is gone: "),
        ("pretrain-parts", "--augment", "--augment has no effect in 'macnn pretrain-parts'"),
        ("export", "--lr", "--lr has no effect in 'macnn export'"),
        ("train", "--rat", "No such option: --rat "),
    ],
)
def test_what_became_of_an_option(macnn, command, option, message):
    assert macnn(command, option, 1)[2].startswith(f"macnn: {message}")


def test_every_setting_is_listed_with_what_is_known_of_it(macnn, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = macnn("config", "show", "--all", "--lr", 0.5)[1]
    assert "train.lr = 0.5  (flag)\n" in out
    assert "data.image_size = 224 pixels  (default)\n" in out
    assert "Default: none (ours; third party, for sgd). Option: --lr." in " ".join(out.split())
    assert all(f"{path} = " in out for path in paths())
    assert max(map(len, out.splitlines())) <= 80


def test_json_says_of_every_setting_what_it_is(macnn):
    shown = json.loads(macnn("config", "show", "--json")[1])
    assert shown.keys() == paths().keys()
    assert shown["data.image_size"]["unit"] == "pixels"
    assert shown["model.power"]["reason"] == "ours; paper: 1; released network: 4"
