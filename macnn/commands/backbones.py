"""What stands behind `backbones`: which there are, and which layers of one can be tapped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from macnn.config import Settings
from macnn.errors import DataError, UsageError
from macnn.events import Listener, Progress
from macnn.model.backbones import (
    Backbone,
    BackboneSpec,
    ShapesOnly,
    create_backbone,
    from_timm,
    from_torchvision,
    input_config,
    map_shapes,
)
from macnn.model.backbones.backbone import TINY
from macnn.model.backbones.taps import as_map, is_signed, layers
from macnn.model.modes import evaluating
from macnn.runs.setup import completed, open_images, open_loader, prepare
from macnn.text import shown
from macnn.training.clusters import DEAD, distances, trim
from macnn_kernels import Peaks, channel_peaks, cluster_channels, peak_gram

ROWS = 18  # about as many layers are shown
COARSE = 8  # pixels; finer layers are shown if there are no others
FURTHER = 1024  # pixels, a multiple of every usual stride
IMAGES, BATCH = 64, 8  # images that are measured, and at a time
RESTARTS = 8  # of k-means: for a figure to choose by

IDLE = (nn.Identity, nn.Dropout)  # a dropout is none in training

T = TypeVar("T")
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Candidate:
    """A layer that can be tapped, and what it gives.

    layer: its name, None for the output of a network that has no taps. default: whether it is
    tapped if nothing else is said. stride: pixels between cells. channels: as they come. cells:
    (H, W). positive, negative: shares of its values. split_signs: whether every channel was made
    two before they were clustered. follows: how far peaks move with a mirrored image, from 0, no
    more than with another image, to 1; the median over channels. spread: inertia of the groups
    over that of one group of the same channels. smallest: channels of the smallest group. None is
    what was not measured.
    """

    layer: str | None
    default: bool
    stride: int
    channels: int
    cells: tuple[int, int]
    positive: float | None = None
    negative: float | None = None
    split_signs: bool | None = None
    follows: float | None = None
    spread: float | None = None
    smallest: int | None = None


def is_pattern(name: str) -> bool:
    """Whether this stands for several names, as in `timm/*vit*`."""
    return any(sign in name for sign in "*?[")


def find(pattern: str | None) -> dict[str, Any]:
    """Names of backbones that match; without a pattern "tiny" and torchvision's.

    Returns:
        `names`, and `timm`: how many that library has, None where it is not installed.

    Raises:
        UsageError: none matches, or timm is asked for and missing.
    """
    if pattern and pattern.startswith(from_timm.PREFIX):
        from_timm.check_installed()
    own, further = [TINY, *from_torchvision.names()], from_timm.names()
    count = len(further) or None
    if pattern is None:
        return {"names": own, "timm": count}
    found = [name for name in (*own, *further) if fnmatchcase(name, pattern)]
    if not found:
        raise UsageError(
            f"no backbone matches '{shown(pattern, 100)}'",
            hint=f"names of timm begin with {from_timm.PREFIX}, as in timm/*vit*",
        )
    return {"names": found, "timm": count}


def describe(
    name: str, settings: Settings, *, everything: bool, listen: Listener
) -> dict[str, Any]:
    """What images a backbone expects, and the layers that can be tapped.

    With weights their values are measured on training images of the data set, or on noise where
    none is given; with a data set, how well their channels form `model.parts` groups too.

    Args:
        name: of the backbone.
        settings: weights, data set, image size, number of parts.
        everything: all layers, rather than the last ends of blocks and activations at each stride.
        listen: hears of the progress.

    Raises:
        MacnnError: an unknown name, bad data or weights, or images of a size it cannot take.
    """
    model = settings.model.model_copy(update={"backbone": name})
    settings = completed(settings.model_copy(update={"model": model}))
    size, expected = settings.data.image_size, input_config(name)
    measured = model.weights != "none" and (model.weights is not None or name == TINY)
    if measured:
        device = prepare(settings)
        backbone = create_backbone(name, weights=model.weights, split_signs=False).to(device)
    else:
        with torch.random.fork_rng(devices=[]), ShapesOnly():
            backbone = Backbone(BackboneSpec(name))
    map_shapes(backbone, size)
    found = _candidates(backbone, size, everything)
    of_data = measured and settings.data.root is not None
    count = 0
    if measured:
        images = _images(settings, listen) if of_data else _noise(size)
        parts = model.parts if of_data else 0
        found, count = _measured(backbone, found, images, settings, parts, listen)
    return {
        "name": name,
        **asdict(expected),
        "tap": backbone.spec.tap,
        "measured_at": size,
        "measured_on": None if not measured else "training images" if of_data else "noise",
        "images": count,
        "parts": model.parts if of_data else None,
        "layers": [asdict(each) for each in found],
    }


def _candidates(backbone: Backbone, size: int, everything: bool) -> list[Candidate]:
    """The layers of a backbone that can be tapped, from the last to the first."""
    network, tap = backbone.body, backbone.spec.tap
    shapes, alike = _run(network, size)
    chosen: list[str] = []
    for names in alike:
        if (tap or "") in names:
            chosen = [*chosen, tap] if tap else [""]
            break  # what follows is cut off
        own = [name for name in names if not isinstance(network.get_submodule(name), IDLE)]
        if own and (everything or any(_is_candidate(network, name) for name in own)):
            chosen.append(own[-1])
    strides = _strides(network, size, {name: shapes[name] for name in chosen})
    if not everything:
        coarse = {shapes[n][1] for n in chosen if strides[n] >= COARSE or n == chosen[-1]}
        by_cells = [[n for n in chosen if shapes[n][1] == cells] for cells in coarse]
        last = {name for names in by_cells for name in names[-max(1, ROWS // len(coarse)) :]}
        chosen = [name for name in chosen if name in last]
    return [
        Candidate(
            layer=name or None,
            default=name == (tap or ""),
            stride=strides[name],
            channels=shapes[name][0],
            cells=shapes[name][1:],
        )
        for name in reversed(chosen)
    ]


def _run(network: nn.Module, size: int) -> tuple[dict[str, Shape], list[list[str]]]:
    """Shapes of all maps by layer, and the layers in order of their end.

    Layers that give the same values of one tensor come together: a block and what it ends with.
    """
    everything = [name for name, _ in network.named_modules()]
    with _listening(network, everything, _identity) as given:
        ran = layers(network, size)
    last = {each.name: each for each in ran}
    shapes = {name: each.shape for name, each in last.items() if each.shape}
    alike: dict[tuple[int, int], list[str]] = {}
    for name in sorted(shapes, key=lambda name: last[name].ended):
        output, version = given[name]
        alike.setdefault((id(output), version), []).append(name)
    return shapes, sorted(alike.values(), key=lambda names: last[names[-1]].ended)


def _identity(_name: str, output: Any) -> tuple[Any, int]:
    """An output, and how often it has been changed in place."""
    return output, output._version if isinstance(output, Tensor) else 0


def _is_candidate(network: nn.Module, name: str) -> bool:
    """Whether a layer is a block, several layers in a row of others, or an activation."""
    module, row = network.get_submodule(name), network.get_submodule(name.rpartition(".")[0])
    in_a_row = row is network or isinstance(row, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    if in_a_row and any(True for _ in module.children()):
        return True
    home = type(module).__module__.rpartition(".")[2]  # of torch, or of timm
    return home.startswith("activation") and not isinstance(
        module, nn.Softmax | nn.MultiheadAttention
    )


def _strides(network: nn.Module, size: int, shapes: dict[str, Shape]) -> dict[str, int]:
    """Pixels between cells: from how many cells a larger image has more, where one can be run."""
    try:
        more = {each.name: each.shape for each in layers(network, size + FURTHER)}
    except Exception:  # it takes one size only, and then shares it evenly
        more = {}
    strides = {}
    for name, (_, cells, _) in shapes.items():
        larger = more.get(name)
        further = larger[1] - cells if larger else 0
        strides[name] = round(FURTHER / further if further > 0 else size / cells)
    return strides


def _images(settings: Settings, listen: Listener) -> Iterator[Tensor]:
    """The first training images of the order of this seed, in batches."""
    loader = open_loader(settings, open_images(settings, listen).split("train"), shuffle=True)
    return (batch.images for batch in replace(loader, batch_size=BATCH).epoch())


def _noise(size: int) -> Iterator[Tensor]:
    draw = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8, generator=draw)


@torch.no_grad()
def _measured(
    backbone: Backbone,
    candidates: list[Candidate],
    images: Iterator[Tensor],
    settings: Settings,
    parts: int,
    listen: Listener,
) -> tuple[list[Candidate], int]:
    """Candidates with figures of their values, and of how many images."""
    names = [each.layer or "" for each in candidates]
    device = next(backbone.parameters()).device
    shares = {name: torch.zeros(2, dtype=torch.float64) for name in names}
    peaks: dict[str, list[Peaks]] = {name: [] for name in names}
    split: dict[str, bool] = {}

    def look(name: str, output: Any) -> tuple[Tensor, Peaks | None]:
        """Shares of positive and of negative values, and peaks if they are to be clustered."""
        values = as_map(output)
        found = torch.stack([(values > 0).double().mean(), (values < 0).double().mean()]).cpu()
        if not parts:
            return found, None
        asked = settings.model.split_signs
        if split.setdefault(name, is_signed(values) if asked is None else asked):
            values = torch.cat((values.relu(), values.neg().relu()), dim=1)
        return found, channel_peaks(values)

    count = 0
    with evaluating(backbone), _listening(backbone.body, names, look) as seen:
        for batch in islice(images, IMAGES // BATCH):
            here = batch.to(device)
            backbone(torch.cat((here, here.flip(-1))) if parts else here)
            count += len(batch)
            for name, (found, found_peaks) in seen.items():
                shares[name] += found * len(batch)
                peaks[name] += [found_peaks] if found_peaks else []
            listen(Progress("Measuring layers", count, IMAGES))
    if count == 0:
        raise DataError("no training images to measure on")
    figures = []
    for done, (each, name) in enumerate(zip(candidates, names, strict=True), start=1):
        positive, negative = (shares[name] / count).tolist()
        figures.append(replace(each, positive=positive, negative=negative))
        if parts:
            upright, mirrored = _halves(peaks[name])
            spread, smallest = _clusters(upright, parts, settings)
            figures[-1] = replace(
                figures[-1],
                split_signs=split[name],
                follows=_follows(upright, mirrored, each.cells[1]),
                spread=spread,
                smallest=smallest,
            )
            listen(Progress("Clustering channels", done, len(names)))
    return figures, count


def _halves(batches: list[Peaks]) -> tuple[Peaks, Peaks]:
    """The peaks of images as they are, and mirrored: the halves of every batch."""
    halves = zip(
        *(zip(*(v.chunk(2) for v in peaks), strict=True) for peaks in batches), strict=True
    )
    upright, mirrored = (
        Peaks(*(torch.cat(values) for values in zip(*half, strict=True))) for half in halves
    )
    return upright, mirrored


def _follows(upright: Peaks, mirrored: Peaks, width: int) -> float | None:
    """How far peaks move with a mirrored image; see `Candidate`. None if they cannot tell."""
    responding = ((upright.value > 0) & (mirrored.value > 0)).double().mean(dim=0) > 0.5
    here, there = (x[:, responding].double() for x in (upright.x, width - 1 - mirrored.x))
    if here.numel() == 0:
        return None
    own = (here - there).abs().mean(dim=0)
    other = (here[:, None] - there).abs().mean(dim=(0, 1))
    return (1 - own / other.clamp_min(1e-9)).clamp(0, 1).median().item()


def _clusters(peaks: Peaks, parts: int, settings: Settings) -> tuple[float | None, int | None]:
    """Spread and smallest of the groups of channels with these peaks; None if too few respond."""
    used = (peaks.value <= 0).double().mean(dim=0) <= DEAD
    gram = peak_gram(peaks)[used][:, used].contiguous()
    if len(gram) < parts:
        return None, None
    labels = cluster_channels(gram, parts, restarts=RESTARTS, seed=settings.run.seed).labels
    labels = trim(gram, labels, settings.pretrain.keep)
    kept = labels >= 0
    own = distances(gram, labels)[kept].gather(1, labels[kept, None]).clamp_min(0).sum()
    whole = distances(gram, torch.where(kept, 0, -1))[kept, 0].clamp_min(0).sum()
    smallest = labels[kept].bincount(minlength=parts).min()
    return (own / whole.clamp_min(1)).item(), int(smallest)


@contextmanager
def _listening(
    network: nn.Module, names: list[str], look: Callable[[str, Any], T]
) -> Iterator[dict[str, T]]:
    """Inside, whenever the network runs, what is seen of the last output of each of these layers.

    It is seen when it has been computed: later layers may change it in place.
    """
    seen: dict[str, T] = {}

    def listener(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hear(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen[name] = look(name, output)

        return hear

    hooks = [network.get_submodule(n).register_forward_hook(listener(n)) for n in names]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
