"""Scanning: DNA to the best score of every motif on either strand in every bin.

The layout of bins, the score of a site and the exact symmetry under reverse complement are described in
``docs/stem.md``. This module does NOT know where sequences come from nor where tokens are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from episode.dna import UNKNOWN
from episode.encode.bins import bin_count, bin_origin, lacking_bases
from episode.encode.motifs import MotifBank
from episode.threads import in_threads

__all__ = ["CODE_VERSION", "FLOOR", "Scanner"]

CODE_VERSION = 1
"""Raised whenever the same sequences and bank give other tokens than before."""
FLOOR = -32.0
"""Bits; the score of a bin without a complete site of known bases, and the lowest score of any bin."""

LETTERS = UNKNOWN + 1
WORD = 4
WORDS = LETTERS**WORD
UNKNOWN_BITS = -1024.0
BLOCK = 1 << 16
TILE = 8192
"""Positions scored at a time: few enough that their scores stay in the processor cache."""
DTYPES = {np.dtype(np.float16): torch.float16, np.dtype(np.float32): torch.float32}
FILL = 16
"""Motifs whose columns, two of each, fill whole vectors: what is left of one is slow to take the maximum of."""


@dataclass(frozen=True)
class _Group:
    """Motifs scanned together, because their sites take equally many 4-mers; columns of even length come first."""

    words: int
    even: int
    table: torch.Tensor

    @property
    def reach(self) -> int:
        """Bases of a site on either side of its centre."""
        return self.words * WORD // 2

    def score(self, words: torch.Tensor) -> torch.Tensor:
        """Score every site of a sequence of 4-mers, int32, to (sites, columns): sums of rows of the table."""
        sites = words.unfold(0, (self.words - 1) * WORD + 1, 1)[:, ::WORD]
        rows = torch.empty(sites.shape, dtype=torch.int32)
        torch.add(sites, self.place, out=rows)
        ends = torch.arange(0, rows.numel() + 1, self.words, dtype=torch.int32)
        scores: torch.Tensor = torch.embedding_bag(self.table, rows.view(-1), ends, include_last_offset=True)[0]
        return scores

    @cached_property
    def place(self) -> torch.Tensor:
        """Row of the table at which each word of a site begins, shape (words,), int32."""
        return torch.arange(0, self.words * WORDS, WORDS, dtype=torch.int32)


@dataclass(frozen=True)
class _Sequence:
    """Elements joined to one sequence, in which elements that overlap share their bases.

    Parameters
    ----------
    words : Tensor, int32
        Number of the word that begins at each base.
    centre : np.ndarray, shape (n_bins,), int64
        Base of the first site centre of each bin; no site about a centre of the bin has bases of other elements.
    halved : np.ndarray, shape (n_bins,), bool
        The left edge of the bin lies in the middle of a base.
    """

    words: torch.Tensor
    centre: np.ndarray
    halved: np.ndarray


@dataclass(frozen=True)
class _Runs:
    """Bins in rows: those of a row follow one another, and rows begin at equal intervals, all in positions."""

    first: int
    pitch: int
    rows: int
    bins: int

    def best(self, scores: torch.Tensor, width: int) -> torch.Tensor:
        """Maximum of the scores (positions, columns) in each bin, shape (rows * bins, columns)."""
        size = scores.shape[1]
        shape, strides = (self.rows, self.bins, width, size), (self.pitch * size, width * size, size, 1)
        return scores.as_strided(shape, strides, self.first * size).amax(dim=2).flatten(0, 1)


@dataclass(frozen=True)
class _Line:
    """Positions from `low` to before `high`, and where the bins of a tile have theirs among them.

    Parameters
    ----------
    low, high : int
    runs : list of _Runs
        Positions of the bins that lie on no edge between two.
    edges : Tensor, shape (2 * n_bins,)
        First position of every bin, then the last of every bin.
    """

    low: int
    high: int
    runs: list[_Runs]
    edges: torch.Tensor

    @classmethod
    def of(cls, joined: _Sequence, tile: np.ndarray, width: int) -> _Line:
        """Look at the bins of a tile."""
        low = int(joined.centre[tile].min())
        first = joined.centre[tile] - low
        inner = first + joined.halved[tile]
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(inner) != width) + 1])
        begin, bins = inner[cuts].tolist(), np.diff(cuts, append=len(tile)).tolist()
        runs: list[_Runs] = []
        for start, n in zip(begin, bins, strict=True):
            last = runs[-1] if runs else None
            pitch = 0 if last is None else start - last.first - (last.rows - 1) * last.pitch
            if last is not None and n == last.bins and pitch > 0 and (last.rows == 1 or pitch == last.pitch):
                runs[-1] = _Runs(last.first, pitch, last.rows + 1, n)
            else:
                runs.append(_Runs(start, 0, 1, n))
        return cls(
            low, low + int(first.max()) + width + 1, runs, torch.from_numpy(np.concatenate([first, first + width]))
        )

    def score(self, group: _Group, words: torch.Tensor, width: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Score a group: the best in each bin, run by run, and the edges, shape (2, n_bins, columns)."""
        scores = group.score(words[self.low - group.reach : self.high + group.reach - WORD])
        edges = scores.index_select(0, self.edges)
        return [run.best(scores, width) for run in self.runs], edges.view(2, -1, edges.shape[1])


