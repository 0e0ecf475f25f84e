"""Scanning: DNA to the best score of every motif on either strand in every bin.

The layout of bins, the score of a site and the exact symmetry under reverse complement are told in
``docs/stem.md``. This module does NOT know where sequences come from nor where tokens are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

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
BLOCK = 1 << 15
TILE = 2560
"""Positions whose scores are held at a time: few enough to stay in the cache until their maximum is taken."""
WORTH_THREADS = 4
DTYPES = {np.dtype(np.float16): torch.float16, np.dtype(np.float32): torch.float32}
FILL = 16
"""Motifs whose columns, two of each, fill whole vectors: what is left of one is slow to take the maximum of."""


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
    """Motifs scanned together, because their sites fit into as many words; columns of even length come first."""

    words: int
    even: int
    table: torch.Tensor

    @property
    def place(self) -> torch.Tensor:
        """Row of the table at which each word of a site begins, shape (words,), int32."""
        return torch.arange(0, self.words * WORDS, WORDS, dtype=torch.int32)

    def score(self, sites: torch.Tensor) -> torch.Tensor:
        """Sum rows of the table, shape (..., words), int32, to scores (..., columns)."""
        ends = torch.arange(0, sites.numel() + 1, self.words, dtype=torch.int32)
        scores: torch.Tensor = torch.embedding_bag(self.table, sites.flatten(), ends, include_last_offset=True)[0]
        return scores.view(*sites.shape[:-1], -1)


@dataclass(frozen=True)
class _Bins:
    """All bins of a batch of elements.

    `centre` is the position of the first site centre of each bin among the joined letters; `halved` tells
    whether the left edge of a bin lies in the middle of a base.
    """

    centre: np.ndarray
    halved: np.ndarray


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
        Positions prepared at a time; bounds the working memory, does not change the result.
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
        self._block = max(1, block // (bin + 1))
        self._n_motifs = len(bank)
        self._groups, self._columns = _groups(bank)
        self._window = max(group.words for group in self._groups) * WORD

    def __call__(self, elements: Sequence[np.ndarray]) -> np.ndarray:
        """Scan elements; see `scan_many`."""
        lengths = np.array([len(codes) for codes in elements], dtype=np.int64)
        total = int(bin_count(lengths, self.width).sum())
        tokens = torch.empty((total, 2 * self._n_motifs), dtype=self._dtype)
        if total > 0:
            words, starts = self._words(elements, lengths)
            bins = self._bins(lengths, starts)

            def scan_part(part: np.ndarray) -> None:
                tokens[torch.from_numpy(part)] = self._best(words, bins.centre[part], halved=bool(bins.halved[part[0]]))

            _for_each(scan_part, list(self._parts(bins.halved)))
        return tokens.view(total, 2, self._n_motifs).numpy()

    def _parts(self, halved: np.ndarray) -> Iterator[np.ndarray]:
        """Divide bins into blocks of which all have edges of one kind."""
        for kind in (False, True):
            alike = np.flatnonzero(halved == kind)
            for low in range(0, len(alike), self._block):
                yield alike[low : low + self._block]

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
        words = letters[: len(letters) - WORD + 1].copy()
        for k in range(1, WORD):
            words *= LETTERS
            words += letters[k : len(letters) - WORD + 1 + k]
        return words, starts

    def _bins(self, lengths: np.ndarray, starts: np.ndarray) -> _Bins:
        """Lay bins of equal width symmetrically about the middle of each element."""
        count = bin_count(lengths, self.width)
        number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        lacking = np.repeat(count * self.width - lengths, count)
        centre = np.repeat(starts, count) + number * self.width - (lacking + 1) // 2
        return _Bins(centre, lacking % 2 == 1)

    def _best(self, words: np.ndarray, centre: np.ndarray, *, halved: bool) -> torch.Tensor:
        """Return the best score of every column in some bins, shape (n_bins, 2 * n_motifs).

        The ``width + 1`` positions from one edge to the next, both included, hold all centres of a bin. A
        site of even length is centred between two bases and named by the right one, a site of odd length by
        the base in its middle. So where edges lie between bases, the last position belongs to the next bin
        for sites of odd length; where they lie within bases, the first to the bin before for those of even.
        All other positions count for all columns.
        """
        near = sliding_window_view(words, self.width + self._window)[centre - self._window // 2]
        inner, edge = (slice(1, None), 0) if halved else (slice(-1), -1)
        found = []
        for group in self._groups:
            begin, reach = (self._window - group.words * WORD) // 2, (group.words - 1) * WORD + 1
            sites = torch.from_numpy(near)[:, begin : begin + self.width + reach].unfold(1, reach, 1)[:, :, ::WORD]
            tiles = (sites[:, inner] + group.place).split(max(1, TILE // self.width))
            best = torch.cat([group.score(tile).amax(dim=1) for tile in tiles])
            reaching = slice(group.even, None) if halved else slice(group.even)
            best[:, reaching] = best[:, reaching].maximum(group.score(sites[:, edge] + group.place)[:, reaching])
            found.append(best)
        return torch.cat(found, dim=1).clamp_(min=FLOOR).to(self._dtype).index_select(1, self._columns)


def _for_each(work: Callable[[np.ndarray], None], items: Sequence[np.ndarray]) -> None:
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

    A motif is laid so that its centre falls on the middle of the words; the letters beyond it add nothing. A group is
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
    """Sum scores of letters into scores of words: (letters, 5, 2, n) to (n_words * 625, 2 * n)."""
    parts = bits.reshape(n_words, WORD, LETTERS, -1)
    table = parts[:, 0]
    for k in range(1, WORD):
        table = table[:, :, None, :] + parts[:, k, None, :, :]
        table = table.reshape(n_words, -1, table.shape[-1])
    return np.ascontiguousarray(table.reshape(n_words * WORDS, -1))
