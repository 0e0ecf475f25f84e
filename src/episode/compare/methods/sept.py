"""SEPT, an own and smaller implementation from the paper: domain-adversarial convolution and LSTM.

As in the paper: each element goes through two layers of convolution, ReLU and max-pooling on one-hot DNA; the two are
laid end to end, and batch normalisation, dropout, a bidirectional LSTM and dropout give the features that a label
predictor and, behind reversed gradients, a domain discriminator read. Batches are drawn half positive, half negative,
and the log-odds corrected back to the training prevalence.

Smaller or different here: windows are 2,048 bases of either element (paper: 3,000 of enhancers, 2,000 of promoters);
32 filters of 20 bases, then of 5 (300 of 40 each); pooling by 20, then by 4; LSTM of 24 units (50), dense layers of 32
(100 and 50). The paper's discriminator distinguishes one source from one target cell line whose unlabelled pairs it
has; no baseline is given pairs of the test cell lines here, so it distinguishes the training cell lines.

References
----------
Jing, Zhang, Zhang. Prediction of enhancer-promoter interactions using the cross-cell type information and domain
adversarial neural network. BMC Bioinformatics 2020, 21:507.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, relu

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.neural import NetworkOutput, Recipe, domain_head, reverse_gradient, score_network
from episode.compare.methods.neural_inputs import DnaWindows, ElementBatch

__all__ = ["Sept", "score_fold"]

RECIPE = Recipe(steps=160, checks=8, batch=64, rate=1e-3, weight_decay=1e-3, balanced=True)
FILTERS = 32
KERNELS = (20, 5)
POOLS = (20, 4)
UNITS = 24
HIDDEN = 32
DROPOUT = (0.25, 0.5)
STRENGTH = 1.0
"""Of the reversed gradient."""


def score_fold(task: FoldTask) -> RunnerResult:
    """Learn one fold and score its test rows; fills ``sept``."""
    inputs = DnaWindows(task.dataset)
    return score_network(task, "sept", inputs, lambda cell_lines: Sept(inputs.window, cell_lines), RECIPE)


class Sept(nn.Module):
    """The network; see the module.

    Parameters
    ----------
    window : int
        Bases of an element.
    cell_lines : int
        Training cell lines that the discriminator distinguishes.
    """

    one_hot: Tensor

    def __init__(self, window: int, cell_lines: int) -> None:
        super().__init__()
        self.register_buffer("one_hot", torch.cat([torch.eye(4), torch.zeros(1, 4)]), persistent=False)
        self.first = nn.ModuleList(nn.Conv1d(4, FILTERS, KERNELS[0]) for _ in range(2))
        self.second = nn.ModuleList(nn.Conv1d(FILTERS, FILTERS, KERNELS[1]) for _ in range(2))
        self.norm = nn.BatchNorm1d(FILTERS)
        self.dropout = nn.ModuleList(nn.Dropout(rate) for rate in DROPOUT)
        self.lstm = nn.LSTM(FILTERS, UNITS, batch_first=True, bidirectional=True)
        length = window
        for kernel, pool in zip(KERNELS, POOLS, strict=True):
            length = (length - kernel + 1) // pool
        features = 2 * length * 2 * UNITS
        self.label = nn.Sequential(
            nn.Linear(features, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT[1]), nn.Linear(HIDDEN, 1)
        )
        self.discriminator = domain_head(features, HIDDEN, cell_lines)

    def forward(
        self, enhancers: ElementBatch, promoters: ElementBatch, enhancer_of: Tensor, promoter_of: Tensor
    ) -> NetworkOutput:
        """Score pairs of distinct elements."""
        elements = [
            self._encode(side, batch.content).index_select(0, place)
            for side, (batch, place) in enumerate(((enhancers, enhancer_of), (promoters, promoter_of)))
        ]
        pair = self.dropout[0](self.norm(torch.cat(elements, dim=2)))
        features = self.dropout[1](self.lstm(pair.transpose(1, 2))[0]).flatten(1)
        domain = self.discriminator(reverse_gradient(features, STRENGTH))
        return NetworkOutput(self.label(features).squeeze(1), domain)

    def _encode(self, side: int, codes: Tensor) -> Tensor:
        """Features of one kind of element, shape (n, filters, length)."""
        x = self.one_hot[codes].transpose(1, 2)
        x = relu(max_pool1d(self.first[side](x), POOLS[0]))
        return relu(max_pool1d(self.second[side](x), POOLS[1]))
