"""Trainable stems: bases in bins to strand-aware scores in bins, as the store of the motif stem has them.

Bins, strands, centres and edges are those of ``docs/stem.md``: the reverse complement of an element has the scores of
the element, bin order reversed and strands swapped. `episode.encode.scanner` scans known motifs once; here filters need
gradients, so they are convolved. This module knows one element at a time; it does NOT know environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from episode.config import StemConfig
from episode.dna import UNKNOWN, reverse_kmers
from episode.encode.bases import HALVED
from episode.encode.motifs import MotifBank
from episode.encode.scanner import FLOOR

__all__ = ["REFERENCE", "ConvStem", "Filters", "KmerStem", "Stem", "StoredScores", "new_stem", "start_thresholds"]

REFERENCE = 1000.0
"""Base pairs; an element of this length is not corrected for its length."""
DOUBLINGS = 4
"""Length beyond the reference, in doublings, over which the charge of a channel that starts at random is measured."""
LETTERS = UNKNOWN + 1
UNKNOWN_SCORE = -1024.0
"""What an unknown base adds to a site; more than all others together can make good."""
SPREAD = 2.0
"""Standard deviation of the score of a random site under a filter that starts at random."""
START = 3.09 * SPREAD
"""Where the occupancy of such a filter starts as a half: one random site in a thousand reaches it."""
GROUP = 8
"""Known filters are scored together if their lengths, rounded up to a multiple of this, are alike."""
BLOCK = 1 << 23
"""Scores of single positions held at a time; bounds the memory, does not change the result."""


class Stem(nn.Module):
    """First layer: rows of the store (n, bins, ...) and their mask (n, bins) in, scores (n, bins, 2, channels) out.

    Trainable stems read bases (n, bins, bin), uint8, as from `episode.encode.bases.BaseLayout`.

    Parameters
    ----------
    charge : Tensor, shape (channels,), or (1,) for one value in all
        By how much the best score of random DNA rises for each doubling of its length; no weight, never learned.
    """

    charge: Tensor

    def __init__(self, charge: Tensor) -> None:
        super().__init__()
        self.register_buffer("charge", charge, persistent=False)


class StoredScores(Stem):
    """The motif stem: the scores were made when the store was built.

    Parameters
    ----------
    charge : Tensor, shape (channels,), optional
        By default one bit a doubling, which is right for scores in bits.
    """

    def __init__(self, charge: Tensor | None = None) -> None:
        super().__init__(torch.ones(1) if charge is None else charge)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Return the rows (n, bins, 2, motifs) as they are."""
        return rows


class ConvStem(Stem):
    """The best site of each filter by bin and strand.

    Parameters
    ----------
    groups : sequence of Filters
        Channels come in the order of their `places`.
    charge : Tensor, shape (channels,)
        See `Stem`.
    """

    order: Tensor

    def __init__(self, groups: Sequence[Filters], charge: Tensor) -> None:
        super().__init__(charge)
        self.groups = nn.ModuleList(groups)
        places = torch.cat([torch.tensor(group.places) for group in groups])
        self.register_buffer("order", torch.argsort(places), persistent=False)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Best score among the sites whose centre lies in the bin; `FLOOR` where there is none, and in the padding."""
        scores = torch.cat([group(rows) for group in self.groups], dim=3)[..., self.order]
        return scores.clamp(min=FLOOR).masked_fill(~mask[:, :, None, None], FLOOR)


class Filters(nn.Module):
    """Filters of about the same length; both strands share their weights, which are not decayed.

    Parameters
    ----------
    weights : sequence of Tensor, each shape (length, 4)
        What each base at each position of a site adds to its score, before training.
    places : sequence of int
        Positions of the filters among the channels of the stem.
    """

    index: Tensor
    odd: Tensor

    def __init__(self, weights: Sequence[Tensor], places: Sequence[int]) -> None:
        super().__init__()
        self.places = tuple(places)
        self.weight = nn.Parameter(torch.cat([matrix.flatten() for matrix in weights]).float())
        lengths = [len(matrix) for matrix in weights]
        self.length = max(lengths)
        # entries of the table: a weight, nothing (beyond the site), or an unknown base within the site
        nothing, unknown = self.weight.numel(), self.weight.numel() + 1
        index = torch.full((2, len(weights), self.length, LETTERS), nothing)
        start = 0
        for channel, length in enumerate(lengths):
            left = self.length // 2 - length // 2
            own = torch.arange(start, start + 4 * length).view(length, 4)
            index[0, channel, left : left + length, :UNKNOWN] = own
            index[1, channel, left : left + length, :UNKNOWN] = own.flip(0, 1)
            index[:, channel, left : left + length, UNKNOWN] = unknown
            start += 4 * length
        self.register_buffer("index", index.flatten(0, 1), persistent=False)
        self.register_buffer("odd", torch.tensor(lengths).repeat(2) % 2 == 1, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Score bases (n, bins, bin), to (n, bins, 2, filters)."""
        table = torch.cat([self.weight, self.weight.new_tensor([0.0, UNKNOWN_SCORE])])[self.index]
        best: Tensor = _BestSite.apply(table, rows, self.odd)
        return best.unflatten(1, (2, -1)).permute(0, 3, 1, 2)


