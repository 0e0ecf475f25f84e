"""EPIVAN, an own and smaller implementation from the paper: k-mer vectors, convolution, BiGRU and attention.

As in the paper: overlapping 6-mers of the two sequences are embedded, each element has its own convolution, ReLU and
max-pooling, the two are laid end to end, and batch normalisation, dropout of one half, a bidirectional GRU, additive
attention and one dense unit follow; positives and negatives are balanced (the paper copies positives, here batches are
drawn half and half, and the log-odds corrected back to the training prevalence).

Smaller or different here: the 100-dimensional pre-trained dna2vec vectors are replaced by 16-dimensional learned ones;
windows are 2,048 bases of either element (paper: 3,000 of enhancers, 2,000 of promoters); the vectors of four
neighbouring 6-mers are averaged before the convolution, whose kernel of ten such means spans 45 bases as the paper's 40
6-mers do; 32 filters (64); pooling over 40 bases (20); GRU and attention of 24 units (50).

References
----------
Hong, Zeng, Wei, Liu. Identifying enhancer-promoter interactions with neural network based on pre-trained DNA vectors
and attention mechanism. Bioinformatics 2020, 36:1037.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, max_pool1d, relu

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.neural import NetworkOutput, Recipe, score_network
from episode.compare.methods.neural_inputs import DnaWindows, ElementBatch
from episode.dna import UNKNOWN

__all__ = ["Epivan", "score_fold"]

RECIPE = Recipe(steps=200, checks=8, batch=64, rate=1e-3, weight_decay=1e-3, balanced=True)
K = 6
STRIDE = 4
"""Neighbouring 6-mers whose vectors are averaged."""
DIMENSIONS = 16
KERNEL = 10
FILTERS = 32
POOL = 10
UNITS = 24
DROPOUT = 0.5


def score_fold(task: FoldTask) -> RunnerResult:
    """Learn one fold and score its test rows; fills ``epivan``."""
    return score_network(task, "epivan", DnaWindows(task.dataset), lambda _: Epivan(), RECIPE)


class Epivan(nn.Module):
    """The network; see the module."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(4**K + 1, DIMENSIONS))
        self.convolution = nn.ModuleList(nn.Conv1d(DIMENSIONS, FILTERS, KERNEL) for _ in range(2))
        self.norm = nn.BatchNorm1d(FILTERS)
        self.dropout = nn.Dropout(DROPOUT)
        self.gru = nn.GRU(FILTERS, UNITS, batch_first=True, bidirectional=True)
        self.attend = nn.Sequential(nn.Linear(2 * UNITS, UNITS), nn.Tanh(), nn.Linear(UNITS, 1, bias=False))
        self.dense = nn.Linear(2 * UNITS, 1)

    def forward(
        self, enhancers: ElementBatch, promoters: ElementBatch, enhancer_of: Tensor, promoter_of: Tensor
    ) -> NetworkOutput:
        """Score pairs of distinct elements."""
        features = [
            self._encode(side, batch.content).index_select(0, place)
            for side, (batch, place) in enumerate(((enhancers, enhancer_of), (promoters, promoter_of)))
        ]
        pair = self.dropout(self.norm(torch.cat(features, dim=2)))
        states = self.gru(pair.transpose(1, 2))[0]
        read = (self.attend(states).softmax(dim=1) * states).sum(dim=1)
        return NetworkOutput(self.dense(read).squeeze(1))

    def _encode(self, side: int, codes: Tensor) -> Tensor:
        """Features of one kind of element, shape (n, filters, length)."""
        words = kmers(codes)
        bags = words[:, : words.shape[1] // STRIDE * STRIDE].reshape(-1, STRIDE)
        vectors = embedding_bag(bags, self.vectors, mode="mean", padding_idx=4**K)
        vectors = vectors.view(len(codes), -1, DIMENSIONS).transpose(1, 2)
        return relu(max_pool1d(self.convolution[side](vectors), POOL))


def kmers(codes: Tensor) -> Tensor:
    """Number the overlapping 6-mers of codes (n, length): (n, length - 5), ``4**6`` where a base is unknown."""
    count = codes.shape[1] - K + 1
    word = torch.zeros_like(codes[:, :count])
    unknown = torch.zeros_like(word, dtype=torch.bool)
    for shift in range(K):
        base = codes[:, shift : shift + count]
        word = word * 4 + base
        unknown |= base == UNKNOWN
    return word.masked_fill(unknown, 4**K)
