"""The stage behind `macnn pretrain-parts`: settings in, run folder out."""

from pathlib import Path
from typing import Any

from macnn.config import Settings
from macnn.errors import CheckpointError, UsageError
from macnn.events import Listener
from macnn.report.parts import draw_parts
from macnn.report.save import save
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.folder import RunFolder, check_output
from macnn.runs.images import check_same_images, note_images
from macnn.runs.networks import fill, new_network
from macnn.runs.resume import warn_if_others_may_write
from macnn.runs.saver import Saver
from macnn.runs.session import session, stopped_error
from macnn.runs.setup import open_images, open_loader, prepare, to_device
from macnn.runs.summaries import PartsSummary, finished_summary
from macnn.stop import Stopped
from macnn.text import shown
from macnn.training.clusters import DEAD
from macnn.training.discovery import (
    ChannelStatistics,
    PartDiscovery,
    collect_statistics,
    form_parts,
)


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
    with session(settings):
        return _run(settings, resume, overwrite=overwrite, listen=listen)


def _run(
    settings: Settings, resume: Checkpoint | None, *, overwrite: bool, listen: Listener
) -> dict[str, Any]:
    if resume is not None and (done := finished_summary(resume.run, PartsSummary)):
        return done
    output = resume.run if resume else check_output(settings.run.output, overwrite)
    if resume is not None:
        warn_if_others_may_write(output, listen)
    if settings.model.parts == 0:
        raise UsageError("--parts 0 has no parts to find", hint="the baseline needs 'train' only")
    device = prepare(settings)
    images = open_images(settings, listen).split("train")
    network = to_device(new_network(settings, classes=0), settings, device)
    loader = open_loader(settings, images, shuffle=True)
    statistics = ChannelStatistics.begin(network)
    if resume is not None:
        check_same_images(output, images)
        fill(network, resume)
        if resume.progress is None:  # it is done, but does not say so any more
            raise CheckpointError(
                f"{shown(output / 'summary.json')}: damaged", hint="find the parts again"
            )
        statistics.load(resume.tensors("trainer"), resume.progress.trainer, resume.folder)

    with RunFolder(
        output, settings, images.class_names, overwrite=overwrite, resume=resume
    ) as folder:
        if folder.writes:
            note_images(output, images, owner=folder.run_id)
        if resume is not None:
            folder.rewind(resume)
        saver = Saver(folder, settings, images.class_names, resume)

        def write() -> Path:
            return saver.save("statistics", statistics.batches, network, *statistics.state())

        def after_batch() -> None:
            if saver.due(statistics.batches):
                write()

        try:
            collect_statistics(network, loader, statistics, after_batch, listen)
            write()  # what follows is short, changes the network, and starts again from here
            found = form_parts(
                network,
                loader,
                statistics,
                settings.pretrain,
                gain=settings.model.gain,
                seed=settings.run.seed,
                listen=listen,
            )
            picture = folder.report / "parts.png"
            drawn = draw_parts(network, open_loader(settings, images))
        except Stopped as stopped:
            raise stopped_error(stopped, write()) from None
        path = saver.save("parts", len(loader) + 1, network, {})
        if folder.writes:
            save(drawn, picture, owner=folder.run_id)
        summary = {**_summary(found), "checkpoint": str(path), "picture": str(picture)}
        folder.finish(summary)
    return summary


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