class _BestSite(torch.autograd.Function):
    """Best score in each bin; only the best site moves the filter, so no other is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, odd: Tensor) -> Tensor:
        """Table (channels, length, 5), bases (n, bins, bin), odd lengths (channels,), to (n, channels, bins)."""
        length, width = table.shape[1], rows.shape[2]
        letters, halved = _padded(rows, length)
        kernel = table.transpose(1, 2).contiguous()
        number = torch.arange(rows.shape[1], device=rows.device) * width
        best, at = [], []
        block = max(1, BLOCK // (len(table) * letters.shape[1]))
        for part, cut in zip(letters.split(block), halved.split(block), strict=True):
            bases = functional.one_hot(part.long(), LETTERS).transpose(1, 2).float().contiguous()
            with torch.autocast(rows.device.type, enabled=False):
                scores = torch.conv1d(bases, kernel)  # at position i: the site named i, see _padded
            inner = scores[..., :-1].unflatten(2, (-1, width))
            score, place = inner[..., 1:].max(3)
            place = place + 1
            for edge, found, barred in ((0, inner[..., 0], ~odd & cut), (width, scores[..., width::width], odd & ~cut)):
                better = (found > score) & ~barred[..., None]
                score, place = torch.where(better, found, score), torch.where(better, edge, place)
            best.append(score)
            at.append((place + number).int())
        ctx.save_for_backward(torch.cat(at), letters)
        ctx.shape = table.shape
        return torch.cat(best)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Give the gradient of a bin to the weights of the bases of its best site."""
        (gradient,), (at, letters) = gradients, ctx.saved_tensors
        channels, length, _ = ctx.shape
        flow = gradient.flatten()
        total = flow.new_zeros(channels * length * LETTERS)
        start = at.flatten(1).long()
        channel = torch.arange(channels, device=at.device)[:, None] * (length * LETTERS)
        for k in range(length):
            letter = letters.gather(1, start + k).view(at.shape)
            total.index_add_(0, (channel + k * LETTERS + letter).flatten(), flow)
        return total.view(ctx.shape), None, None


