"""Scanning: DNA to the best score of every motif on either strand in every bin.

The layout of bins, the score of a site and the exact symmetry under reverse complement are told in
``docs/stem.md``. This module does NOT know where sequences come from nor where tokens are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from episode.encode.motifs import MotifBank

__all__ = ["CODE_VERSION", "FLOOR", "Scanner", "bin_count", "scan", "scan_many"]

CODE_VERSION = 1
"""Raised whenever the same sequences and bank give other tokens than before."""
FLOOR = -32.0
"""Bits; the score of a bin without a complete site of known bases, and the least score of any bin."""

UNKNOWN = 4
LETTERS = 5
WORD = 4
WORDS = LETTERS**WORD
UNKNOWN_BITS = -1024.0
BLOCK = 1 << 19


def bin_count(length: int | np.ndarray, width: int) -> int | np.ndarray:
    """Return the number of bins of an element: its length over the bin width, rounded up."""
    return -(-length // width)


def scan(codes: np.ndarray, bank: MotifBank, width: int) -> np.ndarray:
    """Scan one element.

    Parameters
    ----------
    codes : np.ndarray, shape (length,), uint8
        A=0, C=1, G=2, T=3, anything else 4.
    bank : MotifBank
    width : int
        Base pairs of a bin.

    Returns
    -------
    np.ndarray, shape (n_bins, 2, n_motifs), float16
        Best log-odds score in bits among the sites whose centre lies in the bin, on the forward (0) and the
        reverse strand (1); `FLOOR` where there is none, or none as good.
    """
    return scan_many([codes], bank, width)


def scan_many(elements: Sequence[np.ndarray], bank: MotifBank, width: int) -> np.ndarray:
    """Scan several elements; the same as joining what `scan` gives for each.

    Parameters
    ----------
    elements : sequence of np.ndarray, each shape (length,), uint8
        Codes as for `scan`; lengths may differ.
    bank : MotifBank
    width : int
        Base pairs of a bin.

    Returns
    -------
    np.ndarray, shape (total_bins, 2, n_motifs), float16
        The bins of the first element, then those of the second, and so on.
    """
    return Scanner(bank, width)(elements)


@dataclass(frozen=True)
class _Group:
    """Motifs scanned together: as many words long, and of the same parity of length."""

    words: int
    odd: bool
    motifs: np.ndarray
    table: torch.Tensor


class Scanner:
    """A bank made ready for scanning; build it once when many batches are scanned.

    A site is cut into words of four letters, and what a word adds to the scores of all motifs is looked up in
    a table: a quarter of the additions of a matrix product with one-hot DNA, and no multiplication.

    Parameters
    ----------
    bank : MotifBank
    width : int
        Base pairs of a bin, at least 1.
    block : int, optional
        Scores held at a time; bounds the working memory, does not change the result.

    Raises
    ------
    ValueError
        If `width` or `block` is not positive.
    """

    def __init__(self, bank: MotifBank, width: int, block: int = BLOCK) -> None:
        if width < 1:
            raise ValueError(f"a bin of at least 1 base pair is needed, not {width}")
        if block < 1:
            raise ValueError(f"a block of at least 1 score is needed, not {block}")
        self.width = width
        self._block = block
        self._n_motifs = len(bank)
        self._groups = tuple(_groups(bank))
        self._margin = max(group.words for group in self._groups) * WORD

    def __call__(self, elements: Sequence[np.ndarray]) -> np.ndarray:
        """Scan elements; see `scan_many`."""
        lengths = np.array([len(codes) for codes in elements], dtype=np.int64)
        total = int(bin_count(lengths, self.width).sum())
        tokens = torch.full((total, 2, self._n_motifs), FLOOR, dtype=torch.float16)
        if total == 0:
            return tokens.numpy()
        words, starts = self._words(elements, lengths)
        first, last, centre = self._layout(lengths, starts)
        for group in self._groups:
            self._scan_group(group, words, first, last, centre, tokens)
        return tokens.numpy()

    def _words(self, elements: Sequence[np.ndarray], lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Join elements with unknown bases around each; number the word at each position.

        Returns the word numbers and the position of the first base of each element.
        """
        margin = self._margin
        starts = margin + np.concatenate([[0], np.cumsum(lengths + margin)[:-1]])
        letters = np.full(int(starts[-1] + lengths[-1]) + margin + WORD, UNKNOWN, dtype=np.int32)
        for start, codes in zip(starts, elements, strict=True):
            letters[start : start + len(codes)] = np.minimum(codes, UNKNOWN)
        words = np.zeros(len(letters) - WORD + 1, dtype=np.int32)
        for k in range(WORD):
            words = words * LETTERS + letters[k : len(letters) - WORD + 1 + k]
        return words, starts

    def _layout(self, lengths: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return, for every bin, twice its left edge and the element's first and last base.

        Bins have the same width and are laid symmetrically about the middle of the element, so that the first
        and the last stand out by half of what is lacking.
        """
        bins = bin_count(lengths, self.width)
        number = np.arange(int(bins.sum())) - np.repeat(np.cumsum(bins) - bins, bins)
        lacking = np.repeat(bins * self.width - lengths, bins)
        start = np.repeat(starts, bins)
        edge = 2 * (start + number * self.width) - lacking
        return start, start + np.repeat(lengths, bins), edge

    def _scan_group(
        self,
        group: _Group,
        words: np.ndarray,
        first: np.ndarray,
        end: np.ndarray,
        edge: np.ndarray,
        tokens: torch.Tensor,
    ) -> None:
        """Write the best scores of one group of motifs into `tokens`."""
        columns = group.table.shape[1]
        step = max(1, self._block // (columns * (self.width + 1)))
        motifs = torch.from_numpy(group.motifs)
        offsets = np.arange(group.words, dtype=np.int64)
        for low in range(0, len(edge), step):
            high = min(low + step, len(edge))
            centre = _centres(edge[low:high], first[low:high], end[low:high], self.width, group.odd)
            begin = centre.reshape(-1, 1) - group.words * WORD // 2
            index = words[begin + WORD * offsets] + WORDS * offsets.astype(np.int32)
            scores = functional.embedding_bag(torch.from_numpy(index), group.table, mode="sum")
            best = scores.view(high - low, -1, columns).amax(dim=1).clamp_(min=FLOOR)
            tokens[low:high, :, motifs] = best.view(high - low, 2, -1).to(torch.float16)


def _centres(edge: np.ndarray, first: np.ndarray, end: np.ndarray, width: int, odd: bool) -> np.ndarray:
    """Return the centres of sites that belong to each bin, shape (n_bins, width + 1).

    A site of even length is centred between two bases and named by the right one, a site of odd length by the
    base in its middle. A centre on an edge belongs to the bins on both sides. Where a bin has fewer than
    ``width + 1`` centres one is named twice, and centres beyond the element are moved to its end.
    """
    shift = 1 if odd else 0
    lowest = -((shift - edge) // 2)
    highest = (edge + 2 * width - shift) // 2
    centre = np.minimum(lowest[:, None] + np.arange(width + 1), highest[:, None])
    return np.clip(centre, first[:, None], (end - shift)[:, None])


def _groups(bank: MotifBank) -> Iterator[_Group]:
    """Gather motifs by word count and parity, and tabulate what each word adds to their scores.

    A motif is laid so that its centre falls on the middle of the words; the letters beyond it add nothing.
    """
    odd = bank.lengths % 2 == 1
    words = -(-(bank.lengths + odd) // WORD)
    for n_words, parity in sorted(set(zip(words.tolist(), odd.tolist(), strict=True))):
        motifs = np.flatnonzero((words == n_words) & (odd == parity))
        bits = np.zeros((n_words * WORD, LETTERS, 2, len(motifs)), dtype=np.float32)
        for column, motif in enumerate(motifs):
            log_odds = bank.log_odds(int(motif))
            left = n_words * WORD // 2 - len(log_odds) // 2
            inside = slice(left, left + len(log_odds))
            bits[inside, :UNKNOWN, 0, column] = log_odds
            bits[inside, :UNKNOWN, 1, column] = log_odds[::-1, ::-1]
            bits[inside, UNKNOWN, :, column] = UNKNOWN_BITS
        yield _Group(n_words, bool(parity), motifs, torch.from_numpy(_word_table(bits, n_words)))


def _word_table(bits: np.ndarray, n_words: int) -> np.ndarray:
    """Sum scores of letters into scores of words: (letters, 5, 2, n) to (n_words * 625, 2 * n)."""
    parts = bits.reshape(n_words, WORD, LETTERS, -1)
    table = parts[:, 0]
    for k in range(1, WORD):
        table = table[:, :, None, :] + parts[:, k, None, :, :]
        table = table.reshape(n_words, -1, table.shape[-1])
    return np.ascontiguousarray(table.reshape(n_words * WORDS, -1))
