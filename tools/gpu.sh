#!/usr/bin/env bash
# What only a machine with a GPU can tell: native operator tests, speed, and, on the photographs and
# weights that MACNN_TEST_CUB and MACNN_TEST_WEIGHTS name, a short training. Installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-runs/gpu}
python=${PYTHON:-python3}
export PYTHONPATH=.:kernels:cli${PYTHONPATH:+:$PYTHONPATH} COLUMNS=120

"$python" - <<'CHECK'
import re, sys, tomllib
from importlib.metadata import distributions

here = {found.name.lower() for found in distributions()}
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
needed = project["dependencies"] + project["optional-dependencies"]["test"]
missing = {re.match(r"[\w-]+", name)[0] for name in needed} - here
if missing:
    sys.exit(f"make gpu: not installed here: {', '.join(sorted(missing))}; pip install them, or put a folder of them on PYTHONPATH")
import torch
torch.cuda.is_available() or sys.exit("make gpu: no CUDA device here")
CHECK
mkdir -p "$out"
failed=()

step() { # NAME COMMAND...: its output goes to NAME.txt too, and a failure does not stop the rest
    echo "== $1"
    "${@:2}" 2>&1 | tee "$out/$1.txt" || failed+=("$1")
}

step tests "$python" -m pytest tests/kernels -m "not slow" --junitxml "$out/tests.xml"
step bench-ops "$python" -m macnn_cli bench ops --device cuda --output "$out/bench-ops.json"
# more channels than fit on chip: part_attention takes its tile a second time, from the cache
step bench-ops-2048 "$python" -m macnn_cli bench ops --device cuda --channels 2048 --height 14 \
    --width 14 --output "$out/bench-ops-2048.json"
step bench-train "$python" -m macnn_cli bench train --device cuda --precision bf16 --workers 8 \
    --output "$out/bench-train.json"
if [ -n "${MACNN_TEST_CUB:-}" ] && [ -n "${MACNN_TEST_WEIGHTS:-}" ]; then
    step pretrain-parts "$python" -m macnn_cli pretrain-parts --device cuda --data "$MACNN_TEST_CUB" \
        --backbone squeezenet1_0 --weights "$MACNN_TEST_WEIGHTS" --img-size 224 \
        --output "$out/parts" --overwrite
    step train "$python" -m macnn_cli train --device cuda --init "$out/parts" --rounds 1 --epochs 2 \
        --output "$out/macnn" --overwrite
    step eval "$python" -m macnn_cli eval --device cuda --checkpoint "$out/macnn"
else
    echo "== no training: MACNN_TEST_CUB and MACNN_TEST_WEIGHTS are not both set"
fi

[ ${#failed[@]} -eq 0 ] || { echo "make gpu: failed: ${failed[*]}; see $out" >&2; exit 1; }
