"""A run that somebody else made is read as what it is, and decides nothing about this machine."""

import hashlib
import json
import shutil
import sys

import pytest
import torch

from macnn.config import Settings, resolve
from macnn.errors import CheckpointError, MacnnError
from macnn.model.specs import LocatorSpec, MACNNSpec, build
from macnn.runs.checkpoint import read_checkpoint, write_checkpoint
from macnn.runs.folder import RunFolder

USAGE, CHECKPOINT = 2, 4
THEIRS = {  # what belongs to a machine
    "data.root": "/etc",
    "data.cache": "/var/cache",
    "data.workers": 64,
    "model.weights": "/etc/passwd",
    "run.output": "/srv/run",
    "run.device": "cuda:7",
    "run.threads": 64,
    "run.compile": True,
    "run.kernels": "triton",
    "run.process_timeout": 99_999,
    "run.tensorboard": True,
}
MODEL = {"data.image_size": 64, "data.resize_mode": "pad", "data.batch_size": 5, "model.power": 3.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of this machine with these settings, by kind of checkpoint."""
    folder = tmp_path_factory.mktemp("runs")
    settings = resolve(flags=THEIRS | MODEL, environ={}).settings
    names = tuple(f"{i:03}.Bird_{i}" for i in range(1, 17))
    colours = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    found = {"backbone": "tiny", "tap": None, "map_tap": None, "split_signs": False, **colours,
             "image_size": 64, "parts": 4, "hidden": None, "activation": "sigmoid",
             "power": 3.0, "competition": 1.0}  # fmt: skip
    specs = {
        "parts": LocatorSpec(**found),
        "macnn": MACNNSpec(
            **found, classes=16, part_features="plain", map_gradient=False, whole_image=True
        ),
    }
    for kind, spec in specs.items():
        with RunFolder(folder / kind, settings, names, overwrite=False) as run:
            write_checkpoint(
                run.checkpoints, kind, 5, {"model": build(spec).state_dict()}, run=run.run_id,
                network=spec, class_names=names, settings=settings,
            )  # fmt: skip
            run.finish({})
    return folder


@pytest.fixture
def theirs(runs, tmp_path):
    """The same as somebody else made it: theirs("macnn") is a run folder to be changed."""

    def download(kind):
        run = shutil.copytree(runs / kind, tmp_path / f"their-{kind}")
        status = json.loads((run / "status.json").read_text())
        status["machine"] = hashlib.sha256(b"theirs").hexdigest()
        (run / "status.json").write_text(json.dumps(status))
        return run

    return download


class InForceError(MacnnError):
    """Carries settings out of a command."""


@pytest.fixture
def in_force(macnn, monkeypatch):
    """The settings that a command would have gone to work with: in_force("eval", ...)."""
    found = []

    def caught(*arguments, **more):
        found.extend(a for a in (*arguments, *more.values()) if isinstance(a, Settings))
        raise InForceError("caught")

    for name in ("macnn.commands.evaluate", "macnn.commands.report", "macnn.commands.train",
                 "macnn.commands.train_part_cnn"):  # fmt: skip
        __import__(name)
        monkeypatch.setattr(sys.modules[name], "run", caught)

    def call(*arguments):
        code, _, err = macnn(*arguments)
        assert (code, err) == (1, "macnn: caught\n")
        values = found.pop().model_dump(mode="json")
        return {
            f"{section}.{key}": v for section, inner in values.items() for key, v in inner.items()
        }

    return call


COMMANDS = {
    "eval": ("macnn", "eval", "--checkpoint"),
    "report": ("macnn", "report", "--run"),
    "train": ("parts", "train", "--init"),
    "train-part-cnn": ("macnn", "train-part-cnn", "--init"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_belongs_to_a_machine_is_not_taken_from_their_run(in_force, theirs, command):
    kind, *arguments = COMMANDS[command]
    found = in_force(*arguments, theirs(kind))
    default = resolve(environ={}).settings.model_dump(mode="json")
    for path in THEIRS:
        section, key = path.split(".")
        assert found[path] == default[section][key], path
    assert found["data.image_size"] == 64
    assert found["data.resize_mode"] == "pad"


@pytest.mark.parametrize("command", ["eval", "report"])
def test_it_is_taken_from_a_run_of_this_machine(in_force, runs, command):
    kind, *arguments = COMMANDS[command]
    found = in_force(*arguments, runs / kind)
    assert {path: found[path] for path in THEIRS if path.startswith(("run.", "data."))} == {
        path: value for path, value in THEIRS.items() if path.startswith(("run.", "data."))
    }


def test_a_token_of_another_run_of_this_machine_is_none(runs, theirs):
    run = theirs("macnn")
    status = json.loads((run / "status.json").read_text())
    status["machine"] = json.loads((runs / "parts" / "status.json").read_text())["machine"]
    (run / "status.json").write_text(json.dumps(status))
    assert read_checkpoint(runs / "macnn").made_here
    assert not read_checkpoint(run).made_here


def test_a_checkpoint_outside_of_its_run_was_made_nowhere(runs, tmp_path):
    step = runs / "macnn/checkpoints/step-5"
    for place in ("step-5", "other/checkpoints/step-5", "macnn/checkpoints/step-6"):
        shutil.copytree(step, tmp_path / place)
        assert not read_checkpoint(tmp_path / place).made_here
    shutil.copytree(runs / "parts", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts/checkpoints/step-5")
    shutil.copytree(step, tmp_path / "parts/checkpoints/step-5")
    assert not read_checkpoint(tmp_path / "parts").made_here


def test_the_data_set_is_asked_for(macnn, theirs):
    code, _, err = macnn("eval", "--checkpoint", theirs("macnn"), "-q")
    assert code == USAGE
    assert "no data set given; name its folder with --data" in err


def test_what_is_left_out_is_said(macnn, theirs, birds):
    line = ("eval", "--checkpoint", theirs("macnn"), "--data", birds)
    assert "made on another machine" in macnn(*line)[2]
    assert "made on another machine" not in macnn(*line, "-q")[2]


def test_predicting_starts_no_processes_and_no_threads_for_them(macnn, theirs, birds, monkeypatch):
    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", None)
    before = torch.get_num_threads()
    picture = next((birds / "images").rglob("*.jpg"))
    code, _, err = macnn("predict", picture, "--checkpoint", theirs("macnn"), "-q")
    assert (code, err) == (0, "")
    assert torch.get_num_threads() == before


def listing(step, change):
    """Have a manifest list other files, with a digest that fits."""
    manifest = json.loads((step / "manifest.json").read_text())
    change(manifest["files"])
    listed = json.dumps(manifest["files"], sort_keys=True).encode()
    manifest["sha256"] = hashlib.sha256(listed).hexdigest()
    (step / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.json"])
def test_a_manifest_without_a_file_of_its_kind_is_refused(theirs, name):
    run = theirs("macnn")
    step = run / "checkpoints/step-5"
    listing(step, lambda files: files.pop(name))
    with pytest.raises(CheckpointError, match=r"manifest\.json|checkpoint\.json"):
        read_checkpoint(run)


@pytest.mark.parametrize("name", ["../../status.json", "/etc/passwd", "trainer.safetensors", "x"])
def test_a_manifest_with_another_file_is_refused(theirs, name):
    run = theirs("macnn")
    step = run / "checkpoints/step-5"
    listing(step, lambda files: files.update({name: files["model.safetensors"]}))
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        read_checkpoint(run)


def test_tensors_that_changed_since_they_were_verified_are_refused(theirs):
    run = theirs("macnn")
    read = read_checkpoint(run)
    file = run / "checkpoints/step-5/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        read.tensors("model")


@pytest.fixture
def stopped(birds, tmp_path, macnn):
    """A run folder with a training to go on with, of a round that was cut short."""
    output = tmp_path / "run"
    line = ("train", "--data", birds, "--parts", 0, "--img-size", 32, "--batch-size", 16,
            "--rounds", 2, "--epochs", 1, "--save-every", 1, "--threads", 2)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        saved = []

        def fail(*_):
            saved.append(1)
            if len(saved) == 2:
                raise MacnnError("stopped")

        patch.setattr("macnn.runs.saver.prune", fail)
        assert macnn(*line, "--output", output, "-q")[0] == 1
    return output


@pytest.mark.parametrize("place", [".", "status.json"])
def test_going_on_with_a_run_that_others_may_write_warns(macnn, stopped, place):
    (stopped / place).chmod(0o777 if (stopped / place).is_dir() else 0o666)
    code, _, err = macnn("train", "--resume", stopped, "-q")
    assert code == 0
    assert "warning: " in err
    assert "other users may write" in err


def test_going_on_with_one_that_they_may_not_does_not(macnn, stopped):
    code, _, err = macnn("train", "--resume", stopped, "-q")
    assert code == 0
    assert "other users" not in err
