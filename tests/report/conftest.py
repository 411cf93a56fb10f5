"""An evaluated run to report on, and a headless Chromium to look at its page with."""

import base64
import io
import json
import os
import select
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image

from macnn import events
from macnn.commands.report import run
from macnn.config import Settings, resolve
from macnn.evaluation.evaluate import evaluate
from macnn.evaluation.metrics import classification_report
from macnn.evaluation.predictions import Scores, write_predictions
from macnn.files import write_json, write_text
from macnn.model import MACNN, PartLocator, PooledClassifier, create_backbone
from macnn.report.page import read_baseline
from macnn.runs.environment import environment
from macnn.runs.setup import open_images, open_loader

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60  # seconds
METRICS = [
    {"phase": phase, "step": step, "cls": 2.0, "accuracy": step / 40}
    | {f"diversity/part {part}": 0.1 * part for part in (1, 2, 3, 4)}
    for step in (10, 20)
    for phase in ("convolution", "validation")
]


@dataclass(frozen=True)
class Run:
    """An evaluated run folder, and its settings."""

    folder: Path
    settings: Settings

    def page(self, baseline=None):
        """Its page, written now."""
        return run(self.folder, self.settings, split="test", baseline=baseline)


def evaluated(birds, folder, kind):
    """A run that gets one image in four wrong; its parts are those of an untrained network."""
    torch.manual_seed(0)
    backbone = create_backbone("tiny")
    model = {
        "macnn": lambda: MACNN(backbone, 4, 16, image_size=64),
        "parts": lambda: PartLocator(backbone, 4, image_size=64),
        "baseline": lambda: PooledClassifier(backbone, 16, image_size=64),
    }[kind]()
    flags = {"data.root": birds, "data.image_size": 64, "data.validation": 0.0}
    settings = resolve(flags=flags, environ={}).settings
    images = open_images(settings)
    test, train = (images.split(split) for split in ("test", "train"))
    loaders = open_loader(settings, test), open_loader(settings, train)
    result = evaluate(
        model,
        *loaders,
        split="test",
        margin=0.02,
        protocol="published" if kind == "macnn" else "ours",
        specialisation=kind == "macnn",
        listen=events.silent,
    )
    if kind != "parts":
        labels = result.predictions.labels
        guess = torch.where(torch.arange(len(labels)) % 4 == 1, (labels + 1) % 16, labels)
        each = 3 * torch.nn.functional.one_hot(guess, 16)[:, None].float()
        each = each.expand(-1, len(model.classifier_names), -1).contiguous()
        scores = Scores(each.sum(1), each)
        result = replace(
            result,
            classification=classification_report(each, labels, images.class_names),
            predictions=replace(result.predictions, scores=scores),
        )
    (folder / "report").mkdir(parents=True)
    write_json(folder / "report" / "eval-test.json", {"kind": kind, "step": 20, **result.as_json()})
    write_predictions(folder / "report" / "predictions-test.safetensors", result.predictions)
    write_text(folder / "metrics.jsonl", "\n".join(map(json.dumps, METRICS)))
    write_json(folder / "sources.json", settings.sources)
    write_json(folder / "env.json", environment())
    return Run(folder, settings)


@pytest.fixture(scope="session")
def run_of(birds, tmp_path_factory):
    """An evaluated run of a kind, to do with as one likes: run_of("macnn")."""

    @cache
    def original(kind):
        return evaluated(birds, tmp_path_factory.mktemp("originals") / kind, kind)

    def copy(kind):
        folder = tmp_path_factory.mktemp("runs") / kind
        shutil.copytree(original(kind).folder, folder)
        return replace(original(kind), folder=folder)

    return copy


@pytest.fixture(scope="session")
def html(run_of):
    """The page of an evaluated run, compared with a baseline."""
    return run_of("macnn").page(read_baseline(run_of("baseline").folder, "test"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("looks at the page in a browser: install chromium")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--remote-debugging-pipe",
)


class Browser:
    """A page in a browser, spoken to over a pipe in its DevTools protocol."""

    def __init__(self, profile):
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads from descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._calls = 0
        self._rest = b""
        self._session = None
        self.requests = []
        (page,) = (
            target
            for target in self.call("Target.getTargets")["targetInfos"]
            if target["type"] == "page"
        )
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._in)
        os.close(self._out)

    def call(self, method, **parameters):
        """Call a method of the protocol; returns its result."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._hear()).get("id") != self._calls:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, file, *, width, height=900, theme="light"):
        """Open a file in a window of this width and theme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": theme}],
        )
        self.requests.clear()
        self.call("Page.navigate", url=file.as_uri())
        while self._hear().get("method") != "Page.loadEventFired":
            pass

    def run(self, script):
        """The value of a JavaScript expression, or of its promise."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        """Press and release Tab or Enter, as a keyboard does."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r")}[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, *, whole=True):
        """A picture of the whole page, or of what is in the window."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")

    def _hear(self):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, f"the browser said nothing for {PATIENCE} seconds"
            heard = os.read(self._in, 1 << 20)
            assert heard, "the browser has ended"
            self._rest += heard
        message, _, self._rest = self._rest.partition(b"\0")
        answer = json.loads(message)
        if answer.get("method") == "Network.requestWillBeSent":
            self.requests.append(answer["params"]["request"]["url"])
        return answer
