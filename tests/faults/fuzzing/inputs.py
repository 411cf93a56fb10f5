"""What is wrong: one file of a home folder each, and a command that reads it."""

import hashlib
import json
import os
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from material import DATA, LISTS, MATLAB, SHORT, TRAIN
from wrong import matlab, pictures
from wrong.files import odd_file
from wrong.tensors import tensors
from wrong.text import json_lines, json_text, lines, toml_text

RUNS = ("parts", "stopped", "trained", "baseline", "streams")


@dataclass(frozen=True)
class Home:
    """A home folder to fill with right files."""

    path: Path
    made: Path

    def take(self, *names):
        """Copy some of them there."""
        for name in names:
            if not (self.path / name).exists():
                shutil.copytree(self.made / name, self.path / name)

    def __truediv__(self, name):
        return self.path / name


def on_checkpoint(draw, run, home):
    """A command that reads this run or its checkpoint."""
    home.take("birds", "photos")
    whole = ("eval", "--checkpoint", run, "-q", *draw.choice(((), DATA[:2])))
    every = [whole, whole, ("predict", "photos", "--checkpoint", run, "-q")]
    every.append(("export", "--checkpoint", run, "--output", "out", "-q"))
    if run == "stopped":
        return draw.choice([("train", "--resume", run, "-q"), *every[1:]])
    if run == "parts":
        more = ("train", "--init", run, *TRAIN[:-4], "--rounds", 1, "--epochs", 1)
        resumed = ("pretrain-parts", "--resume", run, "-q")
        return draw.choice([whole, (*more, "--output", "out"), resumed])
    if run == "trained":
        every.append(
            ("train-part-cnn", "--init", run, *SHORT, "--stream-size", 32, "--output", "out")
        )
    return draw.choice(every)


def newest(run):
    """The folder of its newest checkpoint."""
    return max((run / "checkpoints").glob("step-*"), key=lambda step: int(step.name[5:]))


