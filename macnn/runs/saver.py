"""When checkpoints are written, and which are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from macnn import distributed
from macnn.config import Settings
from macnn.model import Model
from macnn.runs.checkpoint import Checkpoint, Kind, Progress, point, prune, write_checkpoint
from macnn.runs.folder import RunFolder


class Saver:
    """Writes the checkpoints of one run."""

    def __init__(
        self,
        folder: RunFolder,
        settings: Settings,
        class_names: tuple[str, ...],
        resume: Checkpoint | None,
    ) -> None:
        """Nothing is written yet; `resume` is the checkpoint that the run goes on from."""
        self.folder, self.settings, self.class_names = folder, settings, class_names
        self.newest = resume.step if resume else None
        self.best = resume.progress.best if resume and resume.progress else None

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after this step."""
        every = self.settings.run.save_every
        return every > 0 and step % every == 0

    def save(
        self,
        kind: Kind,
        step: int,
        network: Model,
        trainer: Mapping[str, Tensor],
        progress: dict[str, Any] | None = None,
    ) -> Path:
        """Write a checkpoint of this step, unless there is one; returns its folder.

        Args:
            kind: what the network is.
            step: optimiser steps taken; names the checkpoint.
            network: to save.
            trainer: tensors that decide how training goes on; may be empty.
            progress: facts that do; None with no tensors, when nothing is left to do.

        Raises:
            DiskError: it cannot be written; earlier ones stay intact.
        """
        folder = self.folder.checkpoints / f"step-{step}"
        if step != self.newest and self.folder.writes:
            saved = {"model": network.state_dict()} | ({"trainer": trainer} if trainer else {})
            length = self.folder.metrics_bytes
            so_far = (
                Progress(best=self.best, metrics_bytes=length, trainer=progress)
                if progress
                else None
            )
            write_checkpoint(
                self.folder.checkpoints,
                kind,
                step,
                saved,
                run=self.folder.run_id,
                network=network.spec,
                class_names=self.class_names,
                settings=self.settings,
                progress=so_far,
            )
            self.folder.settle()
            prune(self.folder.checkpoints, self.settings.run.keep_checkpoints)
        self.newest = step
        distributed.barrier()
        return folder

    def update_best(self, accuracy: float | None) -> None:
        """Note the validation accuracy of the newest checkpoint: is it the best so far?"""
        if accuracy is not None and (self.best is None or accuracy > self.best):
            self.best = accuracy
            if self.folder.writes:
                newest = self.folder.checkpoints / f"step-{self.newest}"
                point(self.folder.checkpoints, "best", newest, self.folder.run_id)
