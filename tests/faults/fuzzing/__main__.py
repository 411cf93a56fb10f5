"""Commands on wrong files, each in a process of its own that is watched.

    python tests/faults/fuzzing SEED FIRST COUNT

runs COUNT inputs from number FIRST on, prints those that went wrong, and what all took. The same
seed and number give the same input again.
"""

import json
import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from material import make
from outcomes import trial

WORKERS = 2


def fuzz(made, seed, numbers):
    """The outcomes of the inputs of these numbers, worked on by some processes."""
    with TemporaryDirectory() as results:
        for worker in range(WORKERS):
            if os.fork() == 0:
                code = 1
                try:
                    with Path(results, str(worker)).open("w") as stream:
                        for number in numbers[worker::WORKERS]:
                            stream.write(json.dumps(trial(made, seed, number)) + "\n")
                    code = 0
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
        statuses = [os.wait()[1] for _ in range(WORKERS)]
        if any(statuses):
            sys.exit("a worker failed, as said above")
        return [json.loads(line) for file in Path(results).iterdir() for line in file.open()]


def last(text):
    """The last line that a command said."""
    return (text.strip().splitlines() or [""])[-1][:300]


def main(seed, first, count):
    """Print what went wrong, and figures of all; returns the exit code."""
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        make(Path(folder, "made"))
        found = fuzz(Path(folder, "made"), seed, range(first, first + count))
    wrong = [outcome for outcome in found if outcome["problems"]]
    said = [
        f"seed {seed}, input {outcome['number']}: {', '.join(outcome['problems'])}\n"
        f"    {outcome['what']}\n    macnn {outcome['line']}\n    {last(outcome['err'])}\n"
        for outcome in sorted(wrong, key=lambda outcome: outcome["number"])
    ]
    tracebacks = sum("traceback" in outcome["problems"] for outcome in found)
    hangs = sum("hangs" in outcome["problems"] for outcome in found)
    peak = max(outcome["bytes"] for outcome in found) / 1e6
    codes = sorted(Counter(outcome["code"] for outcome in found).items())
    said.append(
        f"{count:,} wrong inputs: {tracebacks} tracebacks, {hangs} hangs, "
        f"{len(wrong)} wrong outcomes, peak {peak:,.0f} MB, {time.monotonic() - began:.0f} s; "
        f"exit codes {', '.join(f'{code} ({times})' for code, times in codes)}\n"
    )
    sys.stdout.writelines(said)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
