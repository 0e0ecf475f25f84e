"""A tiny world of random DNA and random labels, and the plain writers of the tables that tell of it.

Independent of the readers and writers of the package, which are judged by it.
"""

from __future__ import annotations

import csv
import functools
import io
import random
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = [
    "COLUMNS",
    "LENGTHS",
    "ROWS",
    "Row",
    "bases",
    "bedpe",
    "bengi",
    "bgzf",
    "domain_kl",
    "enhancer",
    "fasta",
    "genome",
    "listed",
    "pair",
    "promoter",
    "reverse",
    "training_rows",
    "tsv",
    "twobit",
]

Row = Mapping[str, object]
LENGTHS = {"chr1": 120_000, "chr2": 60_000}
SIDES = ("enhancer", "promoter")
COLUMNS = ("cell_line", "label", *(f"{side}_{part}" for side in SIDES for part in ("chrom", "start", "end")))
TRAINING = {
    "stem.bin": "200",
    "stem.min_information": "16",
    "stem.max_similarity": "0.4",
    "episodes.query": "16",
    "episodes.support_max": "32",
    "episodes.support_min": "8",
    "training.steps": "2",
    "training.settle_steps": "1",
    "training.validate_every": "1",
    "training.tasks_per_step": "2",
}
"""Settings of a training run of a second."""


def listed(text: str) -> tuple[str, ...]:
    """Words of a text, for long lists."""
    return tuple(text.split())


@functools.cache
def genome() -> dict[str, str]:
    """Bases of each chromosome."""
    rng = random.Random(7)
    return {name: "".join(rng.choices("ACGT", k=length)) for name, length in LENGTHS.items()}


def bases(chrom: object, start: object, end: object) -> str:
    """Bases of an interval."""
    return genome()[str(chrom)][int(str(start)) : int(str(end))]


def reverse(sequence: str) -> str:
    """The other strand."""
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


def enhancer(i: int, chrom: str = "chr1") -> dict[str, object]:
    """An enhancer of 400 bp."""
    start = 1000 + 1900 * i
    return {"enhancer_chrom": chrom, "enhancer_start": start, "enhancer_end": start + 400}


def promoter(j: int, chrom: str = "chr1") -> dict[str, object]:
    """A promoter of 600 bp."""
    start = 2000 + 2700 * j
    return {"promoter_chrom": chrom, "promoter_start": start, "promoter_end": start + 600}


def pair(i: int, j: int, label: object = 1, cell_line: str = "K562", chrom: str = "chr1", **more: object) -> Row:
    """A row of a tidy table."""
    return {"cell_line": cell_line, "label": label, **enhancer(i, chrom), **promoter(j, chrom), **more}


ROWS: tuple[Row, ...] = (
    pair(1, 2, 1),
    pair(2, 1, 0),
    pair(3, 4, 0),
    pair(4, 3, "", "HepG2"),
    pair(5, 9, 1, "HepG2"),
    pair(0, 1, 0, "HepG2", "chr2"),
)
"""What the table cases tell in many forms."""


def training_rows() -> list[Row]:
    """Ten cell lines of 48 pairs: eight to learn from, with held-out loci, and two to test."""
    rng, rows = random.Random(3), []
    for k in range(10):
        for number in rng.sample(range(60 * 40), 48):
            i, j = divmod(number, 40)
            split = "test" if k > 7 else "train" if i < 42 else "val"
            rows.append(pair(i, j, int(rng.random() < 0.2 + 0.05 * k), f"cell{k}", split=split))
    return rows


