"""`macnn pretrain-parts`: find the parts."""

from typing import Any

from macnn_cli.console import listening, percent, print_line, print_result, print_table
from macnn_cli.options import AUTO, JSON, OVERWRITE, QUIET, RESUME, Given, resumed, takes_settings


@takes_settings(
    *("data", "model", "pretrain", "run"),
    also=("run.kernels",),
    without=(
        "data.augment",
        *(f"model.{name}" for name in ("map_gradient", "part_features", "whole_image")),
        "run.tensorboard",
    ),
)
def pretrain_parts(
    *,
    given: Given,
    resume: RESUME = None,
    overwrite: OVERWRITE = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Find the parts: cluster the channels, fit the grouping layers.

    Streams the training images once. Labels are not used. Writes a run folder with a checkpoint,
    a summary and a picture of where each part looks.
    """
    from macnn.commands.pretrain_parts import run

    stopped, settings = resumed(given, resume, "statistics", "parts", overwrite=overwrite)
    with listening(quiet or json) as listen:
        summary = run(
            settings, overwrite=overwrite or resume == AUTO, resume=stopped, listen=listen
        )
    print_result(summary, json, _show)


def _show(summary: dict[str, Any]) -> None:
    sizes = summary["cluster_sizes"]
    print_table(
        f"{len(sizes)} parts from {summary['images']} images",
        ["figure", "value"],
        [
            ["channels per part", ", ".join(map(str, sizes))],
            ["inertia (squared cells)", f"{summary['inertia']:.6g}"],
            ["inertia over that of one cluster", percent(summary["spread"])],
            [
                "silhouette of 2, 3, ... groups",
                ", ".join(f"{score:.2f}" for score in summary["silhouettes"].values()),
            ],
            ["dead channels", str(len(summary["dead_channels"]))],
            ["channel weights off their indicator by", f"{summary['fit_error']:.2g}"],
        ],
    )
    print_line(f"checkpoint: {summary['checkpoint']}")
    print_line(f"where the parts look: {summary['picture']}")
