"""One factor at a time, on held-out images: trains every row of experiments.toml with three seeds.

python tools/experiments.py run DATA WEIGHTS OUTPUT [FACTOR ...]   trains what OUTPUT lacks
python tools/experiments.py collect OUTPUT           writes docs/figures/experiments.json

DATA is cub10, WEIGHTS a file of ImageNet weights of squeezenet1_0. 30 % of the training images are
held out, split seed = seed; test images are never read. OUTPUT/FACTOR-SEED is a run folder.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from figures import FIGURES, of_one, spread

from macnn.files import write_json

PLAN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
FACTORS: dict[str, str] = PLAN["factors"]
SEEDS = (0, 1, 2)


def run(data: Path, weights: Path, output: Path, names: list[str]) -> None:
    """Find parts, train and evaluate; whatever is finished already stays."""
    for seed in SEEDS:
        parts, common = output / f"parts-{seed}", ["--seed", str(seed), "--precision", "bf16", "-q"]
        if not (parts / "summary.json").exists():
            split = ["--set", "data.validation=0.3", "--set", f"data.split_seed={seed}"]
            _macnn("pretrain-parts", "--data", data, "--backbone", "squeezenet1_0", *split, *common,
                   "--weights", weights, "--output", parts, "--overwrite")  # fmt: skip
        for name in names:
            folder = output / f"{name}-{seed}"
            if not (folder / "summary.json").exists():
                options = (
                    f"{_before(FACTORS[name])} {_common(FACTORS[name])} {FACTORS[name]}".split()
                )
                _macnn("train", "--init", parts, *common, *options,
                       "--output", folder, "--overwrite")  # fmt: skip
            if not (folder / "report" / "eval-validation.json").exists():
                _macnn("eval", "--checkpoint", folder, "--split", "validation", "-q")


def collect(output: Path) -> dict[str, Any]:
    """The figures of every factor: of every seed, their mean and their spread."""
    factors = {}
    for name, arguments in FACTORS.items():
        folders = [output / f"{name}-{seed}" for seed in SEEDS]
        results = [_json(folder / "report" / "eval-validation.json") for folder in folders]
        factors[name] = {
            "arguments": arguments,
            "commits": sorted({_json(folder / "env.json")["commit"] or "-" for folder in folders}),
            **spread([of_one(result) for result in results]),
            "best": [_best(result) for result in results],
        }
    return {
        "made_by": f"python tools/experiments.py collect {output.name}",
        "seeds": SEEDS,
        "images": results[0]["images"],
        "common": _common(""),
        "factors": factors,
    }


def _before(factor: str) -> str:
    """Options that bring back the recipe when these were measured."""
    return (
        PLAN["before"] if "--parts 0" in factor else f"{PLAN['before']} {PLAN['before_with_parts']}"
    )


def _common(factor: str) -> str:
    """The options before those of a factor."""
    return PLAN["common"] if "--parts 0" in factor else f"{PLAN['common']} {PLAN['with_parts']}"


def _best(result: dict[str, Any]) -> dict[str, float]:
    """PCK 0.15 of every part at the landmark it is best at, which is named."""
    parts = (result["localisation"] or {}).get("best", [])
    return {f"part {m['part']}, {m['landmark']}": m["pck15"] for m in parts}


def _macnn(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "macnn_cli", *map(str, arguments)], check=True)


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> None:
    """Run or collect."""
    if arguments[:1] == ["run"] and len(arguments) >= 4:
        data, weights, output = map(Path, arguments[1:4])
        if unknown := set(arguments[4:]) - set(FACTORS):
            sys.exit(f"{', '.join(unknown)}: not in experiments.toml")
        run(data, weights, output, arguments[4:] or list(FACTORS))
    elif arguments[:1] == ["collect"] and len(arguments) == 2:
        write_json(FIGURES / "experiments.json", collect(Path(arguments[1])))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
