"""`macnn train`: alternate between grouping and features."""

from pathlib import Path
from typing import Annotated

import typer

from macnn_cli.console import listening, number, percent, print_json, print_line, print_table
from macnn_cli.options import AUTO, JSON, OVERWRITE, QUIET, RESUME, Given, resumed, takes_settings

INIT = Annotated[
    Path | None,
    typer.Option("--init", help="Run folder or checkpoint of 'macnn pretrain-parts'."),
]


@takes_settings("data", "model", "train", "run")
def train(
    *,
    given: Given,
    init: INIT = None,
    resume: RESUME = None,
    overwrite: OVERWRITE = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Train by alternating: grouping layers on L_cng, convolutions and classifiers on L_cls.

    Data and model settings come from the checkpoint of --init unless given. With --parts 0 trains
    the global-average-pool baseline of the same backbone with the same budget.
    """
    from macnn.commands.train import run
    from macnn.runs.checkpoint import read_checkpoint

    stopped, settings = resumed(given, resume, "macnn", "baseline")
    parts = read_checkpoint(init, "parts") if init and not stopped else None
    if stopped is None:
        settings = given.resolve(parts.layer("data", "model") if parts else None).settings
    with listening(quiet or json) as listen:
        summary = run(
            settings, parts, overwrite=overwrite or resume == AUTO, resume=stopped, listen=listen
        )
    if json:
        print_json(summary)
        return
    rows = [
        ["rounds", str(summary["rounds"])],
        ["optimiser steps", str(summary["steps"])],
        ["seconds per epoch", number(summary["seconds_per_epoch"], ".1f")],
        ["of which waiting for data", percent(summary["data_wait_share"])],
        ["validation accuracy", percent(summary["validation_accuracy"])],
    ]
    if phase := summary.get("grouping"):
        gain = f", {phase['speed_up']:.1f} times as fast" if "speed_up" in phase else ""
        rows.append(["features of grouping phases kept", phase["kept_in"] + gain])
    print_table("Trained", ["figure", "value"], rows)
    print_line(f"checkpoint: {summary['checkpoint']}")
