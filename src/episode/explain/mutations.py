"""Elements as scores, as they are and with some of their bases replaced.

Where the stem scans known motifs, only the bins that an edit can change are scanned again. This module does NOT know
partners.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.encode.bases import BaseLayout
from episode.encode.bins import bin_count, bins_around, whole_bins
from episode.encode.motifs import MotifBank
from episode.encode.scanner import Scanner
from episode.encode.store import ElementStore
from episode.explain.sites import Site
from episode.model.backbone import Backbone
from episode.model.stem import StoredScores

__all__ = ["Edit", "ElementScores", "Rescanner"]


@dataclass(frozen=True)
class Edit:
    """Bases put in place of others.

    Parameters
    ----------
    start : int
        First base replaced, 0-based.
    bases : ndarray, shape (n,), uint8
        What stands there now; the length of the element does not change.
    """

    start: int
    bases: np.ndarray

    def apply(self, codes: np.ndarray) -> np.ndarray:
        """Return a copy of the element with the bases replaced."""
        edited = np.array(codes)
        edited[self.start : self.start + len(self.bases)] = self.bases
        return edited


class Rescanner:
    """Scores of an element after an edit, the same to the bit as scanning all of it.

    Bins away from the edit keep their scores. The rest are scanned within a piece of the element whose ends are whole
    bins away from its ends, so that bins of the piece are bins of the element, and which reaches far enough for every
    site of a bin that is kept.

    Parameters
    ----------
    bank : MotifBank
    bin : int
        Base pairs of a bin.
    precision : {"float16", "float32"}
        Of the scores.
    """

    def __init__(self, bank: MotifBank, bin: int, precision: str = "float16") -> None:
        self.bin = bin
        self._scan = Scanner(bank, bin, dtype=precision)
        self._reach = int(bank.lengths.max())

    def __call__(self, codes: np.ndarray, tokens: np.ndarray, edits: Sequence[Edit]) -> np.ndarray:
        """Scan edits of one element.

        Parameters
        ----------
        codes : ndarray, shape (length,), uint8
        tokens : ndarray, shape (bins, 2, motifs)
            Scores of the element as it is.
        edits : sequence of Edit
            Each is made alone.

        Returns
        -------
        ndarray, shape (len(edits), bins, 2, motifs)
        """
        result = np.repeat(np.asarray(tokens)[None], len(edits), axis=0)
        plans = [self._plan(len(codes), edit) for edit in edits]
        pieces = [edit.apply(codes)[low:high] for edit, (low, high, _, _) in zip(edits, plans, strict=True)]
        scanned = self._scan(pieces) if pieces else result[:0]
        row = 0
        for variant, (low, high, first, last) in zip(result, plans, strict=True):
            skip = first - low // self.bin
            variant[first:last] = scanned[row + skip : row + skip + last - first]
            row += bin_count(high - low, self.bin)
        return result

    def _plan(self, length: int, edit: Edit) -> tuple[int, int, int, int]:
        """Return the piece to scan (bases) and the bins to take from it, both half-open."""
        first, last = bins_around(edit.start, edit.start + len(edit.bases), self._reach, length, self.bin)
        return *whole_bins(first, last, self._reach, length, self.bin), first, last


class ElementScores:
    """Scores of single elements of a dataset, edited or not, each as a small store.

    Parameters
    ----------
    run : Run
    dataset : Dataset
    store : ElementStore
        Of the dataset's elements, made with the run's bank.
    backbone : Backbone, optional
        That of a member; by default that of the run's first.

    Attributes
    ----------
    backbone : Backbone
        The same, reading scores whatever its stem reads.
    """

    def __init__(self, run: Run, dataset: Dataset, store: ElementStore, backbone: Backbone | None = None) -> None:
        stem = run.facts.config.stem
        self._dataset, self._store = dataset, store
        self.backbone = run.system.backbone if backbone is None else backbone
        self._stem = self.backbone.stem
        self._layout: BaseLayout | None = None
        if stem.kind == "motif":
            self._rescan = Rescanner(run.bank, stem.bin, stem.precision)
        else:
            self._layout = BaseLayout(stem.bin)
            self.backbone = copy.deepcopy(self.backbone)
            self.backbone.stem = StoredScores(self._stem.charge)
        self._gate_rescan = None
        if run.bank.gate is not None:
            self._gate_rescan = Rescanner(run.bank.gate, stem.gate_bin, stem.precision)

    def codes(self, element: int) -> np.ndarray:
        """Bases of an element, shape (length,), uint8."""
        return self._dataset.sequence(element)

    def bins(self, element: int) -> int:
        """Bins of an element."""
        return int(self._store.bins[element])

    def of(self, element: int) -> ElementStore:
        """Return a store whose only row is the element as it is."""
        gate = None if self._store.gate is None else _join(self._store.gate.rows(element)[None])
        rows = self._store.rows(element)[None]
        return _join(rows if self._layout is None else self._score(rows), gate)

    def edited(self, element: int, edits: Sequence[Edit]) -> ElementStore:
        """Return a store whose row i is the element with edit i made alone."""
        codes = self.codes(element)
        gate = None
        if self._store.gate is not None and self._gate_rescan is not None:
            gate = _join(self._gate_rescan(codes, self._store.gate.rows(element), edits))
        if self._layout is None:
            return _join(self._rescan(codes, self._store.rows(element), edits), gate)
        rows = self._layout([edit.apply(codes) for edit in edits])
        return _join(self._score(rows.reshape(len(edits), -1, rows.shape[1])), gate)

    @torch.no_grad()
    def _score(self, rows: np.ndarray) -> np.ndarray:
        """Read bases (n, bins, bin) by the stem that learned its filters, to (n, bins, 2, channels)."""
        device = next(self.backbone.parameters()).device
        bases = torch.from_numpy(np.array(rows)).to(device)
        mask = torch.ones(bases.shape[:2], dtype=torch.bool, device=device)
        scores: np.ndarray = self._stem(bases, mask).float().cpu().numpy()
        return scores

    def own_channel(self, element: int, edited: ElementStore, sites: Mapping[int, Site]) -> ElementStore:
        """Return a store whose rows differ from the element only in what the motif of one site reads on its strand.

        Parameters
        ----------
        element : int
        edited : ElementStore
            Has in a row the element with the bases of a site replaced.
        sites : mapping of int to Site
            Row of `edited` to its site, whose motif is a channel; one row of the result each, in order. All matrices
            of the gate are one channel: they read a site together.
        """
        original = self.of(element)
        tokens = np.repeat(original.rows(0)[None], len(sites), axis=0)
        gate = None if original.gate is None else np.repeat(original.gate.rows(0)[None], len(sites), axis=0)
        for i, (row, site) in enumerate(sites.items()):
            if site.gate and gate is not None and edited.gate is not None:
                gate[i, :, site.strand] = edited.gate.rows(row)[:, site.strand]
            else:
                tokens[i, :, site.strand, site.motif] = edited.rows(row)[:, site.strand, site.motif]
        return _join(tokens, None if gate is None else _join(gate))


def _join(tokens: np.ndarray, gate: ElementStore | None = None) -> ElementStore:
    """Make a store of variants (n, bins, 2, channels) of one element."""
    count, bins = tokens.shape[:2]
    return ElementStore.of(tokens.reshape(count * bins, *tokens.shape[2:]), np.full(count, bins), "variants", gate)
