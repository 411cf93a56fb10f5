"""Part attention in plain PyTorch, which the kernels are tested against; equations in README.md.

Half-precision inputs are computed in float32. All sums are matrix products over flattened
positions, so that no tensor has N times the size of the features, and neither layout is copied.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def forward(
    features: Tensor,
    weights: Tensor,
    competition: Tensor | None,
    scale: float,
    activation: str,
    power: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return attention (B, N, H, W), parts (B, N, C) and scores z (B, N, H, W); (1)-(4)."""
    wide = torch.promote_types(features.dtype, torch.float32)
    flat = features.flatten(2).to(wide)
    z = torch.bmm(weights.to(wide), flat).mul_(scale)
    log_a = _log_g(z, activation).mul_(power)
    if competition is not None:
        log_a += _log_share(z, competition)
    attention = torch.softmax(log_a, dim=2)
    parts = torch.bmm(attention, flat.mT)
    maps = (*weights.shape[:2], *features.shape[2:])
    return attention.view(maps), parts, z.view(maps)


def backward(
    grad_attention: Tensor | None,
    grad_parts: Tensor | None,
    features: Tensor,
    weights: Tensor,
    competition: Tensor | None,
    attention: Tensor,
    parts: Tensor,
    scores: Tensor,
    scale: float,
    activation: str,
    power: float,
    needs_features: bool,
    needs_weights: bool,
) -> list[Tensor]:
    """Return the gradients asked for: of the features, then of the weights; (5)-(9)."""
    wide = attention.dtype
    flat, m = features.flatten(2).to(wide), attention.flatten(2)
    t, q = torch.zeros_like(m), torch.zeros_like(m[..., :1])
    if grad_attention is not None:
        t += grad_attention.flatten(2)
        q += (m * t).sum(2, keepdim=True)
    if grad_parts is not None:
        t.baddbmm_(grad_parts, flat)
        q += (parts * grad_parts).sum(2, keepdim=True)
    h, z = m * (t - q), scores.flatten(2)
    u = _slope(z, activation).mul_(power).mul_(h)
    if competition is not None:
        share = _log_share(z, competition).exp_()
        u += _column(competition[0], wide) * (h - share * h.sum(1, keepdim=True))
    u *= scale

    grads = []
    if needs_features:
        over_channels, over_positions = weights.to(wide), u
        if grad_parts is not None:
            over_channels = torch.cat((grad_parts, over_channels), 1)
            over_positions = torch.cat((m, u), 1)
        # computed in the layout of the features, so that it need not be copied
        if _layout(features) == torch.channels_last:
            product = torch.bmm(over_positions.mT, over_channels).mT
        else:
            product = torch.bmm(over_channels.mT, over_positions)
        grads.append(product.to(features.dtype).view(features.shape))
    if needs_weights:
        grads.append(torch.bmm(u, flat.mT).to(weights.dtype))
    return grads


def empty_outputs(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Uninitialised attention, parts and scores."""
    wide = torch.promote_types(features.dtype, torch.float32)
    maps = (*weights.shape[:2], *features.shape[2:])
    attention, scores = (features.new_empty(maps, dtype=wide) for _ in range(2))
    return attention, features.new_empty(weights.shape, dtype=wide), scores


def empty_grads(
    features: Tensor, weights: Tensor, needs_features: bool, needs_weights: bool
) -> list[Tensor]:
    """Uninitialised gradients asked for; that of the features has their layout."""
    grads = []
    if needs_features:
        grads.append(torch.empty_like(features, memory_format=_layout(features)))
    if needs_weights:
        grads.append(weights.new_empty(weights.shape))
    return grads


def _layout(features: Tensor) -> torch.memory_format:
    if features.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _log_share(z: Tensor, competition: Tensor) -> Tensor:
    """Logarithm of the share of each position (B, N, S) that each part wins; (2)."""
    slope, offset = (_column(row, z.dtype) for row in competition)
    bids = z * slope + offset
    everyone = torch.cat((bids, torch.zeros_like(bids[:, :1])), 1)  # the background bids 0
    return bids - everyone.logsumexp(1, keepdim=True)


def _column(row: Tensor, dtype: torch.dtype) -> Tensor:
    """A number per part (N,), to go with (B, N, S)."""
    return row.to(dtype)[:, None]


def _log_g(z: Tensor, activation: str) -> Tensor:
    """Logarithm of the activation, finite even where the activation underflows."""
    if activation == "sigmoid":
        return F.logsigmoid(z)
    return F.softplus(z.tanh()).log_()


def _slope(z: Tensor, activation: str) -> Tensor:
    """Derivative of log g."""
    if activation == "sigmoid":
        return torch.sigmoid(-z)
    t = z.tanh()
    # 1 - tanh(z)^2 as a product, which does not cancel
    return (
        torch.sigmoid(2 * z)
        .mul_(4)
        .mul_(torch.sigmoid(-2 * z))
        .mul_(t.sigmoid())
        .div_(F.softplus(t))
    )
