"""`macnn data`: make data sets, look them over, cache them."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from macnn_cli.console import listening, print_json, print_line, print_result, print_table
from macnn_cli.options import JSON, QUIET, Given, takes_settings
from macnn_cli.wording import as_typed

SHOWN = 20  # findings of one kind on the terminal, unless they stop a command

app = typer.Typer(help="Make, check and cache data sets.", no_args_is_help=True)


@app.command("layouts")
def layouts(*, json: JSON = False) -> None:
    """Show the layouts that are understood, each as a tree of files."""
    from macnn.data.layouts import LAYOUTS

    if json:
        print_json({name: {"title": x.title, "tree": x.tree} for name, x in LAYOUTS.items()})
        return
    for name, layout in LAYOUTS.items():
        print_line((f"--dataset {name}: {layout.title}", "bold"))
        for line in layout.tree.split("\n"):
            print_line(line)


@app.command("check")
@takes_settings("data.dataset", also=("data.allow_links",))
def check(
    *,
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder, or CSV manifest.")],
    given: Given,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Look a data set over: counts, images that do not decode, duplicates, strays.

    Ends with exit code 3 if anything would stop a command that reads it, as training or evaluation.
    """
    from macnn.data.check import check as look_over
    from macnn.errors import DataError

    data = given.resolve().settings.data
    with listening(quiet or json) as listen:
        report = look_over(root, data.dataset, listen, allow_links=data.allow_links)
    print_result(report.to_json(), json, _show)
    if report.stops:
        raise typer.Exit(DataError.exit_code)


@app.command("cache")
@takes_settings(
    *("data.root", "data.dataset", "data.image_size"),
    also=("data",),
    without=("data.resize_mode", "data.augment", "data.batch_size", "data.workers", "data.cache"),
)
def cache(
    *,
    given: Given,
    output: Annotated[Path, typer.Option("--output", help="Folder to write; must not hold files.")],
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Decode all images once, shrink them to --img-size, and write them for 'train --cache'."""
    from macnn.data.cache import write_cache
    from macnn.runs.setup import open_images

    settings = given.resolve().settings
    size, interpolation = settings.data.image_size, settings.data.interpolation or "bilinear"
    with listening(quiet or json) as listen:
        images = open_images(settings, listen)
        counts = write_cache(images, output, size, interpolation, listen)
    if json:
        print_json({"cache": str(output), **counts})
    else:
        print_line(f"{output}: {counts['images']:,} images, {counts['bytes'] / 1e6:,.0f} MB")


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
    print_line(str(output))


def _show(found: dict[str, Any]) -> None:
    """Print what 'data check' found: a table of classes, then sentences."""
    splits = [split for split, count in found["splits"].items() if count]
    rows = [
        [name, *(str(counts[split]) for split in splits)]
        for name, counts in found["classes"].items()
    ]
    if rows:
        total = ["all", *(str(found["splits"][split]) for split in splits)]
        print_table("Images per class", ["class", *splits], [*rows, total])
    print_line(f"{found['root']}: read as {found['layout']}, as {found['why']}")
    if rows:
        counts = ", ".join(f"{found['splits'][split]} {split}" for split in splits)
        print_line(
            f"{found['images']} images ({counts}), {len(rows)} classes, "
            f"{len(found['parts']) or 'no'} annotated landmarks; "
            f"{found['unreadable']} images cannot be read"
        )
    for note in found["notes"]:
        print_line(f"note: {as_typed(note)}")
    told: Counter[str] = Counter()
    for finding in found["findings"]:
        kind = finding["kind"]
        told[kind] += 1
        if finding["stops"]:
            print_line(f"stops the command that reads it: {as_typed(finding['text'])}")
        elif told[kind] <= SHOWN:
            print_line(f"{kind}: {finding['path']}: {as_typed(finding['text'])}")
    for kind, count in told.items():
        if count > SHOWN and kind != "unreadable":
            print_line(f"{kind}: and {count - SHOWN} more, see --json")
