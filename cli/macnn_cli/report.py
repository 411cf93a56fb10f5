"""`macnn report`: one page about an evaluated run."""

from pathlib import Path
from typing import Annotated

import typer

from macnn_cli.console import print_json, print_line
from macnn_cli.evaluate import BASELINE, SPLIT
from macnn_cli.options import JSON, Given, takes_settings


@takes_settings("data.root", also=("data",), without=("data.augment", "data.batch_size"))
def report(
    *,
    given: Given,
    run: Annotated[Path, typer.Option("--run", help="Run folder that 'eval' measured.")],
    split: SPLIT = "test",
    baseline: BASELINE = None,
    json: JSON = False,
) -> None:
    """Write one HTML page about a run, to look at offline: report/report-SPLIT.html.

    'eval' writes it too; this draws it again, with another baseline or after the images have
    moved, and runs no network.
    """
    from macnn.commands.report import run as write_page
    from macnn.report.page import read_baseline
    from macnn.runs.contents import refuse_links
    from macnn.runs.portable import read_settings

    settings = given.resolve(read_settings(run)).settings
    refuse_links(run)
    compared = read_baseline(baseline, split) if baseline else None
    file = write_page(run, settings, split=split, baseline=compared)
    if json:
        print_json({"page": str(file)})
    else:
        print_line(str(file))
