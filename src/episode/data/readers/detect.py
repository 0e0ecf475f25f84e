"""Which format a path is in, by its name and its first line."""

from __future__ import annotations

import re
from pathlib import Path

from episode.data.readers.text import first_line, is_number

__all__ = ["FORMATS", "detect_format"]

FORMATS = ("tidy", "domain-kl", "bengi", "bedpe")

_PAIRS_FILE = re.compile(r"pairs_hg(19|38)\.csv(\.gz)?")


def detect_format(path: Path) -> str:
    """Return the format of a path, one of `FORMATS`.

    A folder, or a file named ``pairs_hg19.csv`` or ``pairs_hg38.csv``, is domain-kl; ``*.parquet`` is tidy;
    ``*.bedpe[.gz]``, a header that starts with ``#chrom1``, and rows with numbers in columns 2, 3, 5 and 6
    are BEDPE; ten tab-separated columns with numbers in 1, 2, 4, 5, 8 and 9 are BENGI; everything else is
    tidy.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if path.is_dir() or _PAIRS_FILE.fullmatch(path.name):
        return "domain-kl"
    if path.name.endswith((".parquet", ".pq")):
        return "tidy"
    if path.name.endswith((".bedpe", ".bedpe.gz")):
        return "bedpe"
    line = first_line(path)
    cells = line.split("\t")
    if re.match(r"#\s*chr(om)?1\b", line):
        return "bedpe"
    if len(cells) == 10 and all(map(is_number, (cells[i] for i in (0, 1, 3, 4, 7, 8)))):
        return "bengi"
    if len(cells) >= 6 and all(map(is_number, (cells[i] for i in (1, 2, 4, 5)))):
        return "bedpe"
    return "tidy"
