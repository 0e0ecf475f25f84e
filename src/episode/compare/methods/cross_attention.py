"""The standard baseline: plain cross attention between the motif tokens of the two elements.

Mixed batches over all cell lines and binary cross-entropy. Knows no environment, no impedance and no distance.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.neural import NetworkOutput, Recipe, score_network
from episode.compare.methods.neural_inputs import ElementBatch, MotifTokens
from episode.model.attention import CrossBoundaryAttention

__all__ = ["CrossAttention", "score_fold"]

RECIPE = Recipe(steps=200, checks=10, batch=128, rate=1e-3, weight_decay=0.01, balanced=False)
WIDTH = 32
HEADS = 4
HIDDEN = 32
DROPOUT = 0.2


def score_fold(task: FoldTask) -> RunnerResult:
    """Learn one fold and score its test rows; fills ``cross_attention``."""
    inputs = MotifTokens(task.store, task.bank.thresholds(task.config.stem.site_p))
    return score_network(task, "cross_attention", inputs, lambda _: CrossAttention(inputs.channels), RECIPE)


class CrossAttention(nn.Module):
    """Linear tokens, one layer of cross attention each way, mean and maximum over the tokens, a dense head.

    Parameters
    ----------
    channels : int
        Channels of an input token.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Sequential(nn.Linear(channels, WIDTH), nn.LayerNorm(WIDTH)) for _ in range(2))
        self.enhancer_reads, self.promoter_reads = (CrossBoundaryAttention(WIDTH, HEADS) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.head = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(4 * WIDTH, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 1)
        )

    def forward(
        self, enhancers: ElementBatch, promoters: ElementBatch, enhancer_of: Tensor, promoter_of: Tensor
    ) -> NetworkOutput:
        """Score pairs of distinct elements."""
        tokens = [self.project[side](batch.content) for side, batch in enumerate((enhancers, promoters))]
        e, p = tokens[0].index_select(0, enhancer_of), tokens[1].index_select(0, promoter_of)
        e_mask, p_mask = enhancers.mask.index_select(0, enhancer_of), promoters.mask.index_select(0, promoter_of)
        e_new = self.norm[0](e + _read(self.enhancer_reads, e, p, p_mask))
        p_new = self.norm[1](p + _read(self.promoter_reads, p, e, e_mask))
        pooled = torch.cat([_pool(e_new, e_mask), _pool(p_new, p_mask)], dim=1)
        return NetworkOutput(self.head(pooled).squeeze(1))


def _read(attention: CrossBoundaryAttention, tokens: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """What the tokens of one element read from those of the other, `mask` true at real ones of these."""
    key, value = attention.key_value_of(other, _position(other))
    read: Tensor = attention(attention.query_of(tokens, _position(tokens)), key, value, mask)
    return read


def _position(tokens: Tensor) -> Tensor:
    return torch.arange(tokens.shape[1]).expand(tokens.shape[:2])


def _pool(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean and maximum of the real tokens, shape (n, 2 * width)."""
    real = mask[..., None]
    mean = (tokens * real).sum(dim=1) / real.sum(dim=1)
    return torch.cat([mean, tokens.masked_fill(~real, -torch.inf).amax(dim=1)], dim=1)
