"""`macnn bench`: how fast the operators are here."""

from typing import Annotated, Any, Literal

import typer

from macnn_cli.console import listening, out, print_json, print_table
from macnn_cli.options import JSON, QUIET

app = typer.Typer(help="Measure speed.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure speed."""


@app.command("ops")
def ops(
    *,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
    batch: Annotated[int | None, typer.Option("--batch", help="Images.")] = None,
    channels: Annotated[int | None, typer.Option("--channels", help="Channels C.")] = None,
    height: Annotated[int | None, typer.Option("--height", help="Rows of the map.")] = None,
    width: Annotated[int | None, typer.Option("--width", help="Columns of the map.")] = None,
    parts: Annotated[int | None, typer.Option("--parts", help="Parts N.")] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option("--dtype", help="Type of the features."),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Timed runs per figure.")] = 50,
    compiled: Annotated[
        bool | None,
        typer.Option("--compiled/--no-compiled", help="Measure torch.compile too."),
    ] = None,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Each operator against a plain module, its compiled form and the memory of the device."""
    from dataclasses import replace

    from macnn.bench.cases import Shape
    from macnn.bench.operators import bench_operators

    shape = Shape() if device.startswith("cuda") else Shape(batch=8, dtype="float32")
    given: dict[str, Any] = {
        "batch": batch,
        "channels": channels,
        "height": height,
        "width": width,
        "parts": parts,
        "dtype": dtype,
    }
    shape = replace(shape, **{name: size for name, size in given.items() if size is not None})
    with listening(quiet or json) as listen:
        found = bench_operators(
            shape, device=device, repeats=repeats, compiled=compiled, listen=listen
        )
    content = found.to_json()
    if json:
        print_json(content)
        return
    rivals = list(dict.fromkeys(name for row in content["rows"] for name in row["speedup"]))
    columns = [
        "operator",
        "direction",
        "ms",
        "quartiles",
        *(f"x {name}" for name in rivals),
        "memory",
    ]
    print_table(
        f"{content['device']}, {', '.join(f'{k} {v}' for k, v in content['shape'].items())}",
        columns,
        [_row(row, rivals) for row in content["rows"]],
    )
    out.print(
        "x: how many times faster than that implementation. memory: share of the device's copy "
        f"bandwidth, {content['copy_bandwidth'] / 1e9:.1f} GB/s."
    )


def _row(row: dict[str, Any], rivals: list[str]) -> list[str]:
    time, share = row["times"]["operator"], row["of_copy_bandwidth"]
    return [
        row["operator"],
        row["direction"],
        f"{1e3 * time['median']:.3f}",
        f"{1e3 * time['low']:.3f} to {1e3 * time['high']:.3f}",
        *(f"{row['speedup'][name]:.2f}" if name in row["speedup"] else "-" for name in rivals),
        "-" if share is None else f"{100 * share:.0f} %",
    ]
