"""Sizes that a small input can claim: bombs, wide and endless files, many problems; bounded in memory and time."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torture.bases import SETTINGS, WHOLE
from torture.case import Case, Must
from torture.topics.common import GENOME, put
from torture.world import COLUMNS, LENGTHS, ROWS, fasta, genome, pair, tsv, twobit

TOPIC = "sizes"
MEGABYTE = 1 << 20
HEAD = "\t".join(COLUMNS) + "\n"


def bomb(unit: bytes, megabytes: int) -> Callable[[Path], object]:
    """A gzip file that unpacks to so much, in members of 4 MB."""

    def prepare(folder: Path) -> None:
        member = gzip.compress((unit * (4 * MEGABYTE // len(unit) + 1))[: 4 * MEGABYTE], 9)
        with (folder / "big").open("wb") as stream:
            stream.write(gzip.compress(HEAD.encode()))
            for _ in range(megabytes // 4):
                stream.write(member)

    return prepare


def sparse(size: int, head: bytes = b"") -> Callable[[Path], object]:
    """A file that claims a size and takes no room."""

    def prepare(folder: Path) -> None:
        with (folder / "big").open("wb") as stream:
            stream.write(head)
            stream.truncate(size)

    return prepare


def link(target: str) -> Callable[[Path], object]:
    """Another name of a device."""
    return lambda folder: (folder / "big").symlink_to(target)


def text(make: Callable[[], str]) -> Callable[[Path], object]:
    """A file, written when it is needed."""
    return lambda folder: (folder / "big").write_text(make())


def wide(columns: int) -> Callable[[Path], object]:
    """A table of so many more columns."""
    return text(
        lambda: "".join(
            line + "".join(f"\tx{i}" if at == 0 else "\t1" for i in range(columns)) + "\n"
            for at, line in enumerate(tsv(ROWS).splitlines())
        )
    )


def rows_of(count: int, **changes: object) -> Callable[[Path], object]:
    """So many rows, each with a problem."""

    def make() -> str:
        lines = tsv([{**pair(i % 60, i // 60 % 40, i % 2), **changes} for i in range(4800)]).splitlines(keepends=True)
        return lines[0] + "".join(lines[1:]) * (count // 4800)

    return text(make)


ROW = tsv(ROWS[:1]).splitlines(keepends=True)[1].encode()
TABLES: dict[str, tuple[Callable[[Path], object], Must, tuple[str, ...]]] = {
    "bomb of zeros": (bomb(b"\0", 1200), "refuse", ()),
    "bomb of line ends": (bomb(b"\n", 1200), "refuse", ()),
    "bomb of blanks": (bomb(b" ", 1200), "refuse", ()),
    "bomb of one line": (bomb(b"x", 1200), "refuse", ()),
    "bomb of rows": (bomb(ROW, 1200), "refuse", ("gzip|unpack|MB|GB|bytes|large",)),
    "bomb of tabs": (bomb(b"\t", 400), "refuse", ()),
    "bomb of quotes": (bomb(b'"', 400), "refuse", ()),
    "5,000 columns": (wide(5000), "refuse", ("column",)),
    "100,000 columns": (wide(100_000), "refuse", ("column",)),
    "a field of 50 MB": (text(lambda: HEAD + "x" * (50 * MEGABYTE) + "\t1" * 7 + "\n"), "refuse", ()),
    "a header of 50 MB": (text(lambda: "x" * (50 * MEGABYTE) + "\n" + HEAD), "refuse", ()),
    "an open quote and 40 MB": (text(lambda: HEAD + '"' + ROW.decode() * 700_000), "refuse", ()),
    "240,000 rows of both labels": (rows_of(240_000), "either", ("label|conflict",)),
    "240,000 bad labels": (rows_of(240_000, label="x"), "refuse", ("label",)),
    "240,000 bad positions": (rows_of(240_000, enhancer_start="x"), "refuse", ("enhancer_start",)),
    "240,000 other chromosomes": (rows_of(240_000, enhancer_chrom="1", promoter_chrom="1"), "refuse", ("chrom",)),
    "240,000 past the end": (rows_of(240_000, promoter_end=10**9), "refuse", ("promoter_end|past|bases|end",)),
    "/dev/zero": (link("/dev/zero"), "refuse", ()),
    "/dev/urandom": (link("/dev/urandom"), "refuse", ()),
    "/dev/full": (link("/dev/full"), "refuse", ()),
    "/dev/null": (link("/dev/null"), "refuse", ()),
    "/dev/tty": (link("/dev/tty"), "refuse", ()),
    "/proc/self/mem": (link("/proc/self/mem"), "refuse", ()),
    "a pipe without a writer": (lambda folder: os.mkfifo(folder / "big"), "refuse", ()),
    "1 TB of nothing": (sparse(1 << 40), "refuse", ()),
    "1 TB after a header": (sparse(1 << 40, tsv(ROWS).encode()), "refuse", ()),
    "a socket": (lambda folder: _socket(folder / "big"), "refuse", ()),
}
ENDLESS = (
    "/dev/zero",
    "/dev/urandom",
    "a pipe without a writer",
    "1 TB of nothing",
    "/proc/self/mem",
    "a socket",
    "/dev/tty",
)
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "genome": (("data", "build", "rows.tsv", "--genome", "big", "--out", "out"), ("rows.tsv",)),
    "configuration": (("train", "ds", "--config", "big", "--out", "out"), ("ds",)),
    "labels": (
        ("predict", "run", "rows.tsv", *GENOME, "--cell-line", "K562", "--support-labels", "big", "--out", "out"),
        ("run", "rows.tsv", "genome.fa"),
    ),
    "list of pairs": (("explain", "run", "ds", "--only", "big", "--out", "out"), ("run", "ds")),
    "truth": (("evaluate", "run", "ds", "--truth", "big", "--out", "out"), ("run", "ds")),
    "run": (("predict", "big", "rows.tsv", *GENOME, "--out", "out"), ("rows.tsv", "genome.fa")),
    "dataset": (("train", "big", "--out", "out"), ()),
    "protocol": (("compare", "big", "ds", "--out", "out"), ("ds",)),
    "results": (("report", "big"), ()),
}
INSIDE = {
    "run/run.json": "predict",
    "run/model.safetensors": "predict",
    "ds/manifest.json": "evaluate",
    "ds/codes.npy": "evaluate",
    "ds/pairs.parquet": "evaluate",
}


def _socket(path: Path) -> None:
    import socket

    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """As a table of two commands, then in other places."""
    argv: tuple[str, ...]
    for name, (prepare, must, words) in TABLES.items():
        argv = ("data", "build", "big", *GENOME, *WHOLE, "--out", "out")
        yield Case(TOPIC, name, argv, ("genome.fa",), prepare, must, words)
        if name in ENDLESS or "labels" in name:
            argv = ("predict", "run", "big", *GENOME, "--out", "out")
            both: Must = "either" if "both" in name else must
            yield Case(
                TOPIC, f"predict {name}", argv, ("genome.fa", "run"), prepare, both, () if "labels" in name else words
            )
    for place, (argv, needs) in PLACES.items():
        for name in ENDLESS:
            yield Case(TOPIC, f"{place}: {name}", argv, needs, TABLES[name][0], "refuse", leaves="^out")
    for file, command in INSIDE.items():
        for name in ("a pipe without a writer", "/dev/zero", "1 TB of nothing"):

            def prepare_inside(folder: Path, file: str = file, name: str = name) -> None:
                TABLES[name][0](folder)
                (folder / file).unlink()
                (folder / "big").rename(folder / file)

            argv, needs = {
                "predict": (("predict", "run", "rows.tsv", *GENOME, "--out", "out"), ("run", "rows.tsv", "genome.fa")),
                "evaluate": (("evaluate", "run", "ds", "--out", "out"), ("run", "ds")),
            }[command]
            yield Case(TOPIC, f"{file}: {name}", argv, needs, prepare_inside, "refuse")
    many = text(lambda: fasta(genome()) + "".join(f">c{i}\nACGT\n" for i in range(200_000)))
    argv = ("data", "build", "rows.tsv", "--genome", "big", "--out", "out")
    yield Case(TOPIC, "a genome of 200,002 sequences", argv, ("rows.tsv",), many)
    long = text(lambda: fasta({"chr1": "ACGT" * (25 * MEGABYTE), "chr2": "A" * LENGTHS["chr2"]}, width=10**9))
    yield Case(TOPIC, "a genome of one line of 100 MB", argv, ("rows.tsv",), long)
    packed = put({"big": twobit({f"c{i}": "ACGT" for i in range(50_000)} | genome())})
    yield Case(TOPIC, "a 2bit of 50,002 sequences", argv, ("rows.tsv",), packed)
    for option in (
        *("--devices=1000000", "--nodes=2", "--nodes=1000000", "--accumulate=1000000000", "--threads=100000"),
        *(
            "--threads=1000000000",
            "--set=stem.bin=1000000",
            "--set=backbone.width=1000000",
            "--set=episodes.query=1000000000",
        ),
        *(
            "--set=impedance.channels=100000",
            "--set=backbone.kan_frequencies=1000000",
            "--set=training.tasks_per_step=100000000",
        ),
    ):
        argv = ("train", "ds", *SETTINGS, option, "--out", "out")
        yield Case(TOPIC, f"train {option}", argv, ("ds",), leaves="^out")
    for window in (10**6 + 1, 10**12, 10**18):
        argv = ("data", "build", "rows.tsv", *GENOME, "--enhancer-window", str(window), "--out", "out")
        yield Case(
            TOPIC, f"window of {window:,}", argv, ("rows.tsv", "genome.fa"), must="refuse", words=("window|bases|end",)
        )
