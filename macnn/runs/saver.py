"""When checkpoints are written, and which are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from macnn import distributed
from macnn.config import Settings
from macnn.model.specs import Spec
from macnn.runs.checkpoint import Checkpoint, Kind, Progress, point, prune, write_checkpoint
from macnn.runs.folder import RunFolder


class Saver:
    """Writes the checkpoints of one run."""

    def __init__(
        self,
        folder: RunFolder,
        settings: Settings,
        spec: Spec,
        class_names: tuple[str, ...],
        resume: Checkpoint | None,
    ) -> None:
        """Nothing is written yet.

        Args:
            folder: of the run.
            settings: of the run.
            spec: of the model that is saved.
            class_names: of the data set.
            resume: the checkpoint that the run goes on from.
        """
        self.folder, self.settings, self.spec = folder, settings, spec
        self.class_names = class_names
        self.newest = resume.step if resume else None
        self.best = resume.progress.best if resume and resume.progress else None

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after this step."""
        every = self.settings.run.save_every
        return every > 0 and step % every == 0

    def save(
        self, kind: Kind, step: int, model: nn.Module, trainer: Mapping[str, Any] | None = None
    ) -> Path:
        """Write a checkpoint of this step, unless there is one; returns its folder.

        Args:
            kind: what the model is.
            step: optimiser steps taken; names the checkpoint.
            model: to save.
            trainer: `state_dict` of what decides how training goes on: tensors, and what JSON can
                hold; None when nothing is left to do.

        Raises:
            DiskError: it cannot be written; earlier ones stay intact.
        """
        folder = self.folder.checkpoints / f"step-{step}"
        if step != self.newest and self.folder.writes:
            tensors, progress = {"model": model.state_dict()}, None
            if trainer is not None:
                tensors["trainer"] = {k: v for k, v in trainer.items() if isinstance(v, Tensor)}
                progress = Progress(
                    best=self.best,
                    metrics_bytes=self.folder.metrics_bytes,
                    trainer={k: v for k, v in trainer.items() if not isinstance(v, Tensor)},
                )
            write_checkpoint(
                self.folder.checkpoints,
                kind,
                step,
                tensors,
                run=self.folder.run_id,
                network=self.spec,
                class_names=self.class_names,
                settings=self.settings,
                progress=progress,
            )
            self.folder.settle()
            prune(self.folder.checkpoints, self.settings.run.keep_checkpoints)
        self.newest = step
        distributed.barrier()
        return folder

    def update_best(self, accuracy: float) -> None:
        """Note the validation accuracy of the newest checkpoint: is it the best so far?"""
        if self.best is None or accuracy > self.best:
            self.best = accuracy
            if self.folder.writes:
                newest = self.folder.checkpoints / f"step-{self.newest}"
                point(self.folder.checkpoints, "best", newest, self.folder.run_id)