def sealed(step):
    """Have a manifest list the files as they are now, as its author would."""
    manifest = json.loads((step / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (step / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"sha256": digest, "bytes": len(content)}
    listed = json.dumps(manifest["files"], sort_keys=True).encode()
    manifest["sha256"] = hashlib.sha256(listed).hexdigest()
    (step / "manifest.json").write_text(json.dumps(manifest))


def change(file, mutate, draw):
    """Rewrite a file; now and then twice."""
    content, what = mutate(draw, file.read_bytes())
    if draw.random() < 0.15:
        with suppress(Exception):  # too wrong already to be read here
            content, more = mutate(draw, content)
            what = f"{what}; {more}"
    file.write_bytes(content)
    return f"{file.name}: {what}"


def checkpoint_json(draw, home):
    run = draw.choice(RUNS)
    home.take(run)
    step = newest(home / run)
    what = change(step / "checkpoint.json", json_text, draw)
    sealed(step)
    return what, on_checkpoint(draw, run, home)


def manifest_json(draw, home):
    run = draw.choice(RUNS)
    home.take(run)
    file = newest(home / run) / "manifest.json"
    if draw.random() < 0.1:
        return odd_file(draw, file), on_checkpoint(draw, run, home)
    what = change(file, json_text, draw)
    try:  # its own digest is right
        manifest = json.loads(file.read_text())
        listed = json.dumps(manifest["files"], sort_keys=True).encode()
        manifest["sha256"] = hashlib.sha256(listed).hexdigest()
        file.write_text(json.dumps(manifest))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return what, on_checkpoint(draw, run, home)


def model_tensors(draw, home):
    run = draw.choice(RUNS)
    home.take(run)
    step = newest(home / run)
    what = change(step / "model.safetensors", tensors, draw)
    sealed(step)
    return what, on_checkpoint(draw, run, home)


def trainer_tensors(draw, home):
    home.take("stopped", "birds")
    step = newest(home / "stopped")
    what = change(step / "trainer.safetensors", tensors, draw)
    sealed(step)
    return what, ("train", "--resume", "stopped", "-q")


def export_json(draw, home):
    home.take("export", "trained", "photos")
    file = home / "export/model.json"
    what = odd_file(draw, file) if draw.random() < 0.05 else change(file, json_text, draw)
    again = ("export", "--checkpoint", "trained", "--output", "export", "--overwrite", "-q")
    return what, draw.choice([("predict", "photos", "--checkpoint", "export", "-q")] * 3 + [again])


def export_tensors(draw, home):
    home.take("export", "photos")
    file = home / "export/model.safetensors"
    what = change(file, tensors, draw)
    described = json.loads((home / "export/model.json").read_text())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    text = (home / "export/model.json").read_text().replace(described["sha256"], digest)
    (home / "export/model.json").write_text(text)
    return what, ("predict", "photos", "--checkpoint", "export", "-q")


def run_files(draw, home):
    run = draw.choice(("stopped", "trained", "parts"))
    home.take(run, "parts", "birds")
    files = [f for f in sorted((home / run).iterdir()) if f.is_file()]
    file = draw.choice([*files, home / run / "checkpoints/latest"])
    if draw.random() < 0.2:
        what = odd_file(draw, file)
    else:
        mutate = {".json": json_text, ".jsonl": json_lines, ".toml": toml_text}
        what = change(file, mutate.get(file.suffix, lines), draw)
    uses = {
        "stopped": [
            ("train", "--resume", run, "-q"),
            ("train", "--init", "parts", *TRAIN, "--resume", "auto", "--output", run),
            ("train", "--init", "parts", *TRAIN, "--overwrite", "--output", run),
        ],
        "parts": [
            ("pretrain-parts", "--resume", run, "-q"),
            ("pretrain-parts", *SHORT, "--output", run, "--overwrite"),
        ],
        "trained": [("train", "--init", "parts", *TRAIN, "--resume", "auto", "--output", run)],
    }
    shown = [
        ("report", "--run", run),
        ("report", "--run", run),
        ("eval", "--checkpoint", run, "-q"),
    ]
    return what, draw.choice(uses[run] + (shown if run != "stopped" else []))


def report_files(draw, home):
    run = draw.choice(("trained", "parts", "baseline"))
    home.take(run, "trained", "birds")
    name = draw.choice(("eval-test.json", "eval-test.json", "predictions-test.safetensors"))
    file = home / run / "report" / name
    mutate = json_text if file.suffix == ".json" else tensors
    what = odd_file(draw, file) if draw.random() < 0.08 else change(file, mutate, draw)
    if run == "baseline" and draw.random() < 0.5:
        return what, ("report", "--run", "trained", "--baseline", run)
    return what, ("report", "--run", run)


def on_data(draw, root, *more):
    if draw.random() < 0.8:
        return ("data", "check", root, "-q", *more)
    return ("data", "cache", "--data", root, "--img-size", 32, "--output", "out", "-q", *more)


def image_lists(draw, home):
    data = draw.choice(("birds", "birds", "birds", "aircraft", "pets", "dogs"))
    home.take(data)
    listed = [home / name for name in LISTS if name.startswith(data)]
    file = draw.choice(listed or sorted((home / "birds").rglob("*.txt")))
    what = odd_file(draw, file) if draw.random() < 0.12 else change(file, lines, draw)
    if data == "birds" and draw.random() < 0.3:
        home.take(run := draw.choice(("parts", "trained")))
        return what, ("eval", "--checkpoint", run, *DATA)
    return what, on_data(draw, data)


def manifests(draw, home):
    home.take("classes", "listed")
    if draw.random() < 0.25:
        stray = home / "classes" / draw.choice(("notes.csv", "a/notes.csv", "x.csv"))
        stray.write_bytes(lines(draw, b"path,label,split\n" + b"x" * 200_000)[0])
        what = odd_file(draw, stray) if draw.random() < 0.3 else f"{stray.name}: a stray"
        return what, on_data(draw, "classes")
    file = home / "listed/list.csv"
    what = odd_file(draw, file) if draw.random() < 0.1 else change(file, lines, draw)
    return what, on_data(draw, draw.choice(("listed", "listed/list.csv")))


def caches(draw, home):
    home.take("cache", "baseline", "birds")
    index, pixels = home / "cache/index.jsonl", home / "cache/pixels.bin"
    index.write_text(index.read_text().replace(str(home.made), str(home.path)))
    file = draw.choice((index, index, pixels))
    if draw.random() < 0.15:
        what = odd_file(draw, file)
    elif file == index:
        what = change(file, json_lines, draw)
    else:
        content = file.read_bytes()
        content = content[: draw.randrange(len(content))] if draw.random() < 0.7 else content * 2
        file.write_bytes(content)
        what = f"pixels.bin of {len(content)} bytes"
    return what, ("eval", "--checkpoint", "baseline", *DATA, "--cache", "cache")


def mat_files(draw, home):
    name = draw.choice(sorted(MATLAB))
    home.take(name.partition("/")[0])
    if draw.random() < 0.08:
        return odd_file(draw, home / name), on_data(draw, name.partition("/")[0])
    content, what = matlab.matlab(draw, MATLAB[name])
    (home / name).write_bytes(content)
    return f"{name}: {what}", on_data(draw, name.partition("/")[0])


def configurations(draw, home):
    home.take("trained", "parts", "birds")
    file = home / "config.toml"
    shutil.copyfile(home / "trained/config.toml", file)
    what = odd_file(draw, file) if draw.random() < 0.1 else change(file, toml_text, draw)
    train = ("train", "--config", file.name, "--init", "parts", "--output", "out", "-q")
    show = ("config", "show", "--config", file.name)
    return what, draw.choice([("config", "validate", file.name)] * 3 + [show] * 2 + [train])


def photographs(draw, home):
    home.take("photos", "trained", "birds")
    suffix, content, what = pictures.picture(draw)
    draw_from = draw.random()
    if draw_from < 0.7:
        file = home / f"photos/b.{suffix}"
        file.write_bytes(content)
        if draw.random() < 0.08:
            what = odd_file(draw, file)
        more = draw.choice(((), ("--save-overlays", "out"), ("--json",), ("--csv",)))
        return what, ("predict", "photos", "--checkpoint", "trained", "-q", *more)
    file = next(iter(sorted((home / "birds/images").rglob("*.jpg"))))
    file.write_bytes(content)
    if draw_from < 0.85:
        return what, on_data(draw, "birds")
    skipped = draw.choice(((), ("--set", "data.skip_bad_images=0.5")))
    return what, ("eval", "--checkpoint", "trained", *DATA, *skipped)


def weights(draw, home):
    home.take("parts", "birds")
    good = newest(home / "parts") / "model.safetensors"
    if draw.random() < 0.4:
        file = home / "weights.safetensors"
        shutil.copyfile(good, file)
        what = change(file, tensors, draw)
    else:
        file = home / "weights.pth"
        what = draw.choice(sorted(PICKLES))
        with warnings.catch_warnings(action="ignore"):  # of kinds of tensors that may change
            torch.save(PICKLES[what](), file)
        if draw.random() < 0.3:
            content = bytearray(file.read_bytes())
            content[draw.randrange(len(content))] = draw.randrange(256)
            file.write_bytes(bytes(content))
            what += ", one byte changed"
    return what, ("train", *TRAIN[:-2], "--parts", 0, "--weights", file.name, "--output", "out")


class _Runs:
    def __reduce__(self):
        return os.system, ("touch escaped",)


_NAME = "what.0.weight"
PICKLES = {
    "nothing": lambda: None,
    "a list": lambda: [1, 2],
    "a number": lambda: 3,
    "no tensors": lambda: {_NAME: "x"},
    "numbers for names": lambda: {1: torch.zeros(2), None: torch.zeros(1)},
    "sparse": lambda: {_NAME: torch.eye(3).to_sparse()},
    "compressed sparse": lambda: {_NAME: torch.eye(3).to_sparse_csr()},
    "complex": lambda: {_NAME: torch.zeros(3, dtype=torch.complex64)},
    "on no device": lambda: {_NAME: torch.zeros(3, device="meta")},
    "nested": lambda: {"state_dict": {"model": {_NAME: torch.zeros(3)}}},
    "a view of much": lambda: {_NAME: torch.zeros(1).expand(2**16, 2**16)},
    "not a number": lambda: {_NAME: torch.full((24, 3, 4, 4), torch.nan)},
    "a program": lambda: {_NAME: _Runs()},
    "names with codes": lambda: {"\x1b[2J\u202e" + "x" * 9999: torch.zeros(1)},
}

SUBJECTS = {  # and how often they come
    checkpoint_json: 20,
    manifest_json: 6,
    model_tensors: 12,
    trainer_tensors: 6,
    export_json: 10,
    export_tensors: 4,
    run_files: 14,
    report_files: 12,
    image_lists: 12,
    manifests: 6,
    caches: 6,
    mat_files: 10,
    configurations: 8,
    photographs: 8,
    weights: 4,
}
