"""Files that people have beside pair tables: what they are, and which command or option takes them.

Looks at the first bytes or rows; knows nothing of the formats that are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

__all__ = ["foreign_bytes", "foreign_header", "foreign_rows", "is_number"]

_SHEET = "save the sheet as tab-separated text or CSV (UTF-8) and give that"
_MATRIX = "call loops in it first and give the list of loops as BEDPE"
_GENOME = "a genome is given by --genome; pairs are a table"
_PAIRS = "a table of pairs has two intervals in each row (see docs/formats.md)"

_MAGIC = (
    (rb"PK\x03\x04", f"is a ZIP file, as Excel's .xlsx is; {_SHEET}"),
    (rb"\xd0\xcf\x11\xe0", f"is an old Excel or Office file; {_SHEET}"),
    (rb"\xff\xfe|\xfe\xff", "is UTF-16, as Excel's Unicode text is; save it as UTF-8"),
    (rb"PAR1\x15", "is Parquet, which is read as a tidy table from files named *.parquet or *.pq; rename it"),
    (rb"ARROW1\x00", "is an Arrow (Feather) file; save it as Parquet"),
    (rb"\x1f\x8b", "is gzip in gzip; unpack it once"),
    (rb"BZh[1-9]1AY&SY", "is compressed by bzip2; unpack it, or compress it by gzip"),
    (rb"\xfd7zXZ\x00", "is compressed by xz; unpack it, or compress it by gzip"),
    (rb"\x28\xb5\x2f\xfd", "is compressed by zstd; unpack it, or compress it by gzip"),
    (rb"BAM\x01|CRAM[\x02\x03]", f"holds aligned reads (BAM or CRAM), not pairs; {_PAIRS}"),
    (rb"BCF\x02", f"is BCF (variants), not pairs; {_PAIRS}"),
    (rb"\x89HDF", f"is HDF5, as .cool and .mcool are, not a table of pairs; {_MATRIX}"),
    (rb"HIC\x00", f"is a .hic contact matrix; {_MATRIX}"),
    (rb"\x43\x27\x41\x1a|\x1a\x41\x27\x43", f"is a 2bit genome; {_GENOME}"),
    (rb"\x26\xfc\x8f\x88|\x88\x8f\xfc\x26", f"is bigWig (signal along the genome), not pairs; {_PAIRS}"),
    (rb"\xeb\xf2\x89\x87|\x87\x89\xf2\xeb", f"is bigBed (intervals), not pairs; {_PAIRS}"),
    (rb"\x93NUMPY", "is a NumPy array; save the table as Parquet or tab-separated text"),
    (rb"SQLite format 3", "is an SQLite database; save the table as tab-separated text"),
    (rb"%PDF", "is a PDF; save the table as tab-separated text"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a", "is an image; needs a table"),
    (rb"(?i)\s*<(!doctype|html|head|body)", "is a web page (HTML), perhaps an error page in place of a download"),
    (rb"\s*<\?xml", "is XML; save the table as tab-separated text"),
    (rb"\s*(\{|\[)\s*(\"|\{|\[|\}|\])", "is JSON; save the table as tab-separated text or Parquet"),
    (rb"version https://git-lfs", "is a pointer of Git LFS, not the file itself; run 'git lfs pull' there"),
    (rb"\s*>", f"is FASTA (sequences), not pairs; {_GENOME}"),
    (rb"@[^\n]*\n[A-Za-z]+\r?\n\+", f"is FASTQ (reads), not pairs; {_PAIRS}"),
    (rb"@(HD|SQ|RG|PG|CO)\t", f"is SAM (aligned reads), not pairs; {_PAIRS}"),
    (rb"##fileformat=VCF|#CHROM\tPOS\tID\t", f"is VCF (variants), not pairs; {_PAIRS}"),
    (rb"##gff-version|##gtf", f"is GFF (gene annotation), not pairs; {_PAIRS}"),
    (rb"## pairs format", f"holds Hi-C contacts of single reads (4DN pairs), not pairs of elements; {_MATRIX}"),
    (rb"((track|browser)[^\n]*\n)*(fixed|variable)Step\b", f"is wiggle (signal along the genome), not pairs; {_PAIRS}"),
)

_Cells = Sequence[str]


def foreign_bytes(data: bytes) -> str | None:
    """Say what a file is that cannot be a table of pairs, by its first bytes; None if it may be one."""
    head = data[:4096].removeprefix(b"\xef\xbb\xbf")
    return next((need for magic, need in _MAGIC if re.match(magic, head)), None)


def is_number(text: str) -> bool:
    """Tell whether text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(cells: _Cells, *places: int) -> bool:
    return all(is_number(cells[place]) for place in places)


