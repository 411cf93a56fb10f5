"""`macnn bench`: how fast the operators are here."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from macnn_cli.console import listening, print_line, print_result, print_table
from macnn_cli.options import FOR_ALL, JSON, QUIET, Given, takes_settings

OUTPUT = Annotated[
    Path | None, typer.Option("--output", help="File for the JSON object, beside the table.")
]
REPEATS = Annotated[int, typer.Option("--repeats", help="Timed runs per figure.", min=2)]

app = typer.Typer(help="Measure speed.", no_args_is_help=True)


@app.command("ops")
@takes_settings("run.device", "run.threads", also=("run.kernels", *FOR_ALL))
def ops(
    *,
    given: Given,
    batch: Annotated[int | None, typer.Option("--batch", help="Images B.")] = None,
    channels: Annotated[int | None, typer.Option("--channels", help="Channels C.")] = None,
    height: Annotated[int | None, typer.Option("--height", help="Rows of the map.")] = None,
    width: Annotated[int | None, typer.Option("--width", help="Columns of the map.")] = None,
    parts: Annotated[int | None, typer.Option("--parts", help="Parts N.")] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option("--dtype", help="Type of the features."),
    ] = None,
    repeats: REPEATS = 50,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compiled/--no-compiled", help="Measure torch.compile too; by default on CUDA only."
        ),
    ] = None,
    output: OUTPUT = None,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Each operator against a plain module, its compiled form and the memory of the device.

    By default 64 bfloat16 images on CUDA and 8 float32 images on the CPU, with 512 channels,
    28 x 28 cells and 4 parts.
    """
    from dataclasses import replace

    from macnn.commands.bench.operators import bench_operators, default_shape
    from macnn.runs.setup import prepare

    _check_output(output)
    device = prepare(given.resolve().settings)
    sizes: dict[str, Any] = {
        "batch": batch,
        "channels": channels,
        "height": height,
        "width": width,
        "parts": parts,
        "dtype": dtype,
    }
    sizes = {name: size for name, size in sizes.items() if size is not None}
    with listening(quiet or json) as listen:
        found = bench_operators(
            replace(default_shape(device), **sizes),
            device=device,
            repeats=repeats,
            compiled=compiled,
            listen=listen,
        )
    _deliver(found, output, json, _show)


