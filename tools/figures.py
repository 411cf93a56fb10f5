"""Measured figures: from run folders to docs/figures, and from there into the pages.

python tools/figures.py collect NAME RUNS...   writes docs/figures/NAME.json
python tools/figures.py fill                   puts the figures into README.md and docs
python tools/figures.py check                  exit code 1 if a page says something else

RUNS are folders, one per seed, that hold run folders of the same names, each measured by `macnn
eval`; so does the folder of `macnn demo`. A page names what it wants, between comments:

    <!-- figure: demo.macnn.accuracy.mean .1% -->...<!-- /figure -->    a figure, and its format
    <!-- table: cub10 -->...<!-- /table -->                             a function of tables.py
"""

import json
import re
import statistics
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tables
import torch

from macnn.evaluation.predictions import read_predictions
from macnn.files import write_json

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
FIGURE = re.compile(r"(<!-- figure: (\S+) (\S+) -->)(.*?)(<!-- /figure -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- table: ([^>]+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)


def collect(name: str, folders: list[Path]) -> dict[str, Any]:
    """The figures of all networks in `folders`: of every seed, their mean and their spread."""
    networks = sorted(file.parents[1].name for file in folders[0].glob("*/report/eval-test.json"))
    if not networks:
        sys.exit(f"{folders[0]}: no run folder in it holds report/eval-test.json; run 'macnn eval'")
    read = {n: [_json(f / n / "report" / "eval-test.json") for f in folders] for n in networks}
    pair = {"macnn", "baseline"} <= set(networks)
    settings = [tomllib.loads((f / networks[0] / "config.toml").read_text()) for f in folders]
    known = {n: [_json(f / n / "env.json") for f in folders] for n in networks}
    environment = known[networks[0]][0]
    return {
        "made_by": f"python tools/figures.py collect {name} {' '.join(map(str, folders))}",
        "commits": {n: sorted({e["commit"] or "-" for e in each}) for n, each in known.items()},
        "python": environment["python"],
        "packages": environment["packages"],
        "seeds": [content["run"]["seed"] for content in settings],
        "images": read[networks[0]][0]["images"],
        **{
            n: spread([of_one(r) for r in results]) | {"alone": spread([alone(r) for r in results])}
            for n, results in read.items()
        },
        **({"difference": difference(folders)} if pair else {}),
        "first": {n: results[0] | {"files": []} for n, results in read.items()},
    }


def of_one(result: dict[str, Any]) -> dict[str, float]:
    """The figures of one evaluation, by name."""
    found = {}
    if accuracy := result["classification"]:
        found |= {
            "accuracy": accuracy["joint"]["top1"],
            "standard_error": accuracy["joint"]["standard_error"],
            "calibration_error": accuracy["calibration_error"],
            "worst_part": min(part["top1"] for part in accuracy["parts"]),
            "best_part": max(part["top1"] for part in accuracy["parts"]),
        }
    if place := result["localisation"]:
        found |= {k: place[k] for k in ("pck10", "pck15", "regression_error", "nmi", "ari")}
    if maps := result["attention_metrics"]:
        found["peak_collision_rate"] = maps["peak_collision_rate"]
    return found


def alone(result: dict[str, Any]) -> dict[str, float]:
    """What each classifier of one evaluation knows alone, by its name."""
    accuracy = result["classification"] or {"classifiers": [], "parts": []}
    pairs = zip(accuracy["classifiers"], accuracy["parts"], strict=True)
    return {name: part["top1"] for name, part in pairs}


def spread(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Every figure over several runs: mean, standard deviation, and the figure of each."""
    return {
        name: {
            "mean": statistics.fmean(run[name] for run in runs),
            "std": statistics.stdev(run[name] for run in runs) if len(runs) > 1 else None,
            "runs": [run[name] for run in runs],
        }
        for name in runs[0]
    }


def difference(folders: list[Path]) -> dict[str, float]:
    """How far macnn is ahead of baseline, with its standard error paired over the images.

    Of every image the share of seeds that recognise it is taken first.
    """

    def right(network: str) -> torch.Tensor:
        files = [f / network / "report" / "predictions-test.safetensors" for f in folders]
        read = [read_predictions(file) for file in files]
        hits = [found.scores.logits.argmax(dim=1) == found.labels for found in read]
        return torch.stack(hits).double().mean(dim=0)

    apart = right("macnn") - right("baseline")
    return {
        "mean": apart.mean().item(),
        "standard_error": (apart.std() / len(apart) ** 0.5).item(),
    }


def filled(text: str) -> str:
    """A page with the figures and tables it names put in."""
    text = FIGURE.sub(lambda m: m[1] + _figure(m[2], m[3]) + m[5], text)
    return TABLE.sub(lambda m: m[1] + _table(m[2]) + m[4], text)


def pages() -> Iterator[tuple[Path, str, str]]:
    """Every page: its file, what it says, and what it should say."""
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = file.read_text(encoding="utf-8")
        yield file, text, filled(text)


def _figure(path: str, style: str) -> str:
    name, *keys = path.split(".")
    value: Any = _json(FIGURES / f"{name}.json")
    for key in keys:
        value = value[int(key) if isinstance(value, list) else key]
    return format(value, style).replace("%", " %")


def _table(call: str) -> str:
    function, *names = call.split()
    content = [_json(FIGURES / f"{name}.json") for name in names]
    return str(getattr(tables, function)(*content)).rstrip() + "\n"


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> None:
    """Collect, fill or check."""
    if arguments[:1] == ["collect"] and len(arguments) > 2:
        FIGURES.mkdir(exist_ok=True)
        name, *folders = arguments[1:]
        write_json(FIGURES / f"{name}.json", collect(name, [Path(f) for f in folders]))
    elif arguments == ["fill"]:
        for file, text, wanted in pages():
            if text != wanted:
                file.write_text(wanted, encoding="utf-8")
    elif arguments == ["check"]:
        wrong = [file for file, text, wanted in pages() if text != wanted]
        sys.exit("".join(f"{f.relative_to(ROOT)}: run 'make docs'\n" for f in wrong) or 0)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
