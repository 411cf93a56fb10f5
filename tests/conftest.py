"""Material shared by the tests: a small set of synthetic birds, and the real ones where present."""

import os
from pathlib import Path

import pytest
import torch

from macnn.data.synth import write_birds


def pytest_configure():
    # Without a GPU the Triton kernels are interpreted. Triton decides when it is first imported,
    # and parts of PyTorch import it, so before any test module is.
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _two_threads():
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def birds(tmp_path_factory):
    """A folder of synthetic birds: 16 classes of 3 images, 64 px. Not to be written to."""
    folder = tmp_path_factory.mktemp("data") / "birds"
    write_birds(folder, classes=16, images_per_class=3, size=64, seed=0)
    return folder


def _material(variable):
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} is not set: no real material to test on")
    return Path(path)


@pytest.fixture(scope="session")
def real_birds():
    """A folder in the CUB-200-2011 layout with photographs."""
    return _material("MACNN_TEST_CUB")


@pytest.fixture(scope="session")
def real_weights():
    """ImageNet weights of squeezenet1_0."""
    return _material("MACNN_TEST_WEIGHTS")