class KmerStem(Stem):
    """A learned embedding of k-mers, summed over the sites of a bin and divided by the root of their number.

    A site on the reverse strand has the embedding of the reverse-complement k-mer. The root keeps random sums of bins
    with few and with many known sites alike.

    Parameters
    ----------
    k : int
        Base pairs of a site.
    bin : int
        Base pairs of a bin. An element has few bins, and the charge for its length grows as the best of them does.
    """

    reverse: Tensor

    def __init__(self, k: int, channels: int, bin: int) -> None:
        super().__init__(torch.full((channels,), _growth(2 * REFERENCE / bin)))
        self.k = k
        self.embedding = nn.Parameter(torch.randn(4**k + 1, channels))
        reverse = torch.from_numpy(reverse_kmers(k))
        self.register_buffer("reverse", torch.cat([reverse, torch.tensor([4**k])]), persistent=False)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Score elements; 0 where no site of known bases has its centre in the bin, and in the padding."""
        width, nothing = rows.shape[2], 4**self.k
        letters, halved = _padded(rows, self.k)
        windows = letters.long().unfold(1, self.k, 1)
        powers = 4 ** torch.arange(self.k - 1, -1, -1, device=rows.device)
        number = torch.where((windows < UNKNOWN).all(2), (windows * powers).sum(2), nothing)
        sites = number.unfold(1, width + 1, width).clone()
        odd = bool(self.k % 2)
        sites[..., 0].masked_fill_(halved & (not odd), nothing)
        sites[..., -1].masked_fill_(~halved & odd, nothing)
        sites.masked_fill_(~mask[..., None], nothing)
        count = (sites != nothing).sum(2).clamp(min=1)[..., None]
        strands = [
            functional.embedding_bag(bags.flatten(0, 1), self.embedding, mode="sum", padding_idx=nothing)
            for bags in (sites, self.reverse[sites])
        ]
        return torch.stack([strand.view(*mask.shape, -1) / count.sqrt() for strand in strands], dim=2)


def new_stem(config: StemConfig, bank: MotifBank) -> Stem:
    """Return the untrained stem of a configuration; draws random weights from torch's generator.

    Known filters have the log-odds of the bank. The others are normal, each position centred over the four bases, and
    scaled so that the score of a random site has the standard deviation `SPREAD`.
    """
    if config.kind == "motif":
        return StoredScores()
    if config.kind == "kmer":
        return KmerStem(config.kmer, config.filters, config.bin)
    known = -(-bank.lengths // GROUP)
    groups = []
    for size in np.unique(known):
        places = np.flatnonzero(known == size).tolist()
        groups.append(Filters([torch.from_numpy(bank.log_odds(i)) for i in places], places))
    if config.filters:
        drawn = torch.randn(config.filters, config.length, 4)
        drawn -= drawn.mean(2, keepdim=True)
        drawn *= SPREAD / drawn.square().mean(2, keepdim=True).sum(1, keepdim=True).sqrt()
        groups.append(Filters(list(drawn), range(len(bank), len(bank) + config.filters)))
    free = SPREAD * _growth(2 * REFERENCE, -2 / config.length)
    return ConvStem(groups, torch.cat([torch.ones(len(bank)), torch.full((config.filters,), free)]))


def start_thresholds(config: StemConfig, bank: MotifBank) -> Tensor:
    """Score at which each channel starts as half occupied, shape (channels,).

    Of a known matrix the score that a random site reaches with probability ``config.site_p``; of a filter that starts
    at random `START`; of an embedding 0.
    """
    known = torch.from_numpy(bank.thresholds(config.site_p))
    if config.kind == "motif":
        return known
    return torch.cat([known, torch.full((config.filters,), START if config.kind == "conv" else 0.0)])


def _growth(number: float, kurtosis: float = 0.0) -> float:
    """By how much the maximum of `number` random scores rises for each doubling of their number.

    The mean over the next `DOUBLINGS`, for scores of standard deviation 1 without skew. The median of the maximum is
    the quantile 2^(-1/number) of one, taken from the normal one z by the expansion of Cornish and Fisher,
    z + kurtosis (z^3 - 3 z) / 24. The excess kurtosis of a sum over L positions, each with four normal values, centred,
    is -2 / L; for the shortest filters, which soon have seen every site, the expansion falls, and the charge is 0.
    """

    def maximum(count: float) -> float:
        z = NormalDist().inv_cdf(2 ** (-1 / count))
        return z + kurtosis * (z**3 - 3 * z) / 24

    return max(0.0, (maximum(number * 2**DOUBLINGS) - maximum(number)) / DOUBLINGS)


def _padded(rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Join the bins of each element, with unknown bases before and after.

    A site of even length is named by the base right of its centre, one of odd length by the base in its middle. Of the
    places of a row and the first of the next, all may name a site whose centre lies in the bin, but where edges lie
    between bases the last not for odd lengths, and where they lie within bases the first not for even ones.

    Returns
    -------
    letters : Tensor, shape (n, bins * bin + length), uint8
        A window of `length` that begins at i is the site named i.
    halved : Tensor, shape (n, 1), bool
        The edges of the bins of an element lie within bases.
    """
    flat = rows.flatten(1)
    before = length // 2
    padded = functional.pad(flat.clamp(max=UNKNOWN), (before, length - before), value=UNKNOWN)
    return padded, flat[:, :1] == HALVED
