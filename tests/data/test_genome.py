"""Genome files: all forms give the same bases, and nothing is written beside them."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import time
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
        (b">chr1\nACGT\nAC\nACGT\n", "line 4: 4 letters after a shorter or blank line"),
        (b">chr1\n", "holds no sequence"),
        (b"\x43\x27\x41\x1a\x00\x00", "damaged or truncated 2bit file: its header has 6 of 16 bytes"),
        (b"PK\x03\x04", "is a zip archive; needs FASTA"),
        (b"@read\nACGT\n+\n!!!!\n", "looks like FASTQ or SAM"),
        (b"\xef\xbb\xbf>chr1\nACGT\n", "begins with a byte-order mark"),
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


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "g.fa")
    with pytest.raises(GenomeError, match="is a pipe or a device; needs a file"):
        open_genome(tmp_path / "g.fa")


def settled(path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, folder: Path) -> bytes:
    """Write a file, open it once with a cache of its own, a minute later; return the file of the cache."""
    path.write_bytes(content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now + 60_000_000_000)
    open_genome(path)
    (entry,) = (folder / "episode" / "genomes").iterdir()
    return entry.read_bytes()


def test_other_content_of_the_same_size_and_time_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "g.fa", b">chr1\nAC\nGT\n>cc\nT\n"
    settled(path, b">chr1\nACGT\n>chr2\nT\n"[: len(other)], monkeypatch, tmp_path / "cache")
    before = path.stat()
    time.sleep(0.02)  # the grain of times of change
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    genome = open_genome(path)
    assert genome.sha256 == hashlib.sha256(other).hexdigest()
    assert (genome.lengths, genome.fetch("chr1", 0, 4)) == ({"chr1": 4, "cc": 1}, "ACGT")


def test_a_file_that_has_just_changed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for content in (b">chr1\nACGT\n", b">chr1\nTTTT\n"):
        (tmp_path / "g.fa").write_bytes(content)
        assert open_genome(tmp_path / "g.fa").sha256 == hashlib.sha256(content).hexdigest()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("place", [0, 70, -3])
def test_a_damaged_cache_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    path, content = tmp_path / "g.fa", b">chr1\nACGTA\nCCGTT\n"
    kept = bytearray(settled(path, content, monkeypatch, tmp_path / "cache"))
    (entry,) = (tmp_path / "cache" / "episode" / "genomes").iterdir()
    kept[place] ^= 1
    entry.write_bytes(kept)
    genome = open_genome(path)
    assert genome.fetch("chr1", 3, 8) == "TACCG" and genome.sha256 == hashlib.sha256(content).hexdigest()


def test_what_is_kept_is_read_in_place_of_the_genome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(tmp_path / "g.fa", b">chr1\nACGTA\nCC\n", monkeypatch, tmp_path / "cache")
    monkeypatch.setattr("episode.data.genome.index_fasta", None)
    assert open_genome(tmp_path / "g.fa").fetch("chr1", 3, 7) == "TACC"


@pytest.mark.parametrize("place", ["a file", "no home"])
def test_without_a_cache_a_genome_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "g.fa"
    path.write_bytes(b">chr1\nACGT\n")
    os.utime(path, (0, 0))
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now + 60_000_000_000)
    if place == "a file":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr("episode.data.genome.Path.home", lambda: (_ for _ in ()).throw(RuntimeError))
    assert open_genome(path).fetch("chr1", 1, 3) == "CG"
    assert "each command reads the genome in full" in caplog.text


def test_a_genome_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.2bit"
    write_twobit(path, {"chr1": "ACGT"})

    def grow(path: Path) -> str:
        with path.open("ab") as stream:
            stream.write(b"x")
        return "0" * 64

    monkeypatch.setattr("episode.data.genome.file_sha256", grow)
    with pytest.raises(GenomeError, match="was changed while it was read"):
        open_genome(path)
