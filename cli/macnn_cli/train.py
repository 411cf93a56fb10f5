"""`macnn train`: alternate between grouping and features."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from macnn_cli.console import listening, number, percent, print_line, print_result, print_table
from macnn_cli.options import AUTO, JSON, OVERWRITE, QUIET, RESUME, Given, resumed, takes_settings

INIT = Annotated[
    Path | None, typer.Option("--init", help="Run folder or checkpoint of 'pretrain-parts'.")
]


# Settings of what the pooled baseline lacks: attention maps and grouping layers.
OF_PARTS = (
    *(f"model.{name}" for name in ("hidden", "activation", "power", "gain", "map_gradient")),
    *("model.map_tap", "model.split_signs"),
    *("model.part_features", "model.whole_image"),
    *("train.grouping_steps", "train.grouping_lr", "train.margin"),
    *("train.distance_weight", "train.distance_unit", "train.diversity_weight"),
    *("train.anchor_weight", "train.conv_grouping_weight"),
)


@takes_settings("data", "model", "train", "run", also=("run.kernels",))
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

    Data and model settings come from --init unless given; --parts 0 trains the pooled baseline.
    """
    from macnn.commands.train import run
    from macnn.runs.checkpoint import read_checkpoint

    stopped, settings = resumed(given, resume, "macnn", "baseline", overwrite=overwrite, init=init)
    if init:
        given.refuse(["model.weights"], "with --init, which brings its own")
    parts = read_checkpoint(init, "parts") if init and not stopped else None
    if stopped is None:
        settings = given.resolve(parts.layer("data", "model") if parts else None).settings
    if settings.model.parts == 0:
        given.refuse(OF_PARTS, "on the baseline, which has no parts")
    with listening(quiet or json) as listen:
        summary = run(
            settings, parts, overwrite=overwrite or resume == AUTO, resume=stopped, listen=listen
        )
    print_result(summary, json, partial(show, length="rounds"))


def show(summary: dict[str, Any], *, length: str) -> None:
    """Print how a training went; `length` is what its length is told in, rounds or epochs."""
    rows = [
        [length, str(summary[length])],
        ["optimiser steps", str(summary["steps"])],
        ["seconds per epoch", number(summary["seconds_per_epoch"], ".1f")],
        ["of which waiting for data", percent(summary["data_wait_share"])],
        ["validation accuracy", percent(summary["validation_accuracy"])],
    ]
    print_table("Trained", ["figure", "value"], rows)
    print_line(f"checkpoint: {summary['checkpoint']}")
