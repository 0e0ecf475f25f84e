"""Genomes: FASTA, BGZF and 2bit that are odd, damaged, truncated or another build; and what is kept of them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torture.bases import WHOLE
from torture.case import Case, Must
from torture.oracles import Oracle, all_of, stored
from torture.topics.common import put
from torture.world import ROWS, bgzf, fasta, genome, reverse, twobit

TOPIC = "genomes"
FA = fasta(genome())
AT = 2900
"""Where the first enhancer of `ROWS` begins on chr1."""


def of(
    name: str,
    content: str | bytes | None,
    must: Must,
    *words: str,
    file: str = "g.fa",
    shell: str | None = None,
    prepare: Callable[[Path], object] | None = None,
    env: Mapping[str, str | None] | None = None,
    oracle: Oracle | None = None,
) -> Case:
    """``data build`` of the rows with this genome."""
    argv = ("data", "build", "rows.tsv", "--genome", file, *WHOLE, "--out", "out")
    make = prepare or put({file: content or ""})
    needs = ("rows.tsv", "genome.fa", "genome.2bit")
    return Case(
        TOPIC,
        name,
        argv,
        needs,
        make,
        must,
        words,
        oracle=oracle or stored(ROWS),
        shell=shell,
        env=env or {},
        leaves="^first",
    )


def edited(start: int, text: str, chrom: str = "chr1") -> dict[str, str]:
    """The genome with other letters from a position on."""
    content = dict(genome())
    content[chrom] = content[chrom][:start] + text + content[chrom][start + len(text) :]
    return content


FASTAS: dict[str, tuple[Callable[[], str | bytes], Must, tuple[str, ...]]] = {
    "as it is": (lambda: FA, "accept", ()),
    "one line a chromosome": (lambda: fasta(genome(), width=10**9), "accept", ()),
    "CRLF": (lambda: fasta(genome(), end="\r\n"), "accept", ()),
    "CR": (lambda: FA.replace("\n", "\r"), "refuse", ()),
    "lower case": (lambda: FA.lower().replace(">chr", ">chr"), "accept", ()),
    "soft-masked": (lambda: fasta(edited(AT, genome()["chr1"][AT : AT + 300].lower())), "accept", ()),
    "descriptions": (lambda: FA.replace(">chr1", ">chr1 Homo sapiens, whole genome"), "accept", ()),
    "a tab after the name": (lambda: FA.replace(">chr1", ">chr1\tHomo"), "accept", ()),
    "a blank after the mark": (lambda: FA.replace(">chr", "> chr"), "either", ()),
    "no last line end": (lambda: FA[:-1], "accept", ()),
    "blank lines after": (lambda: FA + "\n\n", "either", ()),
    "a blank line between": (lambda: FA.replace("\n>chr2", "\n\n>chr2"), "either", ()),
    "a blank line within": (lambda: FA[:5000] + "\n\n" + FA[5000:], "refuse", ()),
    "lines of unequal length": (lambda: FA[:3000] + FA[3001:], "refuse", (r"line|damaged|length|chrom",)),
    "a mark": (lambda: "\ufeff" + FA, "either", ("FASTA|mark",)),
    "comments": (lambda: "; old style\n" + FA, "either", ()),
    "duplicate names": (lambda: FA + fasta({"chr1": reverse(genome()["chr1"])}), "refuse", ("chr1",)),
    "duplicate equal": (lambda: FA + fasta({"chr1": genome()["chr1"]}), "either", ("chr1",)),
    "a name of nothing": (lambda: FA.replace(">chr2", ">"), "either", ()),
    "no sequence": (lambda: ">chr1\n>chr2\n", "refuse", ("sequence",)),
    "empty chromosome first": (lambda: ">chr0\n" + FA, "accept", ()),
    "empty chromosome last": (lambda: FA + ">chr9\n", "either", ()),
    "empty": (lambda: "", "refuse", ("empty",)),
    "a mark of FASTA alone": (lambda: ">", "refuse", ()),
    "without chr": (lambda: FA.replace(">chr", ">"), "refuse", ("chr",)),
    "upper CHR": (lambda: FA.replace(">chr", ">CHR"), "refuse", ("chr",)),
    "RefSeq names": (lambda: FA.replace(">chr", ">NC_00000"), "refuse", ("chr",)),
    "shorter build": (
        lambda: fasta({"chr1": genome()["chr1"][:5000], "chr2": genome()["chr2"]}),
        "refuse",
        ("end|length|chrom",),
    ),
    "protein": (lambda: ">sp|P1\n" + "MKVLAAGIVGLCAKAYEFW" * 30 + "\n", "refuse", ("chrom",)),
    "protein as chr1": (
        lambda: fasta({"chr1": "MKVLAAGIVGLCAKAYEFW" * 7000, "chr2": genome()["chr2"]}),
        "refuse",
        ("unknown|base|letter|N",),
    ),
    "RNA": (
        lambda: fasta({name: text.replace("T", "U") for name, text in genome().items()}),
        "refuse",
        ("unknown|base|letter|N",),
    ),
    "zero bytes": (lambda: FA[:AT].encode() + bytes(60) + FA[AT + 60 :].encode(), "refuse", ()),
    "UTF-16": (lambda: FA.encode("utf-16"), "refuse", ("FASTA|UTF",)),
    "ordinary gzip": (lambda: gzip.compress(FA.encode()), "refuse", ("gzip|bgzip",)),
    "a name of control characters": (lambda: FA.replace(">chr2", ">chr2\x1b[2J"), "either", ()),
    "a long name": (lambda: FA.replace(">chr2", ">" + "x" * 100_000), "either", ()),
}
LETTERS = "NnXx-*.07?URYKMSWBDHVEJOZ@[]"
"""Letters that are no bases, one in an enhancer or all of it."""


def _same_hash(folder: Path) -> str | None:
    """Hold the hash of the genome in the manifest against the file."""
    told = json.loads((folder / "out/manifest.json").read_text())["genome"]["sha256"]
    return None if told == hashlib.sha256((folder / "g.fa").read_bytes()).hexdigest() else "the hash is of another file"


def flipped(data: bytes, at: int, change: int = 255) -> bytes:
    """Data with one byte changed."""
    return data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """FASTA, its letters, BGZF, 2bit, and the cache of their indexes."""
    for name, (make, must, words) in FASTAS.items():
        yield of(f"fasta, {name}", make(), must, *words)
        if name.split()[0] in ("CRLF", "duplicate", "no", "lines"):
            yield of(f"bgzf, {name}", bgzf(str(make()).encode()), must, *words, file="g.fa.gz")
    for letter in LETTERS:
        yield of(f"letter {letter}, one", fasta(edited(AT + 20, letter)), "refuse", "unknown|base|letter|N")
        if letter in "NX-*0UR@":
            yield of(f"letter {letter}, all", fasta(edited(AT, letter * 400)), "refuse", "unknown|base|letter|N")
    yield from _cut()
    yield from _twobits()
    yield from _caches()


def _cut() -> Iterator[Case]:
    """Truncated at many places, bytes flipped: never other bases."""
    rng, packed, plain, two = random.Random(1), bgzf(FA.encode(), block=9000), FA.encode(), twobit(genome())
    for file, data, count in (("g.fa", plain, 8), ("g.fa.gz", packed, 12), ("g.2bit", two, 16)):
        small = [1, 3, 17, 40, len(data) - 30, len(data) - 1] if file != "g.fa" else [1, 6, 20]
        for at in (*small, *(rng.randrange(60, len(data) - 60) for _ in range(count))):
            # A FASTA that ends early is a shorter genome: rows that still lie on it are right.
            must: Must = "either" if file == "g.fa" or at > len(data) - 29 else "refuse"
            yield of(f"{file} cut at {at}", data[:at], must, "g\\.|chrom", file=file)
    for at in (*range(0, 28, 3), *(rng.randrange(28, len(packed)) for _ in range(12))):
        yield of(f"bgzf flipped at {at}", flipped(packed, at), "either", file="g.fa.gz")
    yield of("bgzf without its last block", bgzf(FA.encode(), marker=False), "either", file="g.fa.gz")
    yield of("bgzf twice", packed + packed, "either", file="g.fa.gz")
    yield of("bgzf and waste", packed + b"waste", "either", file="g.fa.gz")


def _twobits() -> Iterator[Case]:
    """Fields of the header, of the index and of a record, in both orders of bytes."""
    values = (0, 1, 2, 3, 255, 1 << 16, 1 << 31, (1 << 32) - 1)
    for order in "<>":
        data, end = twobit(genome(), order=order), "little" if order == "<" else "big"
        yield of(f"2bit {end}", data, "accept" if order == "<" else "either", "big|order|swap", file="g.2bit")
        record = 16 + 2 * 9
        for field, at in (
            *(("version", 4), ("count", 8), ("reserved", 12), ("offset", 21), ("second offset", 30)),
            *(
                ("size", record),
                ("blocks of N", record + 4),
                ("masks", record + 8),
                ("reserved of record", record + 12),
            ),
        ):
            for value in values[:: 1 if order == "<" else 3]:
                changed = data[:at] + struct.pack(f"{order}I", value) + data[at + 4 :]
                if changed != data:
                    # What is reserved may hold anything, and a chromosome may be shorter than its record.
                    harmless = (
                        field.startswith("reserved") or field == "masks" or (field == "size" and value == 1 << 16)
                    )
                    must: Must = "either" if harmless else "refuse"
                    yield of(f"2bit {end}, {field} {value}", changed, must, file="g.2bit")
        for name, at, byte in (("length of name 0", 16, 0), ("length of name 255", 16, 255), ("a letter", 17, 200)):
            yield of(f"2bit {end}, {name}", data[:at] + bytes([byte]) + data[at + 1 :], "refuse", file="g.2bit")
    masked = twobit(genome(), unknown={"chr1": (AT, 200)})
    yield of("2bit with N", masked, "refuse", "N|unknown", file="g.2bit")
    block = masked.index(struct.pack("<III", 1, AT, 200))
    for name, start, size in (("past the end", AT, 1 << 31), ("far", 1 << 31, 5), ("at the edge", 119_999, 2)):
        changed = masked[: block + 4] + struct.pack("<II", start, size) + masked[block + 12 :]
        yield of(f"2bit, block of N {name}", changed, "refuse" if start == AT else "either", file="g.2bit")
    yield of("2bit, a name twice", twobit(genome()).replace(b"chr2", b"chr1"), "refuse", file="g.2bit")
    yield of("2bit, name not UTF-8", twobit(genome()).replace(b"chr2", b"chr\xff"), "either", file="g.2bit")
    yield of("2bit, and waste", twobit(genome()) + bytes(99), "either", file="g.2bit")
    yield of("2bit, header alone", twobit({}), "refuse", file="g.2bit")
    yield of("2bit called fa", twobit(genome()), "accept")
    yield of("fasta called 2bit", FA, "accept", file="g.2bit")


def _caches() -> Iterator[Case]:
    """An index that was kept, then damaged or out of date; the second of two commands is judged."""
    begin = "episode data build rows.tsv --genome g.fa --enhancer-window 0 --promoter-window 0 --out"
    again = f"sleep 2.5; {begin} first > /dev/null && {{}} && {begin} out"
    other = fasta({name: reverse(text) for name, text in genome().items()})
    for name, change in {
        "other lengths": "sed -i s/120000/110000/ $F",
        "other digits": "sed -i s/60/61/ $F",
        "empty": "truncate -s 0 $F",
        "cut": "truncate -s 99 $F",
        "of bytes": "head -c 99 /dev/urandom > $F",
        "of another form": "echo '{}' > $F",
        "a folder": "rm $F && mkdir $F",
        "removed": "rm -r .cache",
        "below a file": "rm -r .cache && echo > .cache",
    }.items():
        shell = again.replace("{}", f"F=$(echo .cache/episode/genomes/*) && test -f $F && {change}", 1)
        yield of(f"cache, {name}", FA, "accept", shell=shell)

    def two(folder: Path) -> None:
        """Another genome, and one of the same size and time."""
        for file, text in (("g.fa", other), ("then.fa", FA)):
            (folder / file).write_text(text)
            os.utime(folder / file, (10**9, 10**9))

    for name, change in {
        "moved": "mv then.fa g.fa",
        "copied": "cat then.fa > g.fa && touch -d @1000000000 g.fa",
    }.items():
        shell = again.replace("{}", change, 1)
        right = all_of(stored(ROWS), _same_hash)
        yield of(f"cache, same size and time, {name}", None, "accept", shell=shell, prepare=two, oracle=right)
    for name, env in {
        "cache is a file": "{folder}/rows.tsv",
        "cache cannot be made": "/proc/x",
        "cache not absolute": "x/y",
    }.items():
        yield of(name, FA, "either", "cache", env={"XDG_CACHE_HOME": env})
