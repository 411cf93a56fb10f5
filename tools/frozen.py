"""Ways to find parts, one factor at a time: nothing trained, on kept features of training images.

python tools/frozen.py DATA WEIGHTS [NETWORK ...]    writes docs/figures/frozen.json

DATA holds the data sets that frozen.toml names, WEIGHTS the weights of its networks. Test images
are never read. Figures of places are fitted on one half of the training images and measured on the
other, both ways; accuracy is that of a linear probe on part features and the whole image, in folds.
"""

import logging
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from figures import FIGURES
from torch import Tensor, nn
from torch.nn import functional as F

from macnn.config.settings import Settings
from macnn.data.loaders import Batch
from macnn.data.samples import ImageSet
from macnn.defaults import MARGIN
from macnn.evaluation.evaluate import landmarks
from macnn.evaluation.localisation import Landmarks, measure_localisation
from macnn.evaluation.predict import keypoint_tensors, predict
from macnn.events import silent
from macnn.files import write_json
from macnn.model import MACNN
from macnn.runs.models import new_macnn
from macnn.runs.setup import completed, open_images, open_loader
from macnn.training.clusters import group_channels
from macnn.training.discovery import ChannelStatistics, form_parts
from macnn.training.probe import linear_probe

log = logging.getLogger("macnn.frozen")
PLAN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
FOLDS = 3  # of the accuracy
BATCH = 50


@dataclass(frozen=True)
class Way:
    """How parts are found: see the settings of these names; dead: see `group_channels`."""

    power: float
    keep: float
    competition: float
    dead: float


@dataclass(frozen=True)
class Kept:
    """A network's features of the training images of a data set, and what was counted of them.

    features: (n, C, H, W) float16. batch: of all images, without images.
    """

    model: MACNN
    images: ImageSet
    features: Tensor
    batch: Batch
    gram: Tensor
    dead_share: Tensor

    def batches(self, rows: Tensor) -> Iterator[Batch]:
        """Batches whose images are features already."""
        for some in rows.split(BATCH):
            about = (self.batch.labels, self.batch.samples, self.batch.frames)
            yield Batch(self.features[some].float(), *(x[some] for x in about), len(some))


class Indicators(nn.Module):
    """Channel weights as the grouping layers are fitted to have them: 1 for the part's channels."""

    def __init__(self, labels: Tensor, parts: int) -> None:
        super().__init__()
        self.indicators = F.one_hot(labels + 1, parts + 1)[:, 1:].T.float()

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, N, C), the same for every image."""
        return self.indicators.expand(len(pooled), -1, -1)


@torch.no_grad()
def keep(network: str, weights: str | None, data: Path, size: int) -> Kept:
    """Run a network over the training images once, and find the parts as the defaults say."""
    settings = completed(
        Settings.model_validate(
            {
                "data": {"root": str(data), "validation": 0.0, "image_size": size},
                "model": {"backbone": network, "weights": weights, "hidden": 64},
            }
        )
    )
    images = open_images(settings).split("train")
    torch.manual_seed(0)
    _, model = new_macnn(settings, len(images.class_names))
    model.eval()
    statistics, features, batches = ChannelStatistics.begin(model), [], []
    for batch in open_loader(settings, images).epoch():
        features.append(model.backbone(batch.images))
        statistics.update(features[-1], batch.samples, batch.total)
        features[-1] = features[-1].half()
        batches.append(batch)
    chosen, shuffled = settings.pretrain, open_loader(settings, images, shuffle=True)
    found = {name: getattr(chosen, name) for name in ("restarts", "keep", "fit_steps", "fit_lr")}
    with torch.enable_grad():
        form_parts(model, shuffled.epoch(), statistics, **found, gain=1.0, seed=0, listen=silent)
    model.backbone = nn.Identity()
    about = (torch.cat([getattr(b, n) for b in batches]) for n in ("labels", "samples", "frames"))
    dead_share = statistics.dead.double() / statistics.images
    everything = Batch(torch.empty(0), *about, statistics.images)
    return Kept(model, images, torch.cat(features), everything, statistics.gram, dead_share)


@torch.no_grad()
def form(kept: Kept, way: Way) -> None:
    """Form the parts of a model in this way, in place."""
    model = kept.model
    groups = group_channels(
        kept.gram, kept.dead_share, model.parts, restarts=64, keep=way.keep, seed=0, dead=way.dead
    )
    model.grouping = Indicators(groups.labels, model.parts)  # type: ignore[assignment]
    model.power, model.competition = way.power, way.competition
    summed, images = torch.zeros(3, model.parts, dtype=torch.float64), len(kept.features)
    for batch in kept.batches(torch.arange(images)):
        response = torch.einsum("nc,bchw->bnhw", model.grouping.indicators, batch.images)
        each = response.flatten(2).double()
        moments = each.std(dim=2), each.mean(dim=2), each.square().mean(dim=2)
        summed += torch.stack(moments).sum(dim=1)
    within, mean, square = summed / images
    model.response_scale.set(1 / within.mean().item())
    model.responses.set(*mean.tolist(), *(square - mean.square()).sqrt().tolist())


def figures_of(kept: Kept, way: Way) -> dict[str, float]:
    """Where parts found in this way are, and what a linear probe recognises by them."""
    form(kept, way)
    everything = torch.arange(len(kept.features))
    keypoints, _ = keypoint_tensors(kept.images)
    found, maps = predict(kept.model, kept.batches(everything), margin=MARGIN, keypoints=keypoints)
    assert maps is not None
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(0))
    half = [rows(landmarks(found, kept.images), order[i::2]) for i in range(2)]
    names = kept.images.keypoint_names
    both = [measure_localisation(*pair, names).values() for pair in (half, half[::-1])]
    places = {
        name: (both[0][name] + both[1][name]) / 2
        for name in ("pck10", "pck15", "regression_error", "nmi", "ari")
    }
    right = 0.0
    for fold in range(FOLDS):
        held_out, rest = order[fold::FOLDS], torch.ones(len(order), dtype=torch.bool)
        rest[held_out] = False
        training, validation = (kept.batches(some) for some in (everything[rest], held_out))
        (accuracy,) = linear_probe([kept.model], training, validation)
        assert accuracy is not None
        right += accuracy * len(held_out) / len(order)
    return {"peak_collision_rate": maps.peak_collision_rate, **places, "accuracy": right}


def rows(split: Landmarks, chosen: Tensor) -> Landmarks:
    """Some images of a split."""
    chosen_of = {name: each[chosen] for name, each in vars(split).items() if each is not None}
    return Landmarks(**chosen_of)


def main(data: Path, weights: Path, networks: list[str]) -> None:
    """Measure every way on every view; a line each as it comes, all in docs/figures."""
    found: list[dict[str, Any]] = []
    for network in networks or PLAN["networks"]:
        for size, names in PLAN["views"].items():
            for name in names:
                file = weights / PLAN["networks"][network]
                kept = keep(network, str(file), data / name, int(size))
                for way, changes in PLAN["ways"].items():
                    view = {"network": network, "data": name, "size": int(size), "way": way}
                    found.append(view | figures_of(kept, Way(**PLAN["common"] | changes)))
                    log.info("%s", found[-1])
    content = {
        "made_by": "python tools/frozen.py DATA WEIGHTS",
        "common": asdict(Way(**PLAN["common"])),
        "rows": found,
    }
    write_json(FIGURES / "frozen.json", content)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
