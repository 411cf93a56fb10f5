"""Compile every kernel for several GPUs, on any machine, and report the resources each takes.

The examples in `aot_examples.py` call the launchers on meta tensors. Their launches are captured
instead of started, and compiled for the arguments they would have run with: dtypes, divisibility by
16 and constants are specialised as Triton does at run time. So no signature is written twice.

Interpreted kernels cannot be compiled: run this in a process without `TRITON_INTERPRET`.

    python -m tools.aot [TARGET ...]    writes a Markdown table per target
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from macnn_kernels import backend
from macnn_kernels.launch import Launch, capture_launches
from tools.aot_examples import EXAMPLES

OPERATORS = tuple(EXAMPLES)
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")

_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int8: "*i8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


@dataclass(frozen=True)
class Compiled:
    """What one kernel takes in one default configuration on one target.

    Attributes:
        operator: folder of the operator.
        kernel: name of the kernel.
        types: types of its arguments that are not constants, such as "*bf16 i32".
        constants: block sizes and other constants.
        target: sm_80, sm_90, sm_100 or gfx942.
        num_warps: warps per program.
        registers: vector registers per thread.
        shared: bytes of shared memory per program.
        spilled: bytes per thread (sm) or registers (gfx) that did not fit and go to memory.
    """

    operator: str
    kernel: str
    types: str
    constants: str
    target: str
    num_warps: int
    registers: int
    shared: int
    spilled: int


def compile_all(
    operators: Sequence[str] = OPERATORS, targets: Sequence[str] = TARGETS
) -> list[Compiled]:
    """Compile every default configuration of `operators` for `targets`.

    Raises:
        ValueError: an unknown target, or `TRITON_INTERPRET=1` is set.
    """
    if unknown := set(targets) - set(TARGETS):
        raise ValueError(f"aot: unknown {', '.join(unknown)}; choose from {', '.join(TARGETS)}")
    if backend.interpreted():
        raise ValueError("aot: interpreted kernels cannot be compiled; unset TRITON_INTERPRET")
    table: dict[Compiled, None] = {}  # a set that keeps its order
    for operator in operators:
        with capture_launches() as launches, torch.device("meta"):
            EXAMPLES[operator]()
        for launch in launches:
            for target in targets:
                table[_compile(operator, launch, target)] = None
    return list(table)


def markdown(table: Sequence[Compiled]) -> str:
    """A table per target with a line per kernel; figures are ranges over its configurations."""
    lines = []
    for target in dict.fromkeys(row.target for row in table):
        unit = "bytes" if target.startswith("sm_") else "registers"
        lines += [
            f"### {target}",
            "",
            "| operator | kernel | configurations | of them spill | registers "
            f"| shared memory, KiB | spilled {unit} |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
        on_target = [row for row in table if row.target == target]
        for operator, kernel in dict.fromkeys((row.operator, row.kernel) for row in on_target):
            rows = [row for row in on_target if (row.operator, row.kernel) == (operator, kernel)]
            lines.append(
                f"| {operator} | {kernel} | {len(rows)} | {sum(row.spilled > 0 for row in rows)} "
                f"| {_range(row.registers for row in rows)} "
                f"| {_range(row.shared / 1024 for row in rows)} "
                f"| {_range(row.spilled for row in rows)} |"
            )
        lines.append("")
    return "\n".join(lines)


def _range(figures: Iterable[float]) -> str:
    rounded = {round(figure) for figure in figures}
    return " to ".join(str(figure) for figure in sorted({min(rounded), max(rounded)}))


def _compile(operator: str, launch: Launch, target: str) -> Compiled:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types, constants, divisible = _specialised(launch)
    signature = {name: types.get(name, "constexpr") for name in launch.kernel.arg_names}
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(launch.kernel.arg_names)
        if name in divisible
    }
    nvidia = target.startswith("sm_")
    compiled = triton.compile(
        ASTSource(launch.kernel, signature, constants, attributes),
        target=GPUTarget("cuda", int(target[3:]), 32) if nvidia else GPUTarget("hip", target, 64),
        options=launch.options,
    )
    registers, spilled = (_usage_nvidia if nvidia else _usage_amd)(compiled.asm)
    return Compiled(
        operator=operator,
        kernel=launch.kernel.__name__.removesuffix("_kernel"),
        types=" ".join(types.values()),
        constants=" ".join(f"{name}={value}" for name, value in constants.items()),
        target=target,
        num_warps=launch.config.num_warps,
        registers=registers,
        shared=compiled.metadata.shared,
        spilled=spilled,
    )


def _specialised(launch: Launch) -> tuple[dict[str, str], dict[str, Any], set[str]]:
    """Types of the run-time arguments, constants, and which arguments are multiples of 16."""
    types: dict[str, str] = {}
    constants = {**launch.constants, **launch.config.blocks}
    divisible = set()
    for name, value in zip(launch.kernel.arg_names, launch.args, strict=False):
        if value is None or (type(value) is int and value == 1):
            constants[name] = value
        elif isinstance(value, Tensor):
            types[name] = _POINTERS[value.dtype]
            divisible.add(name)
        elif isinstance(value, float):
            types[name] = "fp32"
        else:
            types[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0:
                divisible.add(name)
    return types, constants, divisible


def _usage_nvidia(asm: dict[str, Any]) -> tuple[int, int]:
    """Registers and spilled bytes per thread; the tool comes with Triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(asm["cubin"])
        file.flush()
        text = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return _number(r"REG:(\d+)", text), _number(r"STACK:(\d+)", text)


def _usage_amd(asm: dict[str, Any]) -> tuple[int, int]:
    """Vector registers per thread, and how many were spilled."""
    text = asm["amdgcn"]
    return _number(r"\.vgpr_count:\s+(\d+)", text), _number(r"\.vgpr_spill_count:\s+(\d+)", text)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"aot: no '{pattern}' in the compiler's output")
    return int(found[1])


if __name__ == "__main__":
    sys.stdout.write(markdown(compile_all(targets=sys.argv[1:] or TARGETS)))
