"""What stands behind `pretrain-parts`: settings in, run folder out."""

from pathlib import Path
from typing import Any

import torch

from macnn.commands.training_loop import open_output
from macnn.config import Settings
from macnn.errors import CheckpointError, UsageError
from macnn.events import Listener, Progress
from macnn.report.parts import draw_parts
from macnn.report.save import save
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.folder import RunFolder
from macnn.runs.images import check_same_images, note_images
from macnn.runs.models import fill, new_locator
from macnn.runs.saver import Saver
from macnn.runs.session import session, stopped_error
from macnn.runs.setup import completed, open_images, open_loader, prepare, to_device
from macnn.runs.summaries import PartsSummary, finished_summary
from macnn.stop import Stopped
from macnn.text import shown
from macnn.training.clusters import DEAD
from macnn.training.discovery import ChannelStatistics, PartDiscovery, form_parts
from macnn.training.saved import fitting


def run(
    settings: Settings,
    *,
    overwrite: bool,
    listen: Listener,
    resume: Checkpoint | None = None,
) -> dict[str, Any]:
    """Find the parts of a data set; returns the summary also written to summary.json.

    Args:
        settings: of the run.
        overwrite: replace the run that the folder holds.
        listen: hears of the progress.
        resume: a checkpoint of this run folder to go on from.

    Raises:
        MacnnError: bad settings, data or weights (nothing has been written then), a full disk or
            device, or a signal (the run has been saved then).
    """
    settings = completed(settings)
    with session(settings):
        if resume is not None and (done := finished_summary(resume.run, PartsSummary)):
            return done
        output = open_output(settings, None, resume, overwrite=overwrite, listen=listen)
        if settings.model.parts == 0:
            raise UsageError(
                "`model.parts` 0: no parts to find", hint="the baseline is trained without"
            )
        device = prepare(settings)
        images = open_images(settings, listen).split("train")
        spec, locator = new_locator(settings)
        to_device(locator, settings, device).eval()
        loader = open_loader(settings, images, shuffle=True)
        statistics = ChannelStatistics.begin(locator)
        if resume is not None:
            check_same_images(output, images)
            fill(locator, resume)
            _load(statistics, resume)

        with RunFolder(
            output, settings, images.class_names, overwrite=overwrite, resume=resume
        ) as folder:
            if folder.writes:
                note_images(output, images, owner=folder.run_id)
            if resume is not None:
                folder.rewind(resume)
            saver = Saver(folder, settings, spec, images.class_names, resume)

            def checkpoint() -> Path:
                state = statistics.state_dict()
                return saver.save("statistics", statistics.batches, locator, state)

            try:
                for batch in loader.epoch(offset=statistics.batches):
                    with torch.no_grad():
                        features = locator.backbone(batch.to(device).images)
                    statistics.update(features, batch.samples, batch.total)
                    listen(Progress("Reading channel peaks", statistics.batches, len(loader)))
                    if saver.due(statistics.batches):
                        checkpoint()
                checkpoint()  # what follows is short, changes the model, and starts again from here
                found = form_parts(
                    locator,
                    loader.epoch(),
                    statistics,
                    restarts=settings.pretrain.restarts,
                    keep=settings.pretrain.keep,
                    fit_steps=settings.pretrain.fit_steps,
                    fit_lr=settings.pretrain.fit_lr,
                    gain=settings.model.gain,
                    seed=settings.run.seed,
                    listen=listen,
                )
                drawn = draw_parts(locator, open_loader(settings, images))
            except Stopped:
                raise stopped_error(checkpoint()) from None
            path = saver.save("parts", len(loader) + 1, locator)
            picture = folder.report / "parts.png"
            if folder.writes:
                save(drawn, picture, owner=folder.run_id)
            summary = {**_summary(found), "checkpoint": str(path), "picture": str(picture)}
            folder.finish(summary)
        return summary


def _load(statistics: ChannelStatistics, resume: Checkpoint) -> None:
    """Go on with the statistics of a checkpoint.

    Raises:
        CheckpointError: they are not of this pass, or not there: it is done, but does not say so
            any more.
    """
    if resume.progress is None:
        raise CheckpointError(
            f"{shown(resume.run / 'summary.json')}: damaged", hint="find the parts again"
        )
    with fitting(resume.folder):
        statistics.load_state_dict({**resume.tensors("trainer"), **resume.progress.trainer})


def _summary(found: PartDiscovery) -> dict[str, Any]:
    dead = (found.dead_share > DEAD).nonzero().flatten().tolist()
    return {
        "images": found.images,
        "cluster_sizes": list(found.groups.sizes),
        "inertia": found.groups.inertia,
        "spread": found.groups.spread,
        "silhouettes": {str(n): score for n, score in found.groups.silhouettes.items()},
        "dead_channels": dead,
        "dead_share": found.dead_share.mean().item(),
        "fit_error": found.fit_error,
        "fit_agreement": found.fit_agreement,
    }
