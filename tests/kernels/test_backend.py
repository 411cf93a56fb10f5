import subprocess
import sys

import pytest
import torch

from macnn_kernels import backend

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("MACNN_KERNELS", raising=False)
    monkeypatch.setattr(backend, "_selected", None)  # commands that ran before have selected
    monkeypatch.setenv("TRITON_INTERPRET", "0")


def test_cuda_takes_triton_and_everything_else_the_reference():
    assert backend.choose(CUDA).use_triton
    assert not backend.choose(CPU).use_triton
    assert not backend.choose(torch.device("meta")).use_triton


def test_without_triton_the_reference_runs(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    choice = backend.choose(CUDA)
    assert (choice.use_triton, choice.reason) == (False, "triton is not installed")
    with backend.selected("triton"), pytest.raises(ValueError, match="is not installed"):
        backend.choose(CUDA)


def test_the_environment_chooses_and_select_overrides(monkeypatch):
    monkeypatch.setenv("MACNN_KERNELS", "reference")
    assert not backend.choose(CUDA).use_triton
    with backend.selected("auto"):
        assert backend.choose(CUDA).use_triton
    assert backend.mode() == "reference"


def test_triton_by_name_needs_cuda_or_the_interpreter(monkeypatch):
    with backend.selected("triton"):
        assert backend.choose(CUDA).use_triton
        with pytest.raises(ValueError, match="the tensors are on cpu"):
            backend.choose(CPU)
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        assert backend.choose(CPU).use_triton


def test_an_unknown_mode_is_named(monkeypatch):
    with pytest.raises(ValueError, match="unknown mode 'fast'; choose from auto, triton, ref"):
        backend.select("fast")
    monkeypatch.setenv("MACNN_KERNELS", "fast")
    with pytest.raises(ValueError, match="unknown mode 'fast'"):
        backend.mode()


def test_float64_takes_the_reference(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with backend.selected("triton"):
        assert backend.use_triton(torch.ones(1))
        assert not backend.use_triton(torch.ones(1, dtype=torch.float64))


def test_operators_run_where_triton_is_not_installed():
    code = """
import sys
sys.modules["triton"] = None  # importing it is an error
import torch
from macnn_kernels import part_attention
part_attention(torch.ones(1, 2, 3, 3), torch.ones(1, 1, 2), scale=1.0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
