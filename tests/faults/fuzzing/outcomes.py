"""What came of an input, and what should not have."""

import os
import random
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from inputs import SUBJECTS, Home
from watched import BYTES, child

STEPS = 4  # of a training, which is then asked to stop
DOCUMENTED = {0, 1, 2, 3, 4, 5, 6, 7, 75}  # 1: an export that answers otherwise


def trial(made, seed, number):
    """Make one input, run a command on it, and say what was wrong with how that went."""
    draw = random.Random(f"{seed} {number}")
    (subject,) = draw.choices(list(SUBJECTS), list(SUBJECTS.values()))
    with TemporaryDirectory() as scratch:
        home = Home(Path(scratch, "home"), made)
        (home / ".ssh").mkdir(parents=True)
        (home / ".ssh/id").write_text("key")
        (home / "thesis.tex").write_text("ten years")
        what, arguments = subject(draw, home)
        os.chdir(home.path)
        before = snapshot(home.path)
        said = child(arguments, stop=STEPS)
        said["problems"] = problems(said, arguments, before, snapshot(home.path))
        os.chdir("/")
    return {"number": number, "what": what, "line": " ".join(map(str, arguments)), **said}


def snapshot(home):
    """Every entry below a folder; what is written to, or replaced, differs afterwards."""
    found = {}
    for path in home.rglob("*"):
        state = path.lstat()
        content = (state.st_ino, state.st_size, state.st_ctime_ns)
        found[str(path.relative_to(home))] = (state.st_mode, not path.is_dir() and content)
    return found


def problems(said, arguments, before, after):
    """What should not have happened."""
    found = []
    if said["bytes"] > BYTES:
        found.append(f"{said['bytes'] / 1e6:.0f} MB")
    if said["late"]:
        found.append("hangs")
    elif said["code"] < 0:
        found.append(f"killed by signal {-said['code']}")
    elif said["code"] not in DOCUMENTED:
        found.append(f"exit code {said['code']}")
    rows = said["err"].splitlines()
    if "Traceback" in said["err"]:
        found.append("traceback")
    elif said["code"] >= 0:
        own = [row for row in rows if row.startswith("macnn: ")]
        others = [row for row in rows if not row.startswith(("macnn: ", "warning: "))]
        listed = arguments[:2] == ("data", "check") and said["code"] == 3 and said["out"]
        if len(own) != (said["code"] > 0) and not (listed and not own):
            found.append(f"{len(own)} lines of error")
        if others:
            found.append("lines that are neither error nor warning")
        if max(map(len, rows), default=0) > 4000:
            found.append("a line of more than 4,000 characters")
    if any(not c.isprintable() and c != "\n" for c in said["err"] + said["out"]):
        found.append("output that does not print")
    spared = _written(arguments)
    lost = [p for p in before if not p.startswith(spared) and after.get(p) != before[p]]
    made = [p for p in after if p not in before and not p.startswith(spared)]
    return [*found, *(f"changed {path}" for path in lost), *(f"made {path}" for path in made)]


def _written(arguments):
    """What a command may write to."""
    given = dict(pairwise(arguments))
    places = ["out"]
    if arguments[0] in ("eval", "report"):
        places.append(f"{given.get('--checkpoint') or given['--run']}/report")
    if "--resume" in given or "--overwrite" in arguments:
        run = given.get("--resume", "auto")
        places.append(given.get("--output", run))
    return tuple(places)
