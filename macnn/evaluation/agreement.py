"""How far two labellings of the same things agree, whatever their labels are called."""

import torch
from torch import Tensor

from macnn_kernels import checks


def agreement(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Normalised mutual information and adjusted Rand index of two labellings.

    NMI is normalised by the arithmetic mean of the entropies. Both are 1 for labellings equal up to
    names; ARI is 0 on average for independent ones. As scikit-learn defines them, and in double
    precision: torchmetrics' ARI overflows int64 from some ten thousand items (the test split of
    CUB-200-2011 shows 70,000 keypoints).

    Args:
        first: (m,) non-negative integer labels, m >= 1.
        second: (m,) likewise.
    """
    checks.rank("first", first, "m")
    checks.shape("second", second, tuple(first.shape), "one label per item of first")
    counts = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    counts.index_put_((first.cpu(), second.cpu()), one, accumulate=True)
    rows, columns, total = counts.sum(1), counts.sum(0), counts.sum()

    def entropy(bins: Tensor) -> float:
        return float(torch.special.entr(bins / total).sum())

    def pairs(bins: Tensor) -> float:
        return float((bins * (bins - 1) / 2).sum())

    separate = entropy(rows) + entropy(columns)
    nmi = 2 * (separate - entropy(counts)) / separate if separate > 0 else 1.0

    expected = pairs(rows) * pairs(columns) / max(pairs(total), 1)
    most = (pairs(rows) + pairs(columns)) / 2
    ari = (pairs(counts) - expected) / (most - expected) if most > expected else 1.0
    return max(nmi, 0.0), ari
