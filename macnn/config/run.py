"""Settings of a run: where, and how it happens."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from macnn import bounds
from macnn.config.section import Section, absolute, setting


class RunSettings(Section):
    """Where and how a run happens."""

    output: Path | None = setting(None, "Run folder to write.", flag="--output")
    seed: int = setting(0, "Random seed.", flag="--seed", ge=0, le=bounds.SEED)
    device: str = setting(
        "auto", "auto, cpu, cuda or cuda:N.", flag="--device", max_length=bounds.NAME
    )
    threads: int | None = setting(
        None,
        "CPU threads; by default PyTorch's choice.",
        flag="--threads",
        unit="threads",
        ge=1,
        le=1024,
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", "Of the convolutions; weights stay fp32.", flag="--precision"
    )
    compile: bool = setting(False, "Compile the backbone with torch.compile.", flag="--compile")
    deterministic: bool = setting(
        False,
        "Use deterministic algorithms only: the same bytes again on the same machine and versions.",
    )
    kernels: Literal["auto", "triton", "reference"] = setting(
        "auto", "Operators: auto, triton or reference.", flag="--kernels"
    )

    process_timeout: int = setting(
        600,
        "How long a process may leave the others without an answer before it counts as lost, and "
        "torchrun restarts them all.",
        unit="seconds",
        ge=1,
        le=7 * 24 * 3600,
    )
    save_every: int = setting(
        0,
        "Steps between checkpoints; 0: every round.",
        flag="--save-every",
        unit="steps",
        ge=0,
        le=bounds.COUNT,
    )
    keep_checkpoints: int = setting(
        2,
        "How many of the newest checkpoints to keep beside the best.",
        unit="checkpoints",
        ge=1,
        le=bounds.COUNT,
    )
    tensorboard: bool = setting(
        False, "Write the metrics for TensorBoard too.", flag="--tensorboard"
    )

    @field_validator("output")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else absolute(path)
