"""Attention blocks: rotary positions, cross-boundary attention, anchor pooling, set attention.

This module does NOT know energy or environments; masks are True where a token is real.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["AnchorPooling", "CrossBoundaryAttention", "PooledSetAttention", "SetAttention", "rotary"]


def rotary(x: Tensor, position: Tensor) -> Tensor:
    """Rotate channel pairs by an angle that grows with the position.

    Parameters
    ----------
    x : Tensor, shape (n, heads, tokens, channels)
        Queries or keys; an even number of channels.
    position : Tensor, shape (n, tokens)
        Position of each token along the pair, in tokens; only differences matter to the attention.

    Returns
    -------
    Tensor, shape of `x`

    References
    ----------
    Su et al. RoFormer. Neurocomputing 2024, arXiv:2104.09864.
    """
    half = x.shape[-1] // 2
    rate = torch.pow(100.0, -torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = position[:, None, :, None].float() * rate
    angle = torch.cat([-angle, angle], dim=-1)
    x = x.contiguous()  # whole vectors at a time from here on
    return torch.addcmul(x * angle.cos().to(x.dtype), x.roll(half, dims=-1), angle.sin().to(x.dtype))


class _Heads(nn.Module):
    """The linear maps of multi-head attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


class CrossBoundaryAttention(_Heads):
    """One direction of the cross-boundary attention (CBAT): the tokens of one element read those of the other.

    Queries, keys and values are made once for each distinct element (`query_of`, `key_value_of`); only `forward` runs
    for every pair.
    """

    def query_of(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Rotated queries, shape (n, heads, tokens, width / heads)."""
        return rotary(self._split(self.query(tokens)), position)

    def key_value_of(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated keys and values, each of shape (n, heads, tokens, width / heads)."""
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        return rotary(self._split(key), position), self._split(value)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """What the querying tokens read, shape (n, tokens, width); `mask` (n, key tokens) is True at real keys.

        Every pair needs a real key. The products are many and small: the longer of queries and keys lies along the last
        dimension, where the softmax is several times faster over rows, or across them, of some length.
        """
        count, heads, _, channels = query.shape
        q, k, v = (x.flatten(0, 1) for x in (query, key, value))
        hidden = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf).repeat_interleave(heads, dim=0)
        scale = 1 / math.sqrt(channels)
        if q.shape[1] <= k.shape[1]:
            read = torch.baddbmm(hidden[:, None, :], q, k.mT, alpha=scale).softmax(dim=2) @ v
        else:
            weight = torch.baddbmm(hidden[:, :, None], k, q.mT, alpha=scale).softmax(dim=1)
            read = (v.mT @ weight).mT
        return self.output(read.unflatten(0, (count, heads)).transpose(1, 2).flatten(2))


class AnchorPooling(nn.Module):
    """Pool tokens by their likeness to learned anchors, with a learned temperature.

    Parameters
    ----------
    anchors : int
        Number of anchors; each pools one vector.
    """

    def __init__(self, width: int, anchors: int) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.randn(anchors, width) / math.sqrt(width))
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens (n, tokens, width) and mask (n, tokens) to (n, anchors * width)."""
        likeness = tokens @ self.anchor.T * torch.exp(-self.log_temperature)
        weight = likeness.masked_fill(~mask[..., None], -torch.inf).mT.softmax(dim=2)
        return (weight @ tokens).flatten(1)


class SetAttention(nn.Module):
    """Induced set-attention block (ISAB): linear cost in the size of the set, equivariant to its order.

    References
    ----------
    Lee et al. Set Transformer. ICML 2019, arXiv:1810.00825.
    """

    def __init__(self, width: int, heads: int, inducing: int) -> None:
        super().__init__()
        self.inducing = nn.Parameter(torch.randn(inducing, width) / math.sqrt(width))
        self.gather = _Attend(width, heads)
        self.spread = _Attend(width, heads)

    def forward(self, items: Tensor) -> Tensor:
        """Map a set (n, width) to a set (n, width)."""
        return self.spread(items, self.gather(self.inducing, items))


class PooledSetAttention(nn.Module):
    """Pooling by attention (PMA) with one seed: a set becomes one vector, whatever its order.

    References
    ----------
    Lee et al. Set Transformer. ICML 2019, arXiv:1810.00825.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(1, width) / math.sqrt(width))
        self.attend = _Attend(width, heads)

    def forward(self, items: Tensor) -> Tensor:
        """Map a set (n, width) to a vector (width,)."""
        return self.attend(self.seed, items).squeeze(0)


class _Attend(_Heads):
    """Multi-head attention block of the Set Transformer: rows of `x` read rows of `y`, then a small residual layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.inner = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        key, value = (self._split(part) for part in self.key_value(y).chunk(2, dim=-1))
        read = scaled_dot_product_attention(self._split(self.query(x)), key, value)
        x = x + self.output(read.transpose(0, 1).flatten(1))
        return x + self.inner(x)
