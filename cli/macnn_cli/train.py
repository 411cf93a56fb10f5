"""`macnn train`: alternate between grouping and features."""

from pathlib import Path
from typing import Annotated

import typer

from macnn_cli.console import listening, percent, print_json, print_table
from macnn_cli.options import JSON, OVERWRITE, QUIET, Given, takes_settings

INIT = Annotated[
    Path | None,
    typer.Option("--init", help="Run folder or checkpoint of 'macnn pretrain-parts'."),
]


@takes_settings("data", "model", "train", "run")
def train(
    *,
    given: Given,
    init: INIT = None,
    overwrite: OVERWRITE = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Train by alternating: grouping layers on L_cng, convolutions and classifiers on L_cls.

    Data and model settings come from the checkpoint of --init unless given. With --parts 0 trains
    the global-average-pool baseline of the same backbone with the same budget.
    """
    from macnn.runs.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(init, "parts") if init else None
    base = checkpoint.layer("data", "model") if checkpoint else None
    settings = given.resolve(base).settings
    from macnn.training.train import run

    with listening(quiet or json) as listen:
        summary = run(settings, checkpoint, overwrite=overwrite, listen=listen)
    if json:
        print_json(summary)
        return
    rows = [
        ["rounds", str(summary["rounds"])],
        ["optimiser steps", str(summary["steps"])],
        ["seconds per epoch", f"{summary['seconds_per_epoch']:.1f}"],
        ["validation accuracy", percent(summary["validation_accuracy"])],
        ["checkpoint", summary["checkpoint"]],
    ]
    print_table("Trained", ["figure", "value"], rows)
