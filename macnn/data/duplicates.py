"""Finding one photograph in two splits, even when it was saved or scaled again."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2f

CELLS = 9  # of the thumbnail, per side
FLAT = 16  # grey levels; a thumbnail with less contrast looks like any other
# Of the 144 signs this many may differ. Measured on 400 birds: copies at two thirds of the size,
# saved again, differ in up to 12; other photographs in 28 and more.
NEAR = 12
BLOCK = 2**25  # pairs compared at once, to bound memory


def fingerprint(pixels: Tensor) -> Tensor | None:
    """What an image looks like, as signs (144,) int8; None for one without contrast.

    Signs say whether brightness rises from cell to cell of a thumbnail, across and down: the
    difference hash, in both directions.
    """
    cells = v2f.resize(pixels, [CELLS, CELLS], antialias=True).float().mean(dim=0)
    if cells.max() - cells.min() < FLAT:
        return None
    across, down = cells.diff(dim=1) > 0, cells.diff(dim=0) > 0
    return torch.cat((across.flatten(), down.flatten())).to(torch.int8) * 2 - 1


def lookalikes(prints: Sequence[Tensor], others: Sequence[Tensor]) -> Iterator[tuple[int, int]]:
    """Pairs (index in `prints`, index of its nearest in `others`) that look the same."""
    if not prints or not others:
        return
    there = torch.stack(list(others)).float()
    rows = max(1, BLOCK // len(others))
    for start in range(0, len(prints), rows):
        here = torch.stack(list(prints[start : start + rows])).float()
        agreement, nearest = (here @ there.T).max(dim=1)
        differing = (here.shape[1] - agreement) / 2
        for row in torch.nonzero(differing <= NEAR).flatten().tolist():
            yield start + row, int(nearest[row])
