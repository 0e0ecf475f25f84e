"""Genome files: all forms give the same bases, and nothing is written beside them."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from episode.data.genome import Genome, open_genome
from episode.errors import GenomeError


def runs(sequence: str, letters: str) -> list[tuple[int, int]]:
    """Return start and length of each stretch of letters from a set."""
    inside = np.concatenate([[0], np.isin(list(sequence), list(letters)).astype(int), [0]])
    edges = np.flatnonzero(np.diff(inside))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def write_twobit(path: Path, sequences: dict[str, str]) -> None:
    """Write UCSC 2bit: header, index, then per sequence its size, N and mask blocks, and packed bases."""
    records = []
    for sequence in sequences.values():
        record = struct.pack("<I", len(sequence))
        for blocks in (runs(sequence, "Nn"), runs(sequence, "acgtn")):
            record += struct.pack("<I", len(blocks))
            record += struct.pack(f"<{len(blocks)}I", *(start for start, _ in blocks))
            record += struct.pack(f"<{len(blocks)}I", *(size for _, size in blocks))
        record += struct.pack("<I", 0)
        values = ["TCAG".find(base) if base in "TCAG" else 0 for base in sequence.upper()]
        values += [0] * (-len(values) % 4)
        record += bytes(
            a << 6 | b << 4 | c << 2 | d for a, b, c, d in zip(*(values[i::4] for i in range(4)), strict=True)
        )
        records.append(record)
    offset = 16 + sum(1 + len(name) + 4 for name in sequences)
    index = b""
    for name, record in zip(sequences, records, strict=True):
        index += bytes([len(name)]) + name.encode() + struct.pack("<I", offset)
        offset += len(record)
    path.write_bytes(struct.pack("<IIII", 0x1A412743, 0, len(sequences), 0) + index + b"".join(records))


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory, chromosomes: dict[str, str]) -> dict[str, Genome]:
    """One genome as plain FASTA, BGZF FASTA and 2bit, in a folder that cannot be written."""
    folder = tmp_path_factory.mktemp("genomes")
    text = "".join(
        f">{name}\n" + "".join(f"{bases[i : i + 60]}\n" for i in range(0, len(bases), 60))
        for name, bases in chromosomes.items()
    )
    (folder / "g.fa").write_text(text)
    pysam.tabix_compress(str(folder / "g.fa"), str(folder / "g.fa.gz"))
    write_twobit(folder / "g.2bit", chromosomes)
    folder.chmod(0o555)
    return {name: open_genome(folder / name) for name in ("g.fa", "g.fa.gz", "g.2bit")}


@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz", "g.2bit"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(["chr1", "chr2"]), st.integers(0, 2000), st.integers(0, 2000))
def test_every_form_gives_the_bases(
    forms: dict[str, Genome], chromosomes: dict[str, str], name: str, chrom: str, a: int, b: int
) -> None:
    genome = forms[name]
    start, end = sorted((min(a, genome.lengths[chrom]), min(b, genome.lengths[chrom])))
    assert genome.fetch(chrom, start, end) == chromosomes[chrom][start:end]


def test_lengths_hash_and_nothing_beside(forms: dict[str, Genome]) -> None:
    for genome in forms.values():
        assert genome.lengths == {"chr1": 2000, "chr2": 1000}
        assert genome.sha256 == hashlib.sha256(genome.path.read_bytes()).hexdigest()
    assert sorted(path.name for path in genome.path.parent.iterdir()) == ["g.2bit", "g.fa", "g.fa.gz"]


def test_fetch_off_the_chromosome(forms: dict[str, Genome]) -> None:
    with pytest.raises(GenomeError, match=r"chr1:1990-2001 is not within chr1:0-2000"):
        forms["g.fa"].fetch("chr1", 1990, 2001)
    with pytest.raises(GenomeError, match=r"has no chromosome 'chr9'"):
        forms["g.2bit"].fetch("chr9", 0, 1)


def test_changed_genome_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "g.fa"
    path.write_text(">chr1\nACGT\n")
    first = open_genome(path)
    path.write_text(">chr1\nTTTTT\n>chr2\nA\n")
    second = open_genome(path)
    assert second.lengths == {"chr1": 5, "chr2": 1}
    assert second.fetch("chr1", 0, 5) == "TTTTT"
    assert second.sha256 != first.sha256


def test_ordinary_gzip_names_bgzip(tmp_path: Path) -> None:
    path = tmp_path / "g.fa.gz"
    path.write_bytes(gzip.compress(b">chr1\nACGT\n"))
    with pytest.raises(GenomeError, match=r"ordinary gzip.*gunzip -c g\.fa\.gz \| bgzip > g\.fa\.bgz"):
        open_genome(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; needs FASTA"),
        (b"chr1\t1\n", "starts with neither '>' nor a 2bit signature"),
        (b">chr1\nACGT\nAC\nACGT\n", "has lines of unequal length"),
        (b">chr1\n", "cannot be indexed as FASTA: it holds no sequence"),
        (b"\x43\x27\x41\x1a\x00\x00", "cannot be read as 2bit"),
    ],
)
def test_what_is_no_genome(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "g"
    path.write_bytes(content)
    with pytest.raises(GenomeError, match=message):
        open_genome(path)


def test_missing_genome_and_folder(tmp_path: Path) -> None:
    with pytest.raises(GenomeError, match="no such file"):
        open_genome(tmp_path / "nowhere.fa")
    with pytest.raises(GenomeError, match="is a folder"):
        open_genome(tmp_path)


def test_truncated_bgzf(tmp_path: Path) -> None:
    plain = tmp_path / "g.fa"
    letters = np.random.default_rng(0).choice(list("ACGT"), 200_000)
    plain.write_text(">chr1\n" + "".join(letters) + "\n")
    path = tmp_path / "g.fa.gz"
    pysam.tabix_compress(str(plain), str(path))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(GenomeError, match=r"g\.fa\.gz"):
        open_genome(path).fetch("chr1", 0, 100)
