"""The Backbone: two DNA elements in, intrinsic potential U_I and pair representation z_I out.

Sequence alone decides here, and distance where a contact decay is asked for: this module does not know cell lines,
environments or impedances, and may not import them.
The element encoder never sees the partner, so an element is encoded once however many pairs hold it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from episode.config import BackboneConfig
from episode.encode.bins import reversed_bins
from episode.model.attention import AnchorPooling, CrossBoundaryAttention
from episode.model.decay import ContactDecay
from episode.model.gate import GateEncoder, GateHead
from episode.model.kan import FourierKAN
from episode.model.stem import REFERENCE, Stem, StoredScores

__all__ = ["Backbone", "ElementCodes", "PairOutput", "Sites"]

SUMMARY_SCALE = 0.1
"""Initial scale of the summary of the attended tokens, which at first differs between pairs by noise alone."""
Sites = tuple[Tensor, Tensor]
"""Scores of the gate's matrices, (n, bins, 2, matrices) in bits, and their mask (n, bins)."""


@dataclass(frozen=True)
class ElementCodes:
    """What the pair head needs of each distinct element of one kind.

    Parameters
    ----------
    tokens : Tensor, shape (n, bins, width)
    mask : Tensor, shape (n, bins), bool
    query, key, value : Tensor, shape (n, heads, bins, width / heads)
    presence : Tensor, shape (n, channels)
        Occupancy of each channel of the stem by the element as a whole, on either strand, corrected for its length.
    factors : Tensor, shape (n, bilinear)
        Projection of the strand-wise presence that enters the products across the pair.
    gate : Tensor, shape (n, 2) or (n, 0)
        Sites of the boundary gate that face the partner, and that face away; nothing where there is no gate.
    """

    tokens: Tensor
    mask: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    presence: Tensor
    factors: Tensor
    gate: Tensor

    def take(self, index: Tensor) -> ElementCodes:
        """Return the rows `index`, shape (m,), with repeats."""
        return ElementCodes(*(getattr(self, name).index_select(0, index) for name in self.__dataclass_fields__))

    def to(self, device: torch.device) -> ElementCodes:
        """Return the same on a device."""
        return ElementCodes(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class PairOutput:
    """Output of the Backbone for each pair.

    Parameters
    ----------
    potential : Tensor, shape (n,)
        U_I, in the units of R_E.
    representation : Tensor, shape (n, size)
        z_I.
    """

    potential: Tensor
    representation: Tensor

    def take(self, index: np.ndarray) -> PairOutput:
        """Return the rows `index`, shape (m,), with repeats."""
        place = torch.from_numpy(index).to(self.potential.device)
        return PairOutput(self.potential[place], self.representation[place])

    @staticmethod
    def concatenate(parts: list[PairOutput]) -> PairOutput:
        """Join outputs in order."""
        if len(parts) == 1:
            return parts[0]
        return PairOutput(
            torch.cat([part.potential for part in parts]), torch.cat([part.representation for part in parts])
        )


class Backbone(nn.Module):
    """Stem, cross-boundary attention and Fourier-KAN energy head.

    Parameters
    ----------
    thresholds : Tensor, shape (channels,)
        Score at which a site of each channel of the stem starts as half occupied; bits where it is a known motif.
    initial_potential : float
        Mean of U_I before training.
    gate : GateEncoder or None
        Reads the elements for the boundary gate.
    decay : ContactDecay or None
        Reads the distance of each pair.
    stem : Stem or None
        Turns rows of the store and their mask into scores (n, bins, 2, channels), see `episode.model.stem`; None where
        the store holds scores.
    """

    def __init__(
        self,
        config: BackboneConfig,
        thresholds: Tensor,
        initial_potential: float,
        gate: GateEncoder | None = None,
        decay: ContactDecay | None = None,
        stem: Stem | None = None,
        *,
        bin: int,
    ) -> None:
        super().__init__()
        stem_channels = len(thresholds)
        self.stem: Stem = StoredScores() if stem is None else stem
        self.occupancy = Occupancy(thresholds)
        self.enhancer = ElementEncoder(config, stem_channels, bin)
        self.promoter = ElementEncoder(config, stem_channels, bin)
        self.enhancer_reads = CrossBoundaryAttention(config.width, config.heads)
        self.promoter_reads = CrossBoundaryAttention(config.width, config.heads)
        self.enhancer_pool = AnchorPooling(config.width, config.anchors)
        self.promoter_pool = AnchorPooling(config.width, config.anchors)
        self.summary = nn.Linear(2 * config.anchors * config.width, config.summary)
        with torch.no_grad():
            self.summary.weight.mul_(SUMMARY_SCALE)
        channels = config.summary + 3 * config.bilinear
        self.mix = nn.Linear(channels, config.kan_inputs)
        self.energy = FourierKAN(config.kan_inputs, 1, config.kan_frequencies)
        nn.init.constant_(self.energy.linear.bias, initial_potential)
        self.gate = gate
        self.gate_head = None if gate is None else GateHead(config.gate_inputs, config.gate_frequencies)
        self.decay = decay
        self.representation_size = channels + 2 * stem_channels + (0 if gate is None else 4)

    def encode(
        self, kind: str, rows: Tensor, mask: Tensor, sites: Sites | None = None, *, both: bool = False
    ) -> ElementCodes:
        """Encode elements of one kind ("enhancer" or "promoter") in pair orientation.

        Parameters
        ----------
        rows : Tensor, shape (n, bins, ...)
            As the stem reads them.
        mask : Tensor, shape (n, bins)
        sites : Sites or None
            The same elements for the boundary gate; with `both` also their reverse complements, behind them.
        both : bool
            Give the codes of the reverse complements as well, behind those of the elements.
        """
        upstream = kind == "enhancer"
        encoder = self.enhancer if upstream else self.promoter
        reads, is_read = self.enhancer_reads, self.promoter_reads
        if not upstream:
            reads, is_read = is_read, reads
        scores, charge = self.stem(rows, mask), self.stem.charge
        codes: ElementCodes = encoder(scores, mask, self.occupancy, charge, reads, is_read, both=both)
        if self.gate is None:
            return codes
        if sites is None:
            raise ValueError("this Backbone has a boundary gate and needs the sites of its factor")
        return replace(codes, gate=self.gate(*sites, upstream=upstream))

    def motif_norms(self) -> Tensor:
        """Norm of what each channel of the stem feeds into, by element kind, strand and path, shape (8 * channels,)."""
        encoders = (self.enhancer, self.promoter)
        return torch.cat([layer.weight.norm(dim=0) for e in encoders for layer in (e.project, e.factor)])

    def forward(self, enhancers: ElementCodes, promoters: ElementCodes, distance: Tensor | None = None) -> PairOutput:
        """Score pairs; row i of `enhancers` goes with row i of `promoters`.

        `distance`, shape (n,), in bp and NaN where unknown, is read by the contact decay alone, and never enters z_I.
        """
        e, p = enhancers, promoters
        e_tokens = e.tokens + self.enhancer_reads(e.query, p.key, p.value, p.mask)
        p_tokens = p.tokens + self.promoter_reads(p.query, e.key, e.value, e.mask)
        pooled = torch.cat([self.enhancer_pool(e_tokens, e.mask), self.promoter_pool(p_tokens, p.mask)], dim=1)
        channels = torch.cat([self.summary(pooled), e.factors, p.factors, e.factors * p.factors], dim=1)
        with torch.autocast(channels.device.type, enabled=False):  # U_I ranks: bfloat16 would leave ties
            potential = self.energy(self.mix(channels.float())).squeeze(1)
            if self.gate_head is not None:
                potential = potential + self.gate_head(e.gate.float(), p.gate.float())
        if self.decay is not None and distance is not None:
            potential = potential + self.decay(distance)
        representation = torch.cat([channels, e.gate, p.gate, e.presence, p.presence], dim=1)
        return PairOutput(potential.float(), representation.float())


class Occupancy(nn.Module):
    """Score to occupancy, with a learned threshold and slope for each channel of the stem (both strands share them)."""

    def __init__(self, thresholds: Tensor) -> None:
        super().__init__()
        self.threshold = nn.Parameter(thresholds.clone().float())
        self.log_slope = nn.Parameter(torch.zeros(len(thresholds)))

    def forward(self, scores: Tensor, *, learned: bool = True) -> Tensor:
        """Map scores (..., channels) to occupancies in (0, 1); unless `learned`, no gradient reaches the map."""
        steepness = torch.exp(-self.log_slope)
        level = -self.threshold * steepness
        if not learned:
            steepness, level = steepness.detach(), level.detach()
        return torch.addcmul(level, scores, steepness).sigmoid_()


class ElementEncoder(nn.Module):
    """Stem scores of one element to tokens, attention inputs and presence.

    The presence of a channel on a strand is the occupancy of its best site; occupancy rises with the score, so this
    needs the best score of the element only. A longer element has better sites by chance, which is taken back,

        presence = occupancy(best - charge log2(length / 1 kb)),

    with the charge that the stem gives for each channel. Of scores in bits it is 1: random DNA reaches s bits at most
    2^-s as often as the motif's own sites do, so twice the length brings about one bit.

    Thresholds and slopes learn from the presence alone: along the tokens they would cost as much again as all else.
    """

    def __init__(self, config: BackboneConfig, channels: int, bin: int) -> None:
        super().__init__()
        self.bin = bin
        self.project = nn.Linear(2 * channels, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.mix = nn.Sequential(
            nn.Linear(config.width, 2 * config.width), nn.GELU(), nn.Linear(2 * config.width, config.width)
        )
        self.factor = nn.Linear(2 * channels, config.bilinear)
        with torch.no_grad():
            self.factor.weight.mul_(config.factor_scale)

    def forward(
        self,
        scores: Tensor,
        mask: Tensor,
        occupancy: Occupancy,
        charge: Tensor,
        reads: CrossBoundaryAttention,
        is_read: CrossBoundaryAttention,
        *,
        both: bool = False,
    ) -> ElementCodes:
        """Encode scores (n, bins, 2, channels); `reads` makes the queries, `is_read` the keys and values.

        The reverse complement of an element has its scores, bin order reversed and strands swapped: with `both`, what
        is read of the scores is computed once.
        """
        occupied = occupancy(scores, learned=False).flatten(2)
        tokens = self.project(occupied)
        hidden = torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, -torch.inf)
        best = (scores + hidden[:, :, None, None]).amax(1)  # several times faster than to fill them
        doublings = (mask.sum(1) * self.bin / REFERENCE).log2()
        present = occupancy(best - doublings[:, None, None] * charge)
        if both:
            swapped = self.project.weight.unflatten(1, (2, -1)).flip(1).flatten(1)
            other = linear(occupied, swapped, self.project.bias)
            source = reversed_bins(mask)[..., None].expand_as(other)
            tokens = torch.cat([tokens, other.gather(1, source)])
            present, mask = torch.cat([present, present.flip(1)]), torch.cat([mask, mask])
        tokens = self.norm(tokens)
        tokens = tokens + self.mix(tokens)
        position = torch.arange(mask.shape[1], device=mask.device)[None]
        key, value = is_read.key_value_of(tokens, position)
        return ElementCodes(
            tokens=tokens,
            mask=mask,
            query=reads.query_of(tokens, position),
            key=key,
            value=value,
            presence=present.amax(1),
            factors=self.factor(present.flatten(1)),
            gate=present.new_zeros(len(present), 0),
        )
