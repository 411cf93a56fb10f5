"""`macnn export`: take a trained model elsewhere."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from macnn_cli.console import listening, print_result, print_table
from macnn_cli.options import JSON, QUIET


def export(
    *,
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Run folder, or one of its checkpoints/step-N.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder to write.")],
    form: Annotated[
        Literal["safetensors", "torch-export", "onnx"],
        typer.Option(
            "--format",
            help="safetensors: weights, to be used with macnn. torch-export: a program for PyTorch "
            "alone. onnx: for ONNX Runtime and others; needs macnn\\[onnx].",
        ),
    ] = "safetensors",
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            help="Largest difference of a logit from the original; beyond it nothing is written.",
        ),
    ] = 1e-4,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an export that is there already.")
    ] = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Write a trained model with class names, preprocessing and a model card.

    The model takes uint8 RGB images in batches of any size and answers with logits and part boxes.
    The exported file is run beside the original before it is kept. Triton is not needed to run it.
    """
    from macnn.commands.export import export as write
    from macnn.runs.checkpoint import read_checkpoint

    with listening(quiet or json) as listen:
        description = write(
            read_checkpoint(checkpoint),
            output,
            form,
            tolerance=tolerance,
            overwrite=overwrite,
            listen=listen,
        )
    print_result({"output": str(output), **description}, json, _show)


def _show(description: dict[str, Any]) -> None:
    output, parity = Path(description["output"]), description["parity"]
    print_table(
        f"Exported as {description['file_format']}",
        ["figure", "value"],
        [
            ["model", str(output / description["file"])],
            ["class names, preprocessing", str(output / "model.json")],
            ["model card", str(output / "README.md")],
            ["largest difference of a logit", f"{parity['logits']:.2g}"],
            ["largest difference of a box side, pixels", f"{parity['boxes']:.2g}"],
            ["in batches of", ", ".join(map(str, parity["batches"]))],
        ],
    )
