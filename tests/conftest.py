"""Material shared by the tests: a small set of synthetic birds, and the real ones where present."""

import os
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

# Without a GPU the Triton kernels are interpreted. Triton decides when it is first imported, and
# parts of PyTorch import it: so this comes before all that does.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Workers of xdist are told a width, which consoles would keep whatever a test says later.
os.environ.pop("COLUMNS", None)

from macnn.config import resolve
from macnn.data.synth import write_birds
from macnn.model import MACNN, PartLocator, PooledClassifier, create_backbone
from macnn.model.specs import LocatorSpec, MACNNSpec, PooledSpec, build_on
from macnn.runs.checkpoint import write_checkpoint
from macnn.runs.folder import RunFolder
from macnn_cli.main import run as run_command


@pytest.fixture(scope="session", autouse=True)
def _few_threads():
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session")
def birds(tmp_path_factory):
    """A folder of synthetic birds: 16 classes of 3 images, 64 px. Not to be written to."""
    folder = tmp_path_factory.mktemp("data") / "birds"
    write_birds(folder, classes=16, images_per_class=3, size=64, seed=0)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Run folders with a checkpoint each, nothing trained: `trained("macnn")`, `"baseline"`..."""

    seen = {
        "backbone": "tiny",
        "tap": None,
        "map_tap": None,
        "split_signs": False,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "image_size": 64,
    }
    found = seen | {"parts": 4, "hidden": None, "activation": "sigmoid", "power": 8.0}
    found["competition"] = 1.0
    kinds = {
        "parts": (LocatorSpec(**found), PartLocator),
        "macnn": (
            MACNNSpec(
                **found, classes=16, part_features="plain", map_gradient=False, whole_image=True
            ),
            MACNN,
        ),
        "baseline": (PooledSpec(**seen, classes=16), PooledClassifier),
    }

    @cache
    def write(kind):
        torch.manual_seed(0)
        spec, model_class = kinds[kind]
        model = build_on(create_backbone("tiny"), spec, model_class)
        if kind != "baseline":
            model.response_scale.set(2.0)
        run = tmp_path_factory.mktemp("runs") / kind
        settings = resolve(flags={"data.root": "birds", "data.image_size": 64}).settings
        names = tuple(f"{i:03}.Bird_{i}" for i in range(1, 17))
        with RunFolder(run, settings, names, overwrite=False) as folder:
            write_checkpoint(
                folder.checkpoints,
                kind,
                5,
                {"model": model.state_dict()},
                run=folder.run_id,
                network=spec,
                class_names=names,
                settings=settings,
            )
        return run

    return write


@pytest.fixture
def macnn(monkeypatch, capsys):
    """Run the command line in this process: macnn("eval", "--checkpoint", x) -> code, out, err."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["macnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            run_command()
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


def _material(variable):
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"needs photographs and weights of others: set {variable}, see CONTRIBUTING.md")
    return Path(path)


@pytest.fixture(scope="session")
def real_birds():
    """A folder in the CUB-200-2011 layout with photographs."""
    return _material("MACNN_TEST_CUB")


@pytest.fixture(scope="session")
def real_weights():
    """ImageNet weights of squeezenet1_0."""
    return _material("MACNN_TEST_WEIGHTS")


@pytest.fixture(scope="session")
def real_timm_weights():
    """ImageNet weights of timm's tf_efficientnet_lite0."""
    return _material("MACNN_TEST_TIMM_WEIGHTS")
