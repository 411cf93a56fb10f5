"""What stands behind `demo`: the main job, end to end, on synthetic birds."""

from pathlib import Path
from typing import Any

from macnn.commands import evaluate as evaluation
from macnn.commands import pretrain_parts, train
from macnn.config import Settings, resolve
from macnn.data.synth import write_birds
from macnn.errors import UsageError
from macnn.events import Listener, Notice
from macnn.runs.checkpoint import read_checkpoint

PRESET = "demo"
BIRDS = "birds-seed"


def run(output: Path, *, seed: int, overwrite: bool, listen: Listener) -> dict[str, Any]:
    """Draw birds, find parts, train MA-CNN and the baseline, evaluate all three.

    The birds are drawn once: a later call with the same folder and seed uses them again.

    Raises:
        MacnnError: the folder is in use, not a demo's, or cannot be written.
    """
    _check_output(output, overwrite)
    data = output / f"{BIRDS}{seed}"
    if not data.exists():
        write_birds(data, seed=seed, listen=listen)

    def settings(folder: str, **model: int) -> Settings:
        flags = {
            "data.root": data,
            "data.dataset": "cub",
            "run.output": output / folder,
            "run.seed": seed,
        }
        flags |= {f"model.{name}": value for name, value in model.items()}
        return resolve(flags=flags, preset=PRESET).settings

    def measure(folder: str, baseline: Path | None = None) -> dict[str, Any]:
        listen(Notice("info", f"Evaluating {folder}"))
        checkpoint = read_checkpoint(output / folder)
        return evaluation.run(
            checkpoint, settings(folder), split="test", baseline=baseline, listen=listen
        )

    listen(Notice("info", "Finding the parts"))
    pretrain_parts.run(settings("parts"), overwrite=overwrite, listen=listen)
    found = read_checkpoint(output / "parts")
    listen(Notice("info", "Training the baseline: global average pooling, same budget"))
    train.run(settings("baseline", parts=0), found, overwrite=overwrite, listen=listen)
    listen(Notice("info", "Training MA-CNN"))
    train.run(settings("macnn"), found, overwrite=overwrite, listen=listen)

    results = {name: measure(name) for name in ("baseline", "parts")}
    results["macnn"] = measure("macnn", output / "baseline")
    return compare(results)


def _check_output(path: Path, overwrite: bool) -> None:
    """The runs in it look after themselves; here, that none is put among somebody's own files."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file", hint="`output` takes a folder")
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise UsageError(f"{path}: not empty", hint="pass `overwrite`, or another `output`")
        # Birds come first; a demo killed while it drew them leaves them under a hidden name.
        if not any(f.is_dir() and f.name.lstrip(".").startswith(BIRDS) for f in path.iterdir()):
            raise UsageError(f"{path}: not a folder of the demo", hint="pass another `output`")


def compare(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the demo shows of its three evaluations, by folder."""
    macnn = results["macnn"]
    return {
        "classes": len(macnn["classification"]["class_names"]),
        "images": macnn["images"],
        "rows": [
            _row("global average pooling", results["baseline"]),
            _row("MA-CNN, parts found", results["parts"]),
            _row("MA-CNN, trained", macnn),
        ],
        "picture": macnn["files"][0],
        "page": macnn["files"][-1],
    }


def _row(name: str, result: dict[str, Any]) -> dict[str, Any]:
    accuracy, place, maps = (
        result[k] for k in ("classification", "localisation", "attention_metrics")
    )
    return {
        "name": name,
        "accuracy": accuracy["joint"]["top1"] if accuracy else None,
        "pck10": place["pck10"] if place else None,
        "peak_collision_rate": maps["peak_collision_rate"] if maps else None,
    }
