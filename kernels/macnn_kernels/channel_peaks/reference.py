"""Channel peaks and their Gram matrix in plain PyTorch."""

import torch
from torch import Tensor

# float64 sums are exact up to 2 * IMAGES_PER_PRODUCT * 2^28 = 2^53, see README.md
IMAGES_PER_PRODUCT = 2**24
ROWS_PER_PRODUCT = 1024  # of the Gram matrix, of which nothing that large is made beside it


def channel_peaks(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest response of every channel and its first position in row-major order."""
    H, W = features.shape[2:]
    value, position = features.flatten(2).max(dim=2)
    dead = value <= 0
    x = torch.where(dead, W // 2, position % W)
    y = torch.where(dead, H // 2, position // W)
    return x.int(), y.int(), value


def peak_gram(x: Tensor, y: Tensor, gram: Tensor) -> None:
    """Add `sum_b tx tx' + ty ty'` to `gram`, exactly."""
    for start in range(0, len(x), IMAGES_PER_PRODUCT):
        stop = start + IMAGES_PER_PRODUCT
        trajectories = torch.cat([x[start:stop], y[start:stop]]).double()
        bands = gram.split(ROWS_PER_PRODUCT), trajectories.split(ROWS_PER_PRODUCT, dim=1)
        for band, some in zip(*bands, strict=True):
            band += (some.T @ trajectories).long()


def empty_peaks(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Uninitialised columns, rows and values."""
    x, y = (features.new_empty(features.shape[:2], dtype=torch.int32) for _ in range(2))
    return x, y, features.new_empty(features.shape[:2])
