"""The stage behind `macnn pretrain-parts`: settings in, run folder out."""

from typing import Any

from macnn.config import Settings
from macnn.errors import UsageError
from macnn.evaluation.pictures import draw_parts
from macnn.events import Listener
from macnn.report.save import save
from macnn.runs.folder import RunFolder, check_output
from macnn.runs.networks import new_network, save_network
from macnn.runs.setup import open_images, open_loader, place, prepare
from macnn.training.clusters import DEAD
from macnn.training.discovery import PartDiscovery, pretrain_parts


def run(settings: Settings, *, overwrite: bool, listen: Listener) -> dict[str, Any]:
    """Find the parts of a data set; returns the summary also written to summary.json.

    Raises:
        MacnnError: bad settings, data or weights; nothing has been written then.
    """
    output = check_output(settings.run.output, overwrite)
    if settings.model.parts == 0:
        raise UsageError("--parts 0 has no parts to find", hint="the baseline needs 'train' only")
    device = prepare(settings)
    images = open_images(settings).split("train")
    network = place(new_network(settings, classes=0), settings, device)

    with RunFolder(output, settings, images.class_names, overwrite=overwrite) as folder:
        loader = open_loader(settings, images, shuffle=True)
        found = pretrain_parts(
            network,
            loader,
            settings.pretrain,
            gain=settings.model.gain,
            seed=settings.run.seed,
            listen=listen,
        )
        path = save_network(
            network,
            folder.checkpoints,
            "parts",
            0,
            class_names=images.class_names,
            settings=settings,
        )
        picture = folder.report / "parts.png"
        save(draw_parts(network, open_loader(settings, images)), picture)
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
        "dead_channels": dead,
        "dead_share": found.dead_share.mean().item(),
        "fit_error": found.fit_error,
        "fit_agreement": found.fit_agreement,
    }
