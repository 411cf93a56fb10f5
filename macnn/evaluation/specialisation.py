"""Whether parts see only their part: what each part's classifier loses as parts are covered."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from macnn import defaults, distributed
from macnn.data.loaders import Batch
from macnn.errors import DataError, NonFiniteError
from macnn.model import MACNN, Output
from macnn.model.alignment import part_centres
from macnn.model.crops import squares
from macnn.ranges import Change, Count, Many, Share
from macnn_kernels import checks


@dataclass(frozen=True)
class Specialisation:
    """What is lost as parts are covered, one at a time.

    Attributes:
        images: Number of images.
        lost: For every part covered (row) and every part's own classifier (column) the drop of the
            probability of the true class, mean over images; negative where covering helps. Not the
            rise of the cross-entropy: that has no bound, and a few images of which a classifier is
            surely wrong would decide it.
        specialisation: Share of the diagonal in what is lost, entries below 0 counting as 0: 1
            where every classifier depends on its own part alone, 1/N where all lose alike; None
            where nothing is lost.

    Raises:
        ValueError: They do not fit each other.
    """

    images: Count
    lost: Many[Many[Change]]
    specialisation: Share | None

    def __post_init__(self) -> None:
        if {len(self.lost)} != set(map(len, self.lost)):
            raise ValueError("lost: not every classifier for every part")
        if (self.specialisation is None) != all(x <= 0 for row in self.lost for x in row):
            raise ValueError("specialisation: of nothing lost, or none of something")

    def values(self) -> dict[str, float]:
        """The figure to log, by name."""
        return {} if self.specialisation is None else {"specialisation": self.specialisation}


@torch.no_grad()
def measure_specialisation(model: MACNN, batches: Iterable[Batch]) -> Specialisation:
    """Cover the square of one part after the other, and ask the classifiers of all parts.

    The square has `defaults.PART_SHARE` of the image's side, about the part's centre, moved inwards
    at the border. Several processes share the images, and all of them get the figures of all. It
    takes N + 1 passes over the images.

    Args:
        model: the model; it is left in evaluation mode.
        batches: the images of this process, each once, not augmented.

    Raises:
        DataError: there is no image.
        NonFiniteError: the model's answers are not finite.
    """
    model.eval()
    device = next(model.parameters()).device
    sums = torch.zeros(model.parts**2 + 1, dtype=torch.float64, device=device)
    sides = torch.full((1, 1), defaults.PART_SHARE * model.image_size, device=device)
    for given in batches:
        batch = given.to(device)
        seen = model(batch.images)
        centres = model.grid.to_pixels(part_centres(seen.attention.float()))
        boxes = squares(centres, sides, model.image_size)
        before = _true_class(seen, batch.labels)
        for part in range(model.parts):
            after = _true_class(model(cover(batch.images, boxes[:, part])), batch.labels)
            row = slice(part * model.parts, (part + 1) * model.parts)
            sums[row] += (before - after).sum(0)
        sums[-1] += len(batch.labels)
    *lost, images = distributed.all_reduce(sums).tolist()
    if not images:
        raise DataError("no images to evaluate", hint="choose a split that has some")
    matrix = torch.tensor(lost, dtype=torch.float64).view(model.parts, model.parts) / images
    if not matrix.isfinite().all():
        raise NonFiniteError(
            "the network's logits are not finite", hint="evaluate an earlier checkpoint"
        )
    return Specialisation(
        images=int(images),
        lost=tuple(map(tuple, matrix.tolist())),
        specialisation=diagonal_share(matrix),
    )


def diagonal_share(lost: Tensor) -> float | None:
    """Share of the diagonal in the sum of a square matrix, both of what is above 0, if any is."""
    above = lost.clamp(min=0)
    return float(above.trace() / above.sum()) if above.any() else None


def cover(images: Tensor, boxes: Tensor) -> Tensor:
    """Images with a square each filled by what is about it.

    Every covered pixel is a mean of the four pixels of the rim in its row and column, weighted by
    one over their distance: spatial interpolation, as video decoders conceal lost blocks (Salama et
    al., 1998). It meets the rim on all sides. The rim's mean colour is simpler, but meets the rim
    only where that is even, and so does a blur: on photographs of birds the step at the outline is
    five times that in the photograph, a square for the network to see.

    Args:
        images: (B, 3, H, W), any dtype.
        boxes: (B, 4) left, top, right, bottom in pixels, within the image but not all of it; a
            pixel is covered if its centre is within.
    """
    checks.rank("images", images, "B, 3, H, W")
    checks.shape("boxes", boxes, (len(images), 4), "one per image")
    across = _rims(images, boxes[:, 0], boxes[:, 2], 3)
    down = _rims(images, boxes[:, 1], boxes[:, 3], 2)
    inside = across[0] & down[0]
    weights = across[1] + down[1]
    filled = (across[2] + down[2]) / weights
    if not images.is_floating_point():
        filled = filled.round()
    return torch.where(inside, filled.to(images.dtype), images)


def _rims(images: Tensor, start: Tensor, end: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis: which pixels lie within, the weights of their two rims, and those summed."""
    size = images.shape[axis]
    shape = [-1, 1, 1, 1]
    first, last = ((edge - 0.5).ceil().long().view(shape) for edge in (start, end))
    shape[0], shape[axis] = 1, size
    pixels = torch.arange(size, device=images.device).view(shape)
    weights, sums = [], []
    for rim, apart in ((first - 1, pixels - first + 1), (last, last - pixels)):
        there = (rim >= 0) & (rim < size)
        index = rim.clamp(0, size - 1).expand(*images.shape[:axis], 1, *images.shape[axis + 1 :])
        weights.append(there / apart.clamp(min=1))
        sums.append(weights[-1] * images.gather(axis, index))
    return (pixels >= first) & (pixels < last), weights[0] + weights[1], sums[0] + sums[1]


def _true_class(seen: Output, labels: Tensor) -> Tensor:
    """What the classifier of every part gives for the true class: (B, N) float64."""
    probabilities = seen.part_logits.double().softmax(-1)
    return probabilities.gather(2, labels[:, None, None].expand(*probabilities.shape[:2], 1))[
        ..., 0
    ]
