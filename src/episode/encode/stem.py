"""Scanning: DNA to the best score of every motif on either strand in every bin.

The layout of bins, the score of a site and the exact symmetry under reverse complement are told in
``docs/stem.md``. This module does NOT know where sequences come from nor where tokens are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
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
BLOCK = 1 << 13
WORTH_THREADS = 16


def bin_count(lengths: np.ndarray, bin: int) -> np.ndarray:
    """Return the number of bins of elements: their lengths over the bin width, rounded up."""
    return -(-lengths // bin)


def scan(codes: np.ndarray, bank: MotifBank, bin: int) -> np.ndarray:
    """Scan one element.

    Parameters
    ----------
    codes : np.ndarray, shape (length,), uint8
        A=0, C=1, G=2, T=3, anything else 4.
    bank : MotifBank
    bin : int
        Base pairs of a bin.

    Returns
    -------
    np.ndarray, shape (n_bins, 2, n_motifs), float16
        Best log-odds score in bits among the sites whose centre lies in the bin, on the forward (0) and the
        reverse strand (1); `FLOOR` where there is none, or none as good.
    """
    return scan_many([codes], bank, bin)


def scan_many(elements: Sequence[np.ndarray], bank: MotifBank, bin: int) -> np.ndarray:
    """Scan several elements; the same as joining what `scan` gives for each.

    Parameters
    ----------
    elements : sequence of np.ndarray, each shape (length,), uint8
        Codes as for `scan`; lengths may differ.
    bank : MotifBank
    bin : int
        Base pairs of a bin.

    Returns
    -------
    np.ndarray, shape (total_bins, 2, n_motifs), float16
        The bins of the first element, then those of the second, and so on.
    """
    return Scanner(bank, bin)(elements)


@dataclass(frozen=True)
class _Group:
    """Motifs scanned together, because their sites are as many words long."""

    words: int
    odd: torch.Tensor
    table: torch.Tensor


@dataclass(frozen=True)
class _Bins:
    """All bins of a batch of elements.

    `centre` is the position of the first site centre of each bin among the joined letters; `halved` tells
    whether the left edge of a bin lies in the middle of a base.
    """

    centre: np.ndarray
    halved: torch.Tensor


class Scanner:
    """A bank made ready for scanning; build it once when many batches are scanned.

    A site is cut into words of four letters, and what a word adds to the scores of all motifs is looked up in
    a table: a quarter of the additions of a matrix product with one-hot DNA, and no multiplication.

    Parameters
    ----------
    bank : MotifBank
    bin : int
        Base pairs of a bin, at least 1.
    block : int, optional
        Positions scored at a time; bounds the working memory, does not change the result.

    Raises
    ------
    ValueError
        If `bin` or `block` is not positive, or the bank is empty.
    """

    def __init__(self, bank: MotifBank, bin: int, block: int = BLOCK) -> None:
        if bin < 1:
            raise ValueError(f"a bin of at least 1 base pair is needed, not {bin}")
        if block < 1:
            raise ValueError(f"a block of at least 1 position is needed, not {block}")
        if not len(bank):
            raise ValueError("a motif bank of at least one matrix is needed")
        self.width = bin
        self._block = max(1, block // (bin + 1))
        self._n_motifs = len(bank)
        self._groups, self._columns = _groups(bank)
        self._window = max(group.words for group in self._groups) * WORD

    def __call__(self, elements: Sequence[np.ndarray]) -> np.ndarray:
        """Scan elements; see `scan_many`."""
        lengths = np.array([len(codes) for codes in elements], dtype=np.int64)
        total = int(bin_count(lengths, self.width).sum())
        tokens = torch.empty((total, 2 * self._n_motifs), dtype=torch.float16)
        if total > 0:
            words, starts = self._words(elements, lengths)
            bins = self._bins(lengths, starts)

            def scan_part(low: int) -> None:
                part = slice(low, min(low + self._block, total))
                tokens[part] = self._best(words, bins.centre[part], bins.halved[part])

            _for_each(scan_part, range(0, total, self._block))
        return tokens.view(total, 2, self._n_motifs).numpy()

    def _words(self, elements: Sequence[np.ndarray], lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Join elements and number the word that begins at each position.

        The unknown letters between elements are so many that no window about a centre in or just beyond an
        element reaches a complete site of another. Returns the numbers and the start of each element.
        """
        margin = self.width + self._window
        starts = margin + np.concatenate([[0], np.cumsum(lengths + margin)[:-1]])
        letters = np.full(int(starts[-1] + lengths[-1]) + margin + WORD, UNKNOWN, dtype=np.int32)
        for start, codes in zip(starts, elements, strict=True):
            letters[start : start + len(codes)] = np.minimum(codes, UNKNOWN)
        words = np.zeros(len(letters) - WORD + 1, dtype=np.int32)
        for k in range(WORD):
            words = words * LETTERS + letters[k : len(letters) - WORD + 1 + k]
        return words, starts

    def _bins(self, lengths: np.ndarray, starts: np.ndarray) -> _Bins:
        """Lay bins of equal width symmetrically about the middle of each element."""
        count = bin_count(lengths, self.width)
        number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        lacking = np.repeat(count * self.width - lengths, count)
        centre = np.repeat(starts, count) + number * self.width - (lacking + 1) // 2
        return _Bins(centre, torch.from_numpy(lacking % 2 == 1))

    def _best(self, words: np.ndarray, centre: np.ndarray, halved: torch.Tensor) -> torch.Tensor:
        """Return the best score of every column in some bins, shape (n_bins, 2 * n_motifs), float16.

        The ``width + 1`` positions from one edge to the next, both included, hold all centres of a bin. A
        site of even length is centred between two bases and named by the right one, a site of odd length by
        the base in its middle. So where edges lie between bases, the last position belongs to the next bin
        for sites of odd length; where they lie within bases, the first to the bin before for those of even.
        """
        n_bins = len(centre)
        rows = sliding_window_view(words, self.width + self._window)[centre - self._window // 2]
        best = []
        for group in self._groups:
            begin = (self._window - group.words * WORD) // 2
            index = np.empty((n_bins, self.width + 1, group.words), dtype=np.int32)
            for k in range(group.words):
                at = begin + k * WORD
                np.add(rows[:, at : at + self.width + 1], k * WORDS, out=index[:, :, k])
            bags = torch.from_numpy(index.reshape(-1, group.words))
            scores = functional.embedding_bag(bags, group.table, mode="sum").view(n_bins, self.width + 1, -1)
            scores[:, 0].masked_fill_(halved[:, None] & ~group.odd, FLOOR)
            scores[:, -1].masked_fill_(~halved[:, None] & group.odd, FLOOR)
            best.append(scores.amax(dim=1))
        return torch.cat(best, dim=1)[:, self._columns].clamp_(min=FLOOR).to(torch.float16)


def _for_each(work: Callable[[int], None], items: Sequence[int]) -> None:
    """Run independent work in as many threads as torch would use here.

    Whole blocks are shared out instead of single operations: operations of this size spend much of their time
    waiting for each other, most of all on a busy machine. The limit on threads holds in the workers only.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(items) < WORTH_THREADS:
        for item in items:
            work(item)
        return
    controller = ThreadpoolController()

    def start() -> None:
        torch.get_num_threads()  # torch sets the number on first use in a thread; limited only after that
        controller.limit(limits=1, user_api="openmp")

    with ThreadPoolExecutor(threads, initializer=start) as pool:
        for _ in pool.map(work, items):
            pass  # raises what a worker raised


def _groups(bank: MotifBank) -> tuple[tuple[_Group, ...], torch.Tensor]:
    """Gather motifs by word count and tabulate what each word adds to their scores.

    A motif is laid so that its centre falls on the middle of the words; the letters beyond it add nothing.
    Returns the groups and where among their columns those of the tokens (strand, then motif) are.
    """
    odd = bank.lengths % 2
    words = -(-(bank.lengths + odd) // WORD)
    groups, order = [], []
    for n_words in np.unique(words):
        motifs = np.flatnonzero(words == n_words)
        bits = np.zeros((n_words * WORD, LETTERS, 2, len(motifs)), dtype=np.float32)
        for column, motif in enumerate(motifs):
            log_odds = bank.log_odds(int(motif))
            left = n_words * WORD // 2 - len(log_odds) // 2
            inside = slice(left, left + len(log_odds))
            bits[inside, :UNKNOWN, 0, column] = log_odds
            bits[inside, :UNKNOWN, 1, column] = log_odds[::-1, ::-1]
            bits[inside, UNKNOWN, :, column] = UNKNOWN_BITS
        parity = torch.from_numpy(np.tile(odd[motifs] == 1, 2))
        groups.append(_Group(int(n_words), parity, torch.from_numpy(_word_table(bits, n_words))))
        order.extend([motifs, motifs + len(bank)])
    return tuple(groups), torch.from_numpy(np.argsort(np.concatenate(order)))


def _word_table(bits: np.ndarray, n_words: int) -> np.ndarray:
    """Sum scores of letters into scores of words: (letters, 5, 2, n) to (n_words * 625, 2 * n)."""
    parts = bits.reshape(n_words, WORD, LETTERS, -1)
    table = parts[:, 0]
    for k in range(1, WORD):
        table = table[:, :, None, :] + parts[:, k, None, :, :]
        table = table.reshape(n_words, -1, table.shape[-1])
    return np.ascontiguousarray(table.reshape(n_words * WORDS, -1))
