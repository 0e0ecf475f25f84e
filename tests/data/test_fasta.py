"""FASTA files: what is accepted gives the bases that are written there; all else is refused with its line."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from episode.data import fasta
from episode.data.fasta import FastaIndex, index_fasta, open_fasta
from episode.errors import GenomeError
from episode.files import ReadAt


def bgzf(content: bytes, size: int = 1 << 16) -> bytes:
    """Pack in blocks of some bytes, an empty one after the first and at the end."""
    blocks = [content[i : i + size] for i in range(0, len(content), size)]
    packed = b""
    for block in [*blocks[:1], b"", *blocks[1:], b""]:
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(block) + deflate.flush()
        packed += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25) + body
        packed += struct.pack("<II", zlib.crc32(block), len(block))
    return packed


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """Draw a file and the sequences that it holds."""
    end, width = draw(st.sampled_from(["\n", "\r\n"])), draw(st.integers(1, 6))
    sequences = draw(st.dictionaries(st.sampled_from(["a", "chr1", "X>"]), st.text("ACGTn-", max_size=20), min_size=1))
    text = ""
    for name, bases in sequences.items():
        text += f">{name}{draw(st.sampled_from(['', ' of a kind']))}{end}"
        text += "".join(bases[i : i + width] + end for i in range(0, len(bases), width))
        text += end * draw(st.integers(0, 1))
    return (text.rstrip("\r\n") if draw(st.booleans()) else text).encode(), sequences


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files(), st.integers(1, 9), st.booleans(), st.data())
def test_bases_are_those_of_the_file_however_it_is_cut(
    tmp_path: Path, file: tuple[bytes, dict[str, str]], chunk: int, packed: bool, data: st.DataObject
) -> None:
    content, sequences = file
    path = tmp_path / "g"
    path.write_bytes(bgzf(content, chunk) if packed else content)
    opened = ReadAt(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_CHUNK", chunk)
        if not any(sequences.values()):
            with pytest.raises(GenomeError, match="holds no sequence"):
                index_fasta(opened)
            return
        index, sha256 = index_fasta(opened)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {name: record.length for name, record in index.records.items()} == {
        name: len(bases) for name, bases in sequences.items()
    }
    assert FastaIndex.from_content(index.content()) == index
    read = open_fasta(opened, index)
    for name, bases in sequences.items():
        if bases:
            start = data.draw(st.integers(0, len(bases) - 1))
            end = data.draw(st.integers(start + 1, len(bases)))
            assert read(name, start, end) == bases[start:end]


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b">a\nACGT\n>b\nA\n>a\nCC\n", "line 5: the name 'a' occurs a second time"),
        (b">a\nACGT\n>a\nACGT\n", "line 3: the name 'a' occurs a second time"),
        (b">a\nACGT\nACGTA\n", "line 3: 5 letters in a sequence with lines of 4"),
        (b">a\nACGT\nAC\nA\n", "line 4: 1 letters after a shorter or blank line"),
        (b">a\nACGT\n\nACGT\n", "line 4: 4 letters after a shorter or blank line"),
        (b">a\n\nACGT\n", "line 3: 4 letters after a shorter or blank line"),
        (b">a\r\nACGT\r\nACGT\nACGT\r\n", "line 4: 4 letters after a shorter or blank line"),
        (b">a\nAC GT\nAC GT\nAC GT\n", "line 2: a blank among the bases"),
        (b">a x\nACGT\nACG\t\n", "line 3: a blank among the bases"),
        (b">a\nACGT\nAC\0T\n", "line 3: the byte 0x00 among the bases"),
        (b">a\nACGT\nAC\xe9T\n", "line 3: the byte 0xE9 among the bases"),
        (b">a\nAC\rGT\n", "line 2: (the byte 0x0D among the bases|a carriage return inside)"),
        (b">a\rACGT\r>b\rACGT\r", "line 1: a carriage return inside the line"),
        (b">\nACGT\n", "line 1: a record without a name"),
        (b">a\nACGT\n> b\nACGT\n", "line 3: a record without a name"),
        (b">a\x1b[31m\nACGT\n", r"line 1: the name holds U\+001B"),
        (b">a\xe9\nACGT\n", "line 1: the name holds the byte 0xE9 at character 2; needs UTF-8"),
        (b"track\n>a\nACGT\n", "line 1: does not begin with '>'"),
        (b">a\n>b\n", "holds no sequence"),
    ],
)
def test_what_an_index_cannot_describe_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str, chunk: int
) -> None:
    monkeypatch.setattr(fasta, "_CHUNK", chunk)
    (tmp_path / "g").write_bytes(content)
    with pytest.raises(GenomeError, match=message):
        index_fasta(ReadAt(tmp_path / "g"))


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (slice(0, -28), "is truncated: it lacks the empty block"),
        (slice(0, 30), "no whole BGZF block at byte 0"),
        (slice(0, -1), "no whole BGZF block"),
    ],
)
def test_a_truncated_bgzf_file(tmp_path: Path, cut: slice, message: str) -> None:
    (tmp_path / "g").write_bytes(bgzf(b">a\n" + bytes(range(65, 91)) * 40 + b"\n", 500)[cut])
    with pytest.raises(GenomeError, match=message):
        index_fasta(ReadAt(tmp_path / "g"))


def test_every_flipped_byte_of_bgzf_is_seen_or_harmless(tmp_path: Path) -> None:
    whole = bgzf(b">a\nACGTTGCAGT\nCCC\n")
    for at in range(len(whole)):
        (tmp_path / "g").write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            opened = ReadAt(tmp_path / "g")
            index, _ = index_fasta(opened)
        except GenomeError:
            continue
        assert open_fasta(opened, index)("a", 0, 13) == "ACGTTGCAGTCCC"
