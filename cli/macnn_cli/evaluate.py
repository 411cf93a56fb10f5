"""`macnn eval`: how good a checkpoint is, and where its parts land."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from macnn_cli.console import listening, number, percent, print_line, print_result, print_table
from macnn_cli.options import FOR_ALL, JSON, QUIET, Given, takes_settings

SPLIT = Annotated[
    Literal["train", "validation", "test"], typer.Option("--split", help="Images to measure on.")
]

BASELINE = Annotated[
    Path | None, typer.Option("--baseline", help="Evaluated run folder to compare with.")
]


@takes_settings(
    *("data.root", "data.dataset", "data.cache", "data.batch_size", "data.workers"),
    *("run.device", "run.threads", "run.kernels"),
    also=("data", "train.margin", "run.precision", "run.compile", *FOR_ALL),
    without=("data.augment",),
)
def evaluate(
    *,
    given: Given,
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Run folder, or one of its checkpoints/step-N.")
    ],
    split: SPLIT = "test",
    baseline: BASELINE = None,
    protocol: Annotated[
        Literal["ours", "published"],
        typer.Option(
            "--protocol",
            help="Measure also where parts land as PDiscoNet and PDiscoFormer report it.",
        ),
    ] = "ours",
    specialisation: Annotated[
        bool,
        typer.Option("--specialisation", help="Cover parts one by one: which classifiers lose?"),
    ] = False,
    json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Evaluate a checkpoint of any kind: accuracy per part or stream and joint, and localisation.

    Settings come from the checkpoint unless given. Figures, pictures and a page that shows them
    also go to the run folder of the checkpoint, under report/.
    """
    from macnn.commands.evaluate import run
    from macnn.runs.checkpoint import read_checkpoint

    read = read_checkpoint(checkpoint)
    settings = given.resolve(read.layer("data", "model", "train", "run")).settings
    with listening(quiet or json) as listen:
        result = run(
            read,
            settings,
            split=split,
            baseline=baseline,
            protocol=protocol,
            specialisation=specialisation,
            listen=listen,
        )
    print_result(result, json, show)


def show(result: dict[str, Any]) -> None:
    """Print the figures of an evaluation as tables."""
    title = f"{result['kind']} checkpoint, {result['images']} {result['split']} images"
    if failed := len(result["failed"]):
        title += f", {failed} more could not be read"
    if accuracy := result["classification"]:
        columns = {"top-1": "top1", "top-5": "top5", "standard error": "standard_error"}
        if accuracy["joint"]["top5"] is None:
            del columns["top-5"]
        rows = [
            [name, *(percent(score[figure]) for figure in columns.values())]
            for name, score in _scores(result)
        ]
        print_table(f"Accuracy: {title}", ["classifier", *columns], rows)
        print_line(f"calibration error {accuracy['calibration_error']:.3f}")
    if place := result["localisation"]:
        rows = [
            [f"part {m['part']}", m["landmark"], percent(m["pck10"]), percent(m["pck15"])]
            for m in place["one_to_one"]
        ]
        rows.append(["mean", "", percent(place["pck10"]), percent(place["pck15"])])
        print_table(
            f"Localisation, one-to-one: {title}",
            ["part", "landmark", "within 0.1 of the box", "within 0.15"],
            rows,
        )
        rows = [
            [f"part {m['part']}", m["landmark"], m["region"] or "-", percent(m["pck15"])]
            for m in place["best"]
        ]
        print_table(
            "Best landmark of each part", ["part", "landmark", "region", "within 0.15"], rows
        )
        print_line(f"NMI {number(place['nmi'], '.3f')}, ARI {number(place['ari'], '.3f')}")
        _show_errors({"of the longer box side": place, "as published": result["published"]})
    if published := result["published"]:
        present = ", ".join(map(percent, published["present"]))
        print_line(
            f"as published: NMI {number(published['nmi'], '.3f')}, "
            f"ARI {number(published['ari'], '.3f')}, parts present in {present}, "
            f"{percent(published['background'])} of the keypoints on the background"
        )
    if maps := result["attention_metrics"]:
        print_line(
            f"Dis {_mean(maps['distance_fraction']):.4f} of the squared map, "
            f"Div {_mean(maps['diversity']):.4f}, "
            f"peak collision rate {percent(maps['peak_collision_rate'])}"
        )
    if covered := result["specialisation"]:
        parts = range(1, len(covered["lost"]) + 1)
        rows = [
            [f"part {i}", *map(percent, row)] for i, row in zip(parts, covered["lost"], strict=True)
        ]
        print_table(
            "Probability of the true class lost as a part is covered",
            ["covered", *(f"classifier {i}" for i in parts)],
            rows,
        )
        print_line(
            f"specialisation {number(covered['specialisation'], '.3f')} "
            f"(1: by its own part alone, {1 / len(parts):.2f}: all alike)"
        )
    for picture in result["files"]:
        print_line(picture)


def _show_errors(protocols: dict[str, dict[str, Any] | None]) -> None:
    given = {name: found for name, found in protocols.items() if found is not None}
    references = [found["references"] or {} for found in given.values()]
    landmark = references[0].get("landmark") or "one landmark"
    rows = [["all parts", *(number(found["regression_error"], ".3f") for found in given.values())]]
    for name, what in {
        "one_landmark": f"the {landmark} alone, as annotated",
        "mean_landmark": "the mean of each keypoint",
        "box_centre": "the middle of the box",
    }.items():
        rows.append([what, *(number(found.get(name), ".3f") for found in references)])
    print_table("Keypoint regression error", ["from", *given], rows)


def _scores(result: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    accuracy, baseline = result["classification"], result["baseline"]
    alone = list(zip(accuracy["classifiers"], accuracy["parts"], strict=True))
    joint = "joint" if result["kind"] == "part-cnn" else "all together"
    rows = alone if len(alone) == 1 else [*alone, (joint, accuracy["joint"])]
    return [*rows, (baseline["name"], baseline["accuracy"])] if baseline else rows


def _mean(figures: list[float]) -> float:
    return sum(figures) / len(figures)
