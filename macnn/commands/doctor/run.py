"""The stage behind `macnn doctor`."""

from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from macnn.commands.doctor.finding import Finding
from macnn.commands.doctor.operators import check_operators
from macnn.commands.doctor.surroundings import look_around
from macnn.commands.doctor.training import check_training
from macnn.config import Settings
from macnn.errors import UsageError
from macnn.events import Listener, Notice
from macnn.runs.environment import environment
from macnn.runs.setup import prepare


def run(settings: Settings, listen: Listener) -> tuple[list[Finding], dict[str, Any]]:
    """Look at this machine and try the program on it.

    Returns:
        What was found, and the environment as a run folder records it.
    """
    start = perf_counter()
    known = environment()
    here = Path.cwd()
    try:
        device = prepare(settings)
    except UsageError as error:
        problem, _, remedy = str(error).partition("; ")
        found = look_around(here, torch.device("cpu"), known)
        return [
            *found,
            Finding("device", False, problem, remedy or "use `run.device=cpu`"),
        ], known
    found = look_around(here, device, known)
    listen(Notice("info", "Trying the operators"))
    found += check_operators(device)
    listen(Notice("info", "Trying to train"))
    found += check_training(settings, device)
    listen(Notice("info", f"Done in {perf_counter() - start:.0f} s"))
    return found, known