def _strand(cells: _Cells, place: int) -> bool:
    return cells[place] in ("+", "-", ".", "?")


def _is_gene(cells: _Cells) -> bool:
    return len(cells) in (8, 9) and _numbers(cells, 3, 4) and _strand(cells, 6)


def _is_interval(cells: _Cells) -> bool:
    return len(cells) >= 3 and _numbers(cells, 1, 2)


_ROWS: tuple[tuple[Callable[[_Cells], bool], str], ...] = (
    (lambda cells: _is_gene(cells) and '"' in cells[-1], "GTF (gene annotation)"),
    (_is_gene, "GFF (gene annotation)"),
    (
        lambda cells: (
            len(cells) >= 8
            and is_number(cells[1])
            and not is_number(cells[2])
            and re.fullmatch("[ACGTN]+", cells[3]) is not None
        ),
        "VCF (variants)",
    ),
    (lambda cells: len(cells) == 18 and _numbers(cells, 1, 2, 9, 10, 14, 15), "UCSC interact without its header line"),
    (
        lambda cells: _is_interval(cells) and len(cells) > 3 and re.match(r"\S+:\d+-\d+,", cells[3]) is not None,
        "WashU longrange",
    ),
    (
        lambda cells: len(cells) == 10 and _is_interval(cells) and _strand(cells, 5) and _numbers(cells, 4, 6, 7, 8, 9),
        "narrowPeak",
    ),
    (
        lambda cells: len(cells) == 9 and _is_interval(cells) and _strand(cells, 5) and _numbers(cells, 4, 6, 7, 8),
        "broadPeak",
    ),
    (lambda cells: len(cells) == 4 and _is_interval(cells) and is_number(cells[3]), "bedGraph"),
    (_is_interval, "BED"),
)


def foreign_rows(rows: Sequence[_Cells]) -> str | None:
    """Say what rows without a header are, by most of them; None if that is not known."""
    for test, what in _ROWS:
        if 2 * sum(map(test, rows)) > len(rows):
            if what.startswith("UCSC"):
                return f"is {what}; give the interact file as it was written, or the pairs as BEDPE"
            one = "" if what.startswith("WashU") else ": one interval in a row"
            return f"looks like {what}{one}, not pairs of an enhancer and a promoter; {_PAIRS}"
    return None


_TABLES: tuple[tuple[str, Mapping[str, str], str], ...] = (
    (
        "UCSC interact",
        {
            f"{side}_{part}": f"{role}{part.capitalize()}"
            for side, role in (("enhancer", "source"), ("promoter", "target"))
            for part in ("chrom", "start", "end")
        },
        "",
    ),
    (
        "a CRISPR benchmark of ENCODE",
        {
            "enhancer_chrom": "chrom",
            "enhancer_start": "chromStart",
            "enhancer_end": "chromEnd",
            "promoter_chrom": "chrTSS",
            "promoter_start": "startTSS",
            "promoter_end": "endTSS",
        },
        "",
    ),
    (
        "predictions of the ABC model",
        {
            "enhancer_chrom": "chr",
            "enhancer_start": "start",
            "enhancer_end": "end",
            "promoter_chrom": "chr",
            "promoter_start": "TargetGeneTSS",
            "promoter_end": "TargetGeneTSS",
        },
        " --promoter-flank 500, as TargetGeneTSS is a point",
    ),
)
"""What writes a table, the columns that are needed of it, and what else is to be given."""


def foreign_header(names: AbstractSet[str]) -> str | None:
    """Say which tool's table has such columns, and how to have them read; None if that is not known."""
    for what, columns, more in _TABLES:
        if names >= set(columns.values()):
            columns = {**columns, "cell_line": "CellType"} if "CellType" in names else columns
            options = " ".join(f"--column {name}={other}" for name, other in columns.items())
            return f"looks like {what}: give {options}{more}"
    return None
