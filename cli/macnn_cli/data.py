"""`macnn data`: make data sets."""

from pathlib import Path
from typing import Annotated

import typer

from macnn_cli.console import listening, out
from macnn_cli.options import QUIET

app = typer.Typer(help="Make data sets.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Make data sets."""


@app.command("synth")
def synth(
    *,
    output: Annotated[Path, typer.Option("--output", help="Folder to write; must not hold files.")],
    classes: Annotated[int, typer.Option("--classes", help="Number of classes.")] = 16,
    images_per_class: Annotated[
        int, typer.Option("--images-per-class", help="Images of each class, both splits together.")
    ] = 60,
    size: Annotated[int, typer.Option("--size", help="Side of the images, in pixels.")] = 224,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Draw synthetic birds that only four small parts tell apart, in the CUB-200-2011 layout."""
    from macnn.data.synth import write_birds

    with listening(quiet) as listen:
        write_birds(
            output,
            classes=classes,
            images_per_class=images_per_class,
            size=size,
            seed=seed,
            listen=listen,
        )
    out.print(str(output), highlight=False, markup=False)