class Scanner:
    """A bank made ready for scanning; build it once when many batches are scanned.

    A site is cut into 4-mers, and what a 4-mer adds to the scores of all motifs is looked up in a table: a quarter of
    the additions of a matrix product with one-hot DNA, and no multiplication. Bases in which elements overlap are
    scanned once.

    Parameters
    ----------
    bank : MotifBank
    bin : int
        Base pairs of a bin, at least 1.
    block : int, optional
        Positions that a thread takes at a time, at least those of one tile; does not change the result.
    dtype : dtype, optional
        Of the tokens: float16, or float32, which holds every score exactly.

    Raises
    ------
    ValueError
        If `bin` or `block` is not positive, the bank is empty, or `dtype` another.
    """

    def __init__(self, bank: MotifBank, bin: int, block: int = BLOCK, dtype: npt.DTypeLike = np.float16) -> None:
        if bin < 1:
            raise ValueError(f"a bin of at least 1 base pair is needed, not {bin}")
        if block < 1:
            raise ValueError(f"a block of at least 1 position is needed, not {block}")
        if not len(bank):
            raise ValueError("a motif bank of at least one matrix is needed")
        if np.dtype(dtype) not in DTYPES:
            raise ValueError(f"tokens of float16 or float32 are needed, not {np.dtype(dtype)}")
        self._dtype = DTYPES[np.dtype(dtype)]
        self.width = bin
        self._block = block
        self._n_motifs = len(bank)
        self._groups, self._columns = _groups(bank)
        self._reach = max(group.words for group in self._groups) * WORD // 2

    def __call__(self, elements: Sequence[np.ndarray], place: np.ndarray | None = None) -> np.ndarray:
        """Scan elements.

        Parameters
        ----------
        elements : sequence of np.ndarray, each shape (length,), uint8
            A=0, C=1, G=2, T=3, anything else 4; lengths may differ.
        place : np.ndarray, shape (n,), int64, optional
            Where each begins on one line for all chromosomes. Bases that elements share there are scanned once; the
            result is the same. Elements that overlap there with other bases are scanned apart.

        Returns
        -------
        np.ndarray, shape (total_bins, 2, n_motifs)
            Best log-odds score in bits among the sites whose centre lies in the bin, on the forward (0) and the
            reverse strand (1); `FLOOR` where there is none, or none as good. The bins of the first element, then those
            of the second, and so on.
        """
        lengths = np.array([len(codes) for codes in elements], dtype=np.int64)
        total = int(bin_count(lengths, self.width).sum())
        tokens = torch.empty((total, 2 * self._n_motifs), dtype=self._dtype)
        if total > 0:
            joined = self._join(elements, lengths, place)

            def scan_part(tiles: list[np.ndarray]) -> None:
                tokens[torch.from_numpy(np.concatenate(tiles))] = self._best(joined, tiles)

            in_threads(scan_part, self._parts(joined.centre))
        return tokens.view(total, 2, self._n_motifs).numpy()

    def _join(self, elements: Sequence[np.ndarray], lengths: np.ndarray, place: np.ndarray | None) -> _Sequence:
        """Join elements, with bins of equal width symmetrically about the middle of each.

        A stretch is what overlaps: every base that a site about some centre in a bin of one of its elements could
        have. Where such sites reach from an element over its end into another, its bin gets a copy of its own bases.
        """
        count = bin_count(lengths, self.width)
        origin = bin_origin(lengths, self.width)
        before = origin + self._reach
        span = count * self.width + 2 * self._reach
        place = np.cumsum(span) - span + before if place is None else place
        bases = np.full(int(span.sum()), UNKNOWN, dtype=np.uint8)
        starts, stretch = np.empty_like(lengths), np.empty_like(lengths)
        begins: list[int] = []
        ends: list[int] = []
        shift = low = high = 0
        for i in np.argsort(place, kind="stable").tolist():
            codes = np.minimum(elements[i], UNKNOWN)
            start = int(place[i]) + shift
            joins = low <= start - before[i] < high
            if joins:
                known = bases[start : min(ends[-1], start + len(codes))]
                joins = np.array_equal(known, codes[: len(known)])
            if not joins:
                start, low = high + int(before[i]), high
                shift = start - int(place[i])
                begins.append(start)
                ends.append(start)
            bases[start : start + len(codes)] = codes
            starts[i], stretch[i] = start, len(begins) - 1
            ends[-1] = max(ends[-1], start + len(codes))
            high = max(high, start - int(before[i]) + int(span[i]))
        number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        centre = np.repeat(starts - origin, count) + number * self.width
        left, size = centre - self._reach, self.width + 2 * self._reach
        first, stop, known_first, known_stop = (
            np.repeat(x, count) for x in (starts, starts + lengths, np.array(begins)[stretch], np.array(ends)[stretch])
        )
        crossing = ((left < first) & (known_first < first)) | ((left + size > stop) & (known_stop > stop))
        own = left[crossing, None] + np.arange(size)
        inside = (own >= first[crossing, None]) & (own < stop[crossing, None])
        copies = np.where(inside, bases[own], np.uint8(UNKNOWN))
        centre[crossing] = high + self._reach + np.arange(len(copies)) * size
        bases = np.concatenate([bases[:high], copies.ravel(), np.full(WORD - 1, UNKNOWN, dtype=np.uint8)])
        halved = lacking_bases(lengths, self.width) % 2 == 1
        return _Sequence(_word_numbers(bases), centre, np.repeat(halved, count))

    def _parts(self, centre: np.ndarray) -> list[list[np.ndarray]]:
        """Divide bins into tiles, those whose positions are scored together, and tiles into blocks."""
        number = centre // TILE
        order = np.argsort(number, kind="stable")
        tiles = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
        size = max(1, self._block // TILE)
        return [tiles[i : i + size] for i in range(0, len(tiles), size)]

    def _best(self, joined: _Sequence, tiles: list[np.ndarray]) -> torch.Tensor:
        """Return the best score of every column in the bins of some tiles, shape (n_bins, 2 * n_motifs).

        The ``width + 1`` positions from one edge to the next, both included, hold all centres of a bin. A
        site of even length is centred between two bases and named by the right one, a site of odd length by
        the base in its middle. So where edges lie between bases, the last position belongs to the next bin
        for sites of odd length; where they lie within bases, the first to the bin before for those of even.
        All other positions count for all columns, and so does either edge for the columns that it is not the edge of:
        the last may be counted for all even lengths, the first for all odd ones.
        """
        lines = [_Line.of(joined, tile, self.width) for tile in tiles]
        found = []
        for group in self._groups:  # its table stays in the cache for all the tiles
            inner, edges = zip(*(line.score(group, joined.words, self.width) for line in lines), strict=True)
            best, (first, last) = torch.cat([run for runs in inner for run in runs]), torch.cat(edges, dim=1)
            for edge, columns in ((last, slice(group.even)), (first, slice(group.even, None))):
                torch.maximum(best[:, columns], edge[:, columns], out=best[:, columns])
            found.append(best)
        return torch.cat(found, dim=1).clamp_(min=FLOOR).to(self._dtype).index_select(1, self._columns)


def _word_numbers(bases: np.ndarray) -> torch.Tensor:
    """Number the word that begins at each base but the last ones, int32."""
    size = len(bases) - WORD + 1
    words = bases[:size].astype(np.int32)
    for k in range(1, WORD):
        words *= LETTERS
        words += bases[k : k + size]
    return torch.from_numpy(words)


def _groups(bank: MotifBank) -> tuple[tuple[_Group, ...], torch.Tensor]:
    """Gather motifs by word count and tabulate what each word adds to their scores.

    A motif is placed with its centre on the middle of the words; the bases beyond it add nothing. A group is
    filled up to whole vectors with motifs of fewer words, as columns of nothing would cost the same.
    Returns the groups and where among their columns those of the tokens (strand, then motif) are.
    """
    odd = bank.lengths % 2
    words = -(-(bank.lengths + odd) // WORD)
    left = np.argsort(-words, kind="stable")
    groups: list[_Group] = []
    order: list[int] = []
    while len(left):
        n_words = int(words[left[0]])
        size = -(-int((words[left] == n_words).sum()) // FILL) * FILL
        motifs, left = left[:size], left[size:]
        motifs = motifs[np.argsort(odd[motifs], kind="stable")]
        bits = np.zeros((n_words * WORD, LETTERS, size, 2), dtype=np.float32)
        for column, motif in enumerate(motifs):
            log_odds = bank.log_odds(int(motif))
            first = n_words * WORD // 2 - len(log_odds) // 2
            inside = slice(first, first + len(log_odds))
            bits[inside, :UNKNOWN, column, 0] = log_odds
            bits[inside, :UNKNOWN, column, 1] = log_odds[::-1, ::-1]
            bits[inside, UNKNOWN, column] = UNKNOWN_BITS
        even = 2 * int((odd[motifs] == 0).sum())
        groups.append(_Group(n_words, even, torch.from_numpy(_word_table(bits, n_words))))
        order.extend(int(motif) + strand * len(bank) for motif in motifs for strand in (0, 1))
    return tuple(groups), torch.from_numpy(np.argsort(order))


def _word_table(bits: np.ndarray, n_words: int) -> np.ndarray:
    """Sum scores of bases into scores of words: (bases, 5, 2, n) to (n_words * 625, 2 * n)."""
    parts = bits.reshape(n_words, WORD, LETTERS, -1)
    table = parts[:, 0]
    for k in range(1, WORD):
        table = table[:, :, None, :] + parts[:, k, None, :, :]
        table = table.reshape(n_words, -1, table.shape[-1])
    return np.ascontiguousarray(table.reshape(n_words * WORDS, -1))
