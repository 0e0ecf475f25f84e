"""Lines of text sorted by their place on the genome, in memory that does not grow with their number.

Each block of lines is sorted and laid aside in one file, to be mapped again. In the end the genome is cut so that about
`LINES` lines begin in each stretch, and one stretch after the other is merged. Does not know what the lines say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from episode.limits import POSITION

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LINES", "SortedLines"]

LINES = 1 << 18
"""About how many lines are merged at a time."""
SAMPLE = 256
"""Of each block every line of this number decides where the genome is cut."""
POSITION_BITS = POSITION.bit_length() - 1
"""A start is less than `POSITION`, as ends are at most that."""


class SortedLines:
    """Takes blocks of lines in any order; gives them back by chromosome (in the order of bytes), then start.

    Lines of one place keep the order in which they came.

    Parameters
    ----------
    path : Path
        File for what is laid aside, of the size of the lines; the caller removes it.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._path = path
        self._schema = pa.schema({"chrom": pa.int32(), "start": pa.int64(), "line": pa.large_string()})
        self._blocks = pa.ipc.new_file(str(path), self._schema)
        self._chroms: dict[str, int] = {}

    def add(self, chrom: pd.Series, start: np.ndarray, lines: pa.LargeStringArray) -> None:
        """Take a block of n lines.

        Parameters
        ----------
        chrom : Series of str, n rows
        start : ndarray, shape (n,), int64
            Where each begins.
        """
        import pyarrow as pa

        codes, names = pd.factorize(chrom, sort=True)
        numbers = np.array([self._chroms.setdefault(str(name), len(self._chroms)) for name in names], dtype=np.int32)
        order = np.lexsort((start, codes))
        columns = [pa.array(numbers[codes[order]]), pa.array(start[order]), lines.take(pa.array(order))]
        self._blocks.write_batch(pa.record_batch(columns, schema=self._schema))

    def merged(self) -> Iterator[pa.LargeStringArray]:
        """Yield all lines, sorted, in stretches."""
        import pyarrow as pa

        self._blocks.close()
        rank = np.argsort(np.argsort(np.array(list(self._chroms), dtype=np.str_)))
        with pa.memory_map(str(self._path)) as mapped, pa.ipc.open_file(mapped) as opened:
            blocks = [opened.get_batch(number) for number in range(opened.num_record_batches)]
            places = [np.zeros(0, dtype=np.int64), *(_places(block, rank)[::SAMPLE] for block in blocks)]
            cuts = np.sort(np.concatenate(places))[LINES // SAMPLE :: LINES // SAMPLE]
            bounds = [[0, *np.searchsorted(_places(block, rank), cuts), len(block)] for block in blocks]
            for stretch in range(len(cuts) + 1):
                parts = [
                    block.slice(first, last - first)
                    for block, (first, last) in (
                        (b, bound[stretch : stretch + 2]) for b, bound in zip(blocks, bounds, strict=True)
                    )
                    if first < last
                ]
                if parts:
                    order = np.argsort(np.concatenate([_places(part, rank) for part in parts]), kind="stable")
                    yield pa.concat_arrays([part.column("line") for part in parts]).take(pa.array(order))


def _places(block: pa.RecordBatch, rank: np.ndarray) -> np.ndarray:
    """One number a line, that is larger where the line lies further on."""
    chrom, start = block.column("chrom").to_numpy(), block.column("start").to_numpy()
    return (rank[chrom] << POSITION_BITS) | start
