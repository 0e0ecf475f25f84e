"""The second baseline: cross-boundary attention both ways, Fourier-KAN energy, adversarial cell lines, mixed batches.

The parts of the Backbone without its episodes: in place of an environment impedance, a discriminator behind reversed
gradients tries to name the cell line of a pair from its representation. Knows no environment when it predicts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.neural import NetworkOutput, Recipe, domain_head, reverse_gradient, score_network
from episode.compare.methods.neural_inputs import ElementBatch, MotifTokens
from episode.model.attention import AnchorPooling, CrossBoundaryAttention
from episode.model.kan import FourierKAN

__all__ = ["Decoupled", "score_fold"]

RECIPE = Recipe(steps=200, checks=10, batch=128, rate=2e-3, weight_decay=0.01, balanced=False)
WIDTH = 32
HEADS = 4
ANCHORS = 2
REPRESENTATION = 16
FREQUENCIES = 3
DISCRIMINATOR = 32
STRENGTH = 0.3
"""Of the reversed gradient."""


def score_fold(task: FoldTask) -> RunnerResult:
    """Learn one fold and score its test rows; fills ``decoupled``."""
    inputs = MotifTokens(task.store, task.bank.thresholds(task.config.stem.site_p))
    return score_network(task, "decoupled", inputs, lambda cell_lines: Decoupled(inputs.channels, cell_lines), RECIPE)


class Decoupled(nn.Module):
    """Tokens, cross-boundary attention both ways, anchors, pair representation; energy and discriminator read it.

    Parameters
    ----------
    channels : int
        Channels of an input token.
    cell_lines : int
        Training cell lines that the discriminator distinguishes.
    """

    def __init__(self, channels: int, cell_lines: int) -> None:
        super().__init__()
        self.enhancer, self.promoter = (
            nn.Sequential(nn.Linear(channels, WIDTH), nn.LayerNorm(WIDTH)) for _ in range(2)
        )
        self.enhancer_reads, self.promoter_reads = (CrossBoundaryAttention(WIDTH, HEADS) for _ in range(2))
        self.enhancer_pool, self.promoter_pool = (AnchorPooling(WIDTH, ANCHORS) for _ in range(2))
        self.summary = nn.Sequential(
            nn.LayerNorm(2 * ANCHORS * WIDTH), nn.Linear(2 * ANCHORS * WIDTH, REPRESENTATION), nn.Tanh()
        )
        self.energy = FourierKAN(REPRESENTATION, 1, FREQUENCIES)
        self.discriminator = domain_head(REPRESENTATION, DISCRIMINATOR, cell_lines)

    def forward(
        self, enhancers: ElementBatch, promoters: ElementBatch, enhancer_of: Tensor, promoter_of: Tensor
    ) -> NetworkOutput:
        """Score pairs of distinct elements; queries, keys and values are made once for each element."""
        e, p = self.enhancer(enhancers.content), self.promoter(promoters.content)
        e_place, p_place = (torch.arange(b.mask.shape[1]).expand(b.mask.shape) for b in (enhancers, promoters))
        e_query, p_query = self.enhancer_reads.query_of(e, e_place), self.promoter_reads.query_of(p, p_place)
        p_key, p_value = self.enhancer_reads.key_value_of(p, p_place)
        e_key, e_value = self.promoter_reads.key_value_of(e, e_place)
        e, e_query, e_key, e_value, e_mask = (
            part.index_select(0, enhancer_of) for part in (e, e_query, e_key, e_value, enhancers.mask)
        )
        p, p_query, p_key, p_value, p_mask = (
            part.index_select(0, promoter_of) for part in (p, p_query, p_key, p_value, promoters.mask)
        )
        e = self.enhancer_pool(e + self.enhancer_reads(e_query, p_key, p_value, p_mask), e_mask)
        p = self.promoter_pool(p + self.promoter_reads(p_query, e_key, e_value, e_mask), p_mask)
        representation = self.summary(torch.cat([e, p], dim=1))
        logit = self.energy(representation).squeeze(1)
        return NetworkOutput(logit, self.discriminator(reverse_gradient(representation, STRENGTH)))