@app.command("train")
@takes_settings(
    *("data.image_size", "data.batch_size", "data.workers"),
    *("model.backbone", "model.weights", "model.parts"),
    *("run.device", "run.threads", "run.precision", "run.compile"),
    also=("model", "train", "run.kernels", *FOR_ALL),
)
def train(
    *,
    given: Given,
    repeats: REPEATS = 10,
    output: OUTPUT = None,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Each phase of training against a plainly written module and the bare backbone.

    By default SqueezeNet at 224 pixels on the CPU and VGG-19 at 448 on CUDA, with random weights,
    on generated photographs.
    """
    from macnn.commands.bench.training import bench_training
    from macnn.runs.setup import prepare

    _check_output(output)
    device = prepare(given.resolve().settings)
    usual = {"model.backbone": "squeezenet1_0", "data.image_size": 224, "model.weights": "none"}
    if device.type == "cuda":
        usual |= {"model.backbone": "vgg19", "data.image_size": 448, "data.batch_size": 32}
    settings = given.resolve(("bench train", usual)).settings
    with listening(quiet or json) as listen:
        found = bench_training(settings, device, repeats=repeats, listen=listen)
    _deliver(found, output, json, _show_phases)


@app.command("scale")
@takes_settings("run.device", "run.threads", also=("run.kernels", *FOR_ALL))
def scale(
    *,
    given: Given,
    repeats: REPEATS = 10,
    output: OUTPUT = None,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """How cost grows with batch, channels, parts, map, classes, images and processes.

    One size changes at a time, around 8 images, 256 channels, 14 x 14 cells and 4 parts.
    """
    from macnn.commands.bench.cases import Shape
    from macnn.commands.bench.scaling import bench_scaling
    from macnn.runs.setup import prepare

    _check_output(output)
    device = prepare(given.resolve().settings)
    base = Shape(batch=8, channels=256, height=14, width=14, parts=4, dtype="float32")
    with listening(quiet or json) as listen:
        found = bench_scaling(base, device, repeats=repeats, listen=listen)
    _deliver(found, output, json, _show_curves)


def _show_curves(found: dict[str, Any]) -> None:
    for axis in dict.fromkeys(row["axis"] for row in found["curves"]):
        rows = [row for row in found["curves"] if row["axis"] == axis]
        print_table(
            f"{found['device']}: milliseconds over {axis}",
            ["operator", *(str(row["size"]) for row in rows)],
            [
                [name, *(f"{1e3 * row['seconds'][name]:.3f}" for row in rows)]
                for name in rows[0]["seconds"]
            ],
        )
    print_table(
        "The clustering pass over generated features, 64 channels of 14 x 14",
        ["images", "seconds", "memory growth, MB"],
        [
            [f"{r['images']:,}", f"{r['seconds']:.2f}", f"{r['memory_growth_bytes'] / 1e6:.1f}"]
            for r in found["statistics"]
        ],
    )
    print_table(
        "Processes: a shared clustering pass, and a training step of 16 images in each",
        ["processes", "pass, s", "step, ms"],
        [
            [
                str(r["processes"]),
                f"{r['statistics_seconds']:.3f}",
                f"{1e3 * r['step_seconds']:.1f}",
            ]
            for r in found["processes"]
        ],
    )


def _check_output(output: Path | None) -> None:
    from macnn.errors import UsageError

    if output and not output.parent.is_dir():
        raise UsageError(f"--output {output}: no folder {output.parent}", hint="make it first")


def _deliver(
    found: dict[str, Any],
    output: Path | None,
    json: bool,
    show: Callable[[dict[str, Any]], None],
) -> None:
    """Write the figures to a file if asked, and print them as JSON or as tables."""
    from macnn.files import write_json

    if output:
        write_json(output, found)
    print_result(found, json, show)


def _show_phases(found: dict[str, Any]) -> None:
    rivals = list(dict.fromkeys(name for row in found["phases"] for name in row["ratios"]))
    rows = [
        [
            row["phase"],
            f"{row['images_per_second']:.1f}",
            *(f"{row['ratios'][n]:.2f}" if n in row["ratios"] else "-" for n in rivals),
        ]
        for row in found["phases"]
    ]
    print_table(
        f"{found['device']}: {found['backbone']}, {found['image_size']} px, batch "
        f"{found['batch_size']}, {found['parts']} parts, {found['precision']}",
        ["phase", "images/s", *(f"x {name}" for name in rivals)],
        rows,
    )
    for row in found["phases"]:
        split = ", ".join(f"{name} {1e3 * part:.1f}" for name, part in row["split"].items())
        print_line(f"A step of {row['phase']} in ms: {split}")
    print_line(
        f"Medians of {found['repeats']} steps in turn; CPU threads: "
        f"{found['environment']['threads']}."
    )
    print_line(
        "x: how many times faster than that implementation (backbone: global average pooling)."
    )
    print_line(
        f"Waiting for data with {found['workers']} worker(s): "
        f"{100 * found['data']['share']:.0f} % of a convolution epoch."
    )


def _show(found: dict[str, Any]) -> None:
    rivals = list(dict.fromkeys(name for row in found["rows"] for name in row["speedup"]))
    shape = ", ".join(f"{name} {size}" for name, size in found["shape"].items())
    print_table(
        f"{found['device']}: {shape}",
        ["operator", "ms", "quartiles", *(f"x {name}" for name in rivals), "memory"],
        [_row(row, rivals) for row in found["rows"]],
    )
    print_line(
        f"Medians of {found['repeats']} runs; CPU threads: {found['environment']['threads']}."
    )
    print_line("x: how many times faster than that implementation.")
    print_line(
        "memory: bytes that must move per second, as a share of the device's copy bandwidth, "
        f"{found['copy_bandwidth'] / 1e9:.1f} GB/s."
    )


def _row(row: dict[str, Any], rivals: list[str]) -> list[str]:
    time, share = row["times"]["operator"], row["of_copy_bandwidth"]
    return [
        f"{row['operator']} {row['direction']}",
        f"{1e3 * time['median']:.3f}",
        f"{1e3 * time['low']:.3f} to {1e3 * time['high']:.3f}",
        *(f"{row['speedup'][name]:.2f}" if name in row["speedup"] else "-" for name in rivals),
        "-" if share is None else f"{100 * share:.0f} %",
    ]
