"""2bit files: both byte orders and versions give the bases; a damaged header is refused, never followed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from episode.data.twobit import open_twobit
from episode.errors import EpisodeError, GenomeError
from episode.files import ReadAt

BASES = {"chr1": "NacGTnAC", "x": "GATTACA", "e": ""}


def twobit(order: str = "<", version: int = 0) -> bytes:
    """Lay `BASES` out by hand: T is 0, C 1, A 2, G 3."""
    chr1 = [8, 2, 0, 5, 1, 1, 2, 1, 5, 2, 1, 0]  # length; N at 0 and 5; lower case at 1-3 and 5; zero
    records = [
        struct.pack(f"{order}12I", *chr1) + bytes([0b00100111, 0b00001001]),
        struct.pack(f"{order}4I", 7, 0, 0, 0) + bytes([0b11100000, 0b10011000]),
        struct.pack(f"{order}4I", 0, 0, 0, 0),
    ]
    width, index = "Q" if version else "I", b""
    offset = 16 + sum(1 + len(name) + struct.calcsize(f"<{width}") for name in BASES)
    for name, record in zip(BASES, records, strict=True):
        index += bytes([len(name)]) + name.encode() + struct.pack(order + width, offset)
        offset += len(record)
    return struct.pack(f"{order}4I", 0x1A412743, version, len(BASES), 0) + index + b"".join(records)


def opened(path: Path, content: bytes) -> dict[str, str]:
    """Write a file, and read all its bases."""
    path.write_bytes(content)
    lengths, read = open_twobit(ReadAt(path))
    return {name: read(name, 0, length) if length else "" for name, length in lengths.items()}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [0, 1])
def test_both_byte_orders_and_versions(tmp_path: Path, order: str, version: int) -> None:
    assert opened(tmp_path / "g", twobit(order, version)) == BASES


def test_every_interval(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(twobit())
    _, read = open_twobit(ReadAt(tmp_path / "g"))
    for name, bases in BASES.items():
        for start in range(len(bases)):
            for end in range(start + 1, len(bases) + 1):
                assert read(name, start, end) == bases[start:end]


FIRST, COUNT, INDEX = 16 + 9 + 6 + 6, 8, 16
"""Where the first sequence, the number of sequences and the index are."""


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (4, 2, "is 2bit of version 2"),
        (12, 1, "needs version 0 or 1"),
        (COUNT, 0, "holds no sequence"),
        (COUNT, 2, "what comes before it ends at 31"),
        (COUNT, 4, "is a damaged|the name of sequence 4"),
        (COUNT, 0xFFFFFFFF, "claims 4,294,967,295 sequences"),
        (INDEX + 5, 0, "is a damaged"),
        (INDEX + 5, FIRST + 1, "is a damaged"),
        (INDEX + 5, 0xFFFFFFF0, "the blocks of sequence 'chr1' end past byte"),
        (FIRST, 4, "is a damaged"),
        (FIRST, 9, "sequence 'x' begins at byte"),
        (FIRST, 0xFFFFFFFF, "the 4,294,967,295 bases of sequence 'chr1' end at byte"),
        (FIRST + 4, 0xFFFFFFFF, "the blocks of sequence 'chr1' end past byte"),
        (FIRST + 4, 0x7FFFFFFF, "the blocks of sequence 'chr1' end past byte"),
        (FIRST + 8, 6, "the blocks of N in sequence 'chr1' overlap or pass its 8 bases"),
        (FIRST + 12, 8, "the blocks of N in sequence 'chr1' overlap"),
        (FIRST + 20, 0xFFFFFFFF, "the blocks of N in sequence 'chr1' overlap"),
        (FIRST + 28, 5, "the blocks of lower case in sequence .chr1. overlap"),
        (FIRST + 40, 5, "the blocks of lower case in sequence 'chr1' overlap"),
        (FIRST + 44, 1, "lacks the zero in front of its bases|overlap"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_damaged_number_is_refused(tmp_path: Path, at: int, value: int, message: str, order: str) -> None:
    content = bytearray(twobit(order))
    content[at : at + 4] = struct.pack(f"{order}I", value)
    with pytest.raises(GenomeError, match=message):
        opened(tmp_path / "g", bytes(content))


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        (INDEX + 1, b"ch\x07r", r"the name of sequence 1 holds U\+0007"),
        (INDEX + 1, b"ch\xff1", "the name of sequence 1 holds the byte 0xFF at character 3; needs UTF-8"),
        (INDEX + 10, b"e", "the name 'e' occurs twice"),
        (INDEX + 9, b"\0", "the name of sequence 2 is empty"),
    ],
)
def test_a_name_that_is_none(tmp_path: Path, place: int, name: bytes, message: str) -> None:
    content = bytearray(twobit())
    content[place : place + len(name)] = name
    with pytest.raises(GenomeError, match=message):
        opened(tmp_path / "g", bytes(content))


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_truncation_is_refused(tmp_path: Path, order: str) -> None:
    whole = twobit(order)
    for size in range(4, len(whole)):
        with pytest.raises(GenomeError):
            opened(tmp_path / "g", whole[:size])
    with pytest.raises(GenomeError, match="the last sequence ends at byte"):
        opened(tmp_path / "g", whole + b"\0")


def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(twobit())
    _, read = open_twobit(ReadAt(tmp_path / "g"))
    (tmp_path / "g").write_bytes(twobit()[:FIRST])
    with pytest.raises(EpisodeError, match="has become shorter since it was opened"):
        read("x", 0, 4)