def tsv(
    rows: Sequence[Row], columns: Iterable[str] | None = None, *, sep: str = "\t", end: str = "\n", quote: bool = False
) -> str:
    """A tidy table."""
    names = list(columns or rows[0])
    stream = io.StringIO()
    if quote:
        writer = csv.writer(stream, delimiter=sep, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([names, *([row[name] for name in names] for row in rows)])
        return stream.getvalue()
    lines = [sep.join(names), *(sep.join(str(row[name]) for name in names) for row in rows)]
    return "".join(line + end for line in lines)


def bedpe(rows: Sequence[Row], *, header: bool = True) -> str:
    """BEDPE of thirteen columns; an unknown label is a point. With a header the last three are in another order."""
    names = [
        "#chrom1",
        "start1",
        "end1",
        "chrom2",
        "start2",
        "end2",
        "name",
        "score",
        "strand1",
        "strand2",
        "self_promoter",
        "cell_line",
        "label",
    ]
    lines = ["\t".join(names)] if header else []
    for row in rows:
        place = [row[f"{side}_{part}"] for side in SIDES for part in ("chrom", "start", "end")]
        label = row["label"] if row["label"] != "" else "."
        last = [0, row["cell_line"], label] if header else [label, row["cell_line"], "."]
        rest = ["pair", 0, ".", ".", *last]
        lines.append("\t".join(map(str, [*place, *rest])))
    return "\n".join(lines) + "\n"


def bengi(rows: Sequence[Row]) -> str:
    """A BENGI table: no header, no cell line."""
    lines = []
    for row in rows:
        place = {side: [row[f"{side}_{part}"] for part in ("chrom", "start", "end")] for side in SIDES}
        cells = [row["label"], 1000, *place["enhancer"], "EH1", *place["promoter"], "ENSG1"]
        lines.append("\t".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def domain_kl(folder: Path, rows: Sequence[Row]) -> None:
    """A part of a domain-kl folder, split train."""
    target = folder / "kl/train/ALL"
    target.mkdir(parents=True)
    names = {side: [f"{r[f'{side}_chrom']}:{r[f'{side}_start']}-{r[f'{side}_end']}" for r in rows] for side in SIDES}
    lines = ["enhancer_name,promoter_name,label,cell_line"]
    lines += [
        f"{e},{p},{row['label']},{row['cell_line']}"
        for e, p, row in zip(names["enhancer"], names["promoter"], rows, strict=True)
    ]
    (target / "pairs_hg19.csv").write_text("\n".join(lines) + "\n")
    for side in SIDES:
        table = {
            name: bases(*(row[f"{side}_{part}"] for part in ("chrom", "start", "end")))
            for name, row in zip(names[side], rows, strict=True)
        }
        text = "region,sequence\n" + "".join(f"{name},{sequence}\n" for name, sequence in table.items())
        (target / f"{side[0]}_seq.csv").write_text(text)


def fasta(chromosomes: Mapping[str, str], *, width: int = 60, end: str = "\n") -> str:
    """FASTA text."""
    parts = []
    for name, sequence in chromosomes.items():
        parts.append(f">{name}{end}")
        parts += [sequence[at : at + width] + end for at in range(0, len(sequence), width)]
    return "".join(parts)


def bgzf(data: bytes, *, block: int = 60_000, marker: bool = True) -> bytes:
    """Compress as bgzip does."""
    parts = []
    for at in range(0, len(data), block):
        piece = data[at : at + block]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = packer.compress(piece) + packer.flush()
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
        parts.append(head + body + struct.pack("<II", zlib.crc32(piece), len(piece)))
    return b"".join(parts) + (
        bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000") if marker else b""
    )


def twobit(
    chromosomes: Mapping[str, str], *, order: str = "<", unknown: Mapping[str, tuple[int, int]] | None = None
) -> bytes:
    """A 2bit file; `unknown` gives one block of N (start, size) of a chromosome."""
    index, records, at = b"", b"", 16 + sum(len(name) + 5 for name in chromosomes)
    for name, sequence in chromosomes.items():
        block = (unknown or {}).get(name)
        blocks = struct.pack(f"{order}I", 0) if block is None else struct.pack(f"{order}III", 1, *block)
        codes = ["TCAG".find(base) & 3 for base in sequence] + [0] * (-len(sequence) % 4)
        packed = bytes(
            codes[i] << 6 | codes[i + 1] << 4 | codes[i + 2] << 2 | codes[i + 3] for i in range(0, len(codes), 4)
        )
        record = struct.pack(f"{order}I", len(sequence)) + blocks + struct.pack(f"{order}II", 0, 0) + packed
        index += bytes([len(name)]) + name.encode() + struct.pack(f"{order}I", at + len(records))
        records += record
    return struct.pack(f"{order}IIII", 0x1A412743, 0, len(chromosomes), 0) + index + records
