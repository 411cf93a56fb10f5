"""Self-test of training: all stages on a few synthetic birds, and what they leave on disk."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

from macnn.commands import pretrain_parts, train
from macnn.commands.doctor.finding import Finding
from macnn.config import Settings, resolve
from macnn.data.synth import write_birds
from macnn.errors import MacnnError
from macnn.events import silent
from macnn.inference.loading import load
from macnn.runs.checkpoint import read_checkpoint

# One step of each phase, then validation.
SMALL = {
    "data.image_size": 64,
    "data.batch_size": 16,
    "data.workers": 0,
    "data.validation": 0.5,
    "pretrain.fit_steps": 1,
    "train.rounds": 1,
    "train.epochs": 1,
    "train.grouping_steps": 1,
}


def check_training(given: Settings, device: torch.device) -> list[Finding]:
    """Draw birds, find parts, train, read the checkpoint back; one finding for each.

    Args:
        given: kernels and threads are taken from here.
        device: to train on.
    """
    with TemporaryDirectory(prefix="macnn-doctor-") as scratch:
        folder = Path(scratch)
        parts, trained, birds = folder / "parts", folder / "macnn", folder / "birds"

        def settings(output: Path) -> Settings:
            flags = {
                **SMALL,
                "data.root": birds,
                "run.output": output,
                "run.device": str(device),
                "run.kernels": given.run.kernels,
                "run.threads": given.run.threads,
            }
            return resolve(flags=flags, environ={}).settings

        def find() -> None:
            write_birds(birds, classes=16, images_per_class=3, size=64, seed=0)
            pretrain_parts.run(settings(parts), overwrite=False, listen=silent)

        def learn() -> None:
            found = read_checkpoint(parts, "parts")
            train.run(settings(trained), found, overwrite=False, listen=silent)

        def read() -> None:
            picture = next(birds.glob("images/*/*"))
            load(trained, device=device).predict([picture])

        return _in_order(
            {
                "part pre-training": find,
                "grouping and convolution phase": learn,
                "checkpoint": read,
            }
        )


def _in_order(steps: dict[str, Callable[[], None]]) -> list[Finding]:
    """Take the steps up to the first that fails: the later ones need its results."""
    findings = []
    for name, step in steps.items():
        start = perf_counter()
        try:
            step()
        except MacnnError as error:
            problem, _, remedy = str(error).partition("; ")
            findings.append(Finding(name, False, problem, remedy or None))
            break
        except Exception as error:  # whatever a broken installation raises
            reason = " ".join(str(error).split())[:200]
            text = f"{type(error).__name__}: {reason}"
            findings.append(Finding(name, False, text, "report this"))
            break
        findings.append(Finding(name, True, f"works, {perf_counter() - start:.1f} s"))
    return findings
