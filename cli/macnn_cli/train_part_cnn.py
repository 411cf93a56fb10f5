"""`macnn train-part-cnn`: joint recognition on crops around the parts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from macnn_cli.console import listening, print_result
from macnn_cli.options import AUTO, JSON, OVERWRITE, QUIET, RESUME, Given, resumed, takes_settings
from macnn_cli.train import show


@takes_settings(
    *("data", "part_cnn", "train.lr", "train.backbone_lr_scale", "train.ema", "run"),
    "train.grad_accum_steps",
    also=(
        *("train.warmup", "train.schedule", "train.layer_lr_scales", "train.momentum"),
        *("train.weight_decay", "train.clip_grad_norm", "run.kernels"),
    ),
)
def train_part_cnn(
    *,
    given: Given,
    init: Annotated[
        Path | None,
        typer.Option("--init", help="Run folder or checkpoint of 'train'."),
    ] = None,
    resume: RESUME = None,
    overwrite: OVERWRITE = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Train one stream per crop, whole image, object and every part, and a classifier on all.

    The checkpoint of --init finds the parts and is not trained further. Data settings come from it
    unless given. With an --img-size that is a multiple of its own, crops are cut from larger
    photographs than the ones it looks at.
    """
    from macnn.commands.train_part_cnn import run
    from macnn.runs.checkpoint import read_checkpoint

    stopped, settings = resumed(given, resume, "part-cnn", overwrite=overwrite, init=init)
    trained = read_checkpoint(init, "macnn") if init and not stopped else None
    if stopped is None:
        settings = given.resolve(trained.layer("data", "model") if trained else None).settings
    with listening(quiet or json) as listen:
        summary = run(
            settings, trained, overwrite=overwrite or resume == AUTO, resume=stopped, listen=listen
        )
    print_result(summary, json, partial(show, length="epochs"))
