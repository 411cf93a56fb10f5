"""`macnn backbones`: which there are, and where one can be tapped."""

from typing import Annotated, Any

import typer

from macnn_cli.console import listening, print_line, print_result, print_table
from macnn_cli.options import JSON, QUIET, Given, takes_settings


@takes_settings(
    *("data.root", "data.dataset", "data.image_size"),
    *("model.weights", "model.parts", "run.device", "run.threads", "run.kernels"),
    also=("data", "model.split_signs", "pretrain.keep"),
    without=("data.augment", "data.batch_size"),
)
def backbones(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|PATTERN", help="A backbone, or a pattern such as 'timm/*vit*'."
        ),
    ] = None,
    given: Given,
    everything: Annotated[bool, typer.Option("--all", help="All layers of a backbone.")] = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """List backbones, or show the images that one expects and the layers it can be tapped at.

    Without a name lists 'tiny' and torchvision's networks. Of a backbone shows the last ends of
    blocks and activations at every stride. With --weights also how many of their values are
    positive and negative, on 64 training images or else on noise; with --data too how well their
    channels form groups that move together, the less inertia is left the better, and whether their
    peaks follow a mirrored image.
    """
    from macnn.commands import backbones as room

    settings = given.resolve().settings
    if name is None or room.is_pattern(name):
        print_result(room.find(name), json, _show_names if name else _show_all)
        return
    with listening(quiet or json) as listen:
        found = room.describe(name, settings, everything=everything, listen=listen)
    print_result(found, json, _show)


def _show_names(found: dict[str, Any]) -> None:
    for name in found["names"]:
        print_line(name)


def _show_all(found: dict[str, Any]) -> None:
    _show_names(found)
    many = found["timm"]
    print_line(
        f"and {many:,} of timm: macnn backbones 'timm/*'"
        if many
        else "and those of timm, once it is installed: pip install 'macnn[timm]'"
    )


def _show(found: dict[str, Any]) -> None:
    mean, std = (", ".join(f"{x:.3g}" for x in found[key]) for key in ("mean", "std"))
    print_line(
        (found["name"], "bold"),
        f": made for {found['image_size']} px, {found['interpolation']}; mean {mean}, standard "
        f"deviation {std}",
    )
    columns = ["layer", "stride", "channels"]
    columns += ["> 0", "< 0"] if found["measured_on"] else ["cells"]
    columns += ["follows", "inertia", "smallest"] if found["parts"] else []
    rows = [[_cell(layer, column) for column in columns] for layer in found["layers"]]
    print_table(f"Layers at {found['measured_at']} px, the last first", columns, rows)
    if found["tap"]:
        print_line(
            "* is tapped by default; another with --set model.tap=LAYER, for the maps alone with "
            "--set model.map_tap=LAYER."
        )
    if not found["measured_on"]:
        print_line("Shapes alone: with --weights, values are measured too.")
        return
    print_line(f"Measured on {found['images']} images: {found['measured_on']}.")
    if found["parts"]:
        print_line(
            "Follows: how far peaks move with a mirrored image; 0% is no more than with another. "
            f"Inertia: what is left of it with the channels in {found['parts']} groups, by where "
            "they peak; + where the signs were split, which makes two of every channel. Smallest: "
            "channels of the smallest group."
        )


def _cell(layer: dict[str, Any], column: str) -> str:
    match column:
        case "layer":
            name = layer["layer"]
            return name + (" *" if layer["default"] else "") if name else "its output"
        case "cells":
            return " x ".join(map(str, layer["cells"]))
        case "stride" | "channels" | "smallest":
            return "-" if layer[column] is None else f"{layer[column]:,}"
    share = layer[{"> 0": "positive", "< 0": "negative", "inertia": "spread"}.get(column, column)]
    split = " +" if column == "inertia" and layer["split_signs"] else ""
    return "-" if share is None else f"{share:.0%}{split}"
