"""Every default configuration of every kernel compiles for every target, without a GPU."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import aot

ROOT = Path(__file__).parents[2]
# bytes of shared memory that a program may take
SHARED = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024, "gfx942": 64 * 1024}

# in processes of their own, since interpreted kernels cannot be compiled
COMPILE = """
import dataclasses, json, sys
from tools import aot
table = aot.compile_all(sys.argv[2:], [sys.argv[1]])
json.dump([dataclasses.asdict(row) for row in table], sys.stdout)
"""


@functools.cache
def compiled(target):
    """All rows, from two processes with half the work each: part_attention takes the longest."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    halves = ["part_attention"], [name for name in aot.OPERATORS if name != "part_attention"]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILE, target, *half],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
        )
        for half in halves
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    return [aot.Compiled(**row) for output in outputs for row in json.loads(output)]


@pytest.mark.parametrize(
    "target",
    [t if t == "sm_90" else pytest.param(t, marks=pytest.mark.slow) for t in aot.TARGETS],
)
def test_every_operator_compiles_and_fits_shared_memory(target):
    table = compiled(target)
    assert {row.operator for row in table} == set(aot.OPERATORS)
    assert [row for row in table if row.shared > SHARED[target]] == []


def test_nothing_spills_on_sm_90():
    assert [row for row in compiled("sm_90") if row.spilled] == []


def test_the_table_has_one_line_per_kernel_and_target():
    rows = [
        aot.Compiled("peaks", "gram", "*i32", "BLOCK=32", target, 4, registers, 2048, spilled)
        for target, registers, spilled in (("sm_90", 40, 0), ("sm_90", 64, 8), ("gfx942", 99, 0))
    ]
    text = aot.markdown(rows).splitlines()
    assert [line for line in text if line.startswith("###")] == ["### sm_90", "### gfx942"]
    assert "| peaks | gram | 2 | 1 | 40 to 64 | 2 | 0 to 8 |" in text
    assert "| peaks | gram | 1 | 0 | 99 | 2 | 0 |" in text


def test_what_cannot_be_compiled_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="unknown sm90; choose from sm_80, sm_90"):
        aot.compile_all(targets=["sm90"])
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match="unset TRITON_INTERPRET"):
        aot.compile_all()
