"""Settings of a run: where, and how it happens."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from macnn import bounds
from macnn.config.section import Section, absolute, setting


class RunSettings(Section):
    """Where and how a run happens."""

    output: Path | None = setting(None, "--output", "Run folder to write.")
    seed: int = setting(0, "--seed", "Seed of everything random.", ge=0, le=bounds.SEED)
    device: str = setting("auto", "--device", "auto, cpu, cuda or cuda:N.", max_length=bounds.NAME)
    threads: int | None = setting(
        None, "--threads", "CPU threads; by default PyTorch's.", ge=1, le=1024
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32",
        "--precision",
        "Precision of the convolutions; weights and losses stay fp32, fp16 scales the loss.",
    )
    compile: bool = setting(False, "--compile", "Compile the backbone with torch.compile.")
    deterministic: bool = setting(
        False,
        "--deterministic",
        "Only deterministic algorithms: the same bytes again on the same machine and versions.",
    )
    kernels: Literal["auto", "triton", "reference"] = setting(
        "auto", "--kernels", "Implementation of the operators."
    )

    process_timeout: int = setting(
        600,
        "--process-timeout",
        "Seconds until a process that does not answer the others counts as lost, for torchrun to "
        "start all again.",
        ge=1,
        le=7 * 24 * 3600,
    )
    save_every: int = setting(
        0,
        "--save-every",
        "Steps between checkpoints; 0 saves after every round only.",
        ge=0,
        le=bounds.COUNT,
    )
    keep_checkpoints: int = setting(
        2,
        "--keep-checkpoints",
        "How many of the newest checkpoints to keep beside the best.",
        ge=1,
        le=bounds.COUNT,
    )
    tensorboard: bool = setting(
        False,
        "--tensorboard",
        "Write the metrics of training for TensorBoard too, to tensorboard/ in the run folder; "
        "needs the extra of that name.",
    )

    @field_validator("output")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else absolute(path)
