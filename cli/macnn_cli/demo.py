"""`macnn demo`: the main job on synthetic birds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from macnn_cli.console import listening, percent, print_line, print_result, print_table
from macnn_cli.options import JSON, OVERWRITE, QUIET


def demo(
    *,
    output: Annotated[Path, typer.Option("--output", help="Folder for data and runs.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Seed of data and runs.")] = 0,
    overwrite: OVERWRITE = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Draw synthetic birds, find their parts, train, and compare with the baseline.

    Runs 'data synth', 'pretrain-parts', 'train', 'train --parts 0' and 'eval' with the preset
    'demo': a few minutes on two CPU cores, nothing downloaded.
    """
    from macnn.commands.demo import run

    with listening(quiet or json) as listen:
        result = run(output, seed=seed, overwrite=overwrite, listen=listen)
    print_result(result, json, show)


def show(result: dict[str, Any]) -> None:
    """Print the comparison as a table."""
    rows = [
        [
            row["name"],
            percent(row["accuracy"]),
            percent(row["pck10"]),
            percent(row["peak_collision_rate"]),
        ]
        for row in result["rows"]
    ]
    print_table(
        f"{result['classes']} classes of synthetic birds, {result['images']} test images",
        ["", "accuracy", "PCK 0.1", "peak collisions"],
        rows,
    )
    print_line(
        "PCK 0.1: parts that land within 0.1 of the bird's box of their landmark, one-to-one."
    )
    print_line("peak collisions: images in which two parts peak within one cell of each other.")
    print_line(f"Where the parts look: {result['picture']}")
    print_line(f"All of it, for a browser: {result['page']}")
