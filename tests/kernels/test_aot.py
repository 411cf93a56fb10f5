"""Every default configuration of every kernel compiles for every target, without a GPU."""

import json
import os
import subprocess
import sys

import pytest

from macnn_kernels import aot

# in processes of their own, since interpreted kernels cannot be compiled
COMPILE = """
import dataclasses, json, sys
from macnn_kernels import aot
table = aot.compile_all(targets=sys.argv[1:])
json.dump([dataclasses.asdict(row) for row in table], sys.stdout)
"""


@pytest.fixture(scope="module")
def table():
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILE, target], env=environment, stdout=subprocess.PIPE
        )
        for target in aot.TARGETS
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs)
    return [aot.Compiled(**row) for output in outputs for row in json.loads(output)]


@pytest.mark.slow
def test_every_operator_compiles_for_every_target(table):
    found = {(row.operator, row.target) for row in table}
    assert found == {(operator, target) for operator in aot.OPERATORS for target in aot.TARGETS}


@pytest.mark.slow
def test_nothing_spills_on_sm_90(table):
    assert [row for row in table if row.target == "sm_90" and row.spilled] == []


@pytest.mark.slow
def test_every_program_fits_shared_memory(table):
    # bytes a program may take: 163 KiB on sm_80, 227 KiB on sm_90 and sm_100, 64 KiB on gfx942
    limits = {"sm_80": 163, "sm_90": 227, "sm_100": 227, "gfx942": 64}
    assert [row for row in table if row.shared > limits[row.target] * 1024] == []


def test_interpreted_kernels_are_refused(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match="unset TRITON_INTERPRET"):
        aot.compile_all()
