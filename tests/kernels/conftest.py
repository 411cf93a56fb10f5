"""Shared by the operator tests."""

from contextlib import contextmanager

import pytest
import torch

from macnn_kernels import backend


@pytest.fixture
def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def triton():
    """`with triton():` runs the Triton kernels, and new memory holds NaN or the largest integer."""

    @contextmanager
    def forced():
        deterministic = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)  # what fills new memory
        try:
            with backend.selected("triton"):
                yield
        finally:
            torch.use_deterministic_algorithms(deterministic)

    return forced


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("native Triton kernels need a CUDA device; `make gpu` runs this on one")
