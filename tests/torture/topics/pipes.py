"""Pipes: ``<(…)``, /dev/stdin and named pipes in the place of every file; read once, or refused with a word."""

from __future__ import annotations

import functools
import gzip
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from torture.bases import SETTINGS, WHOLE
from torture.case import Case, Must
from torture.oracles import predicted, same_tree, stored
from torture.topics.common import GENOME, build, predict
from torture.world import ROWS, bedpe, fasta, genome, tsv

TOPIC = "pipes"
WORD = ("pipe|stdin|regular file|not a file|empty",)


def feed(content: bytes, number: int = 63) -> None:
    """Have a pipe under a number, as bash makes it for ``<(…)``; a process of its own writes into it."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as stream:
            stream.write(content)
        os._exit(0)
    os.close(writing)
    os.dup2(reading, number)
    os.close(reading)


CONTENTS: dict[str, tuple[bytes, Must]] = {
    "a table": (tsv(ROWS).encode(), "either"),
    "a gzip": (gzip.compress(tsv(ROWS).encode()), "either"),
    "BEDPE": (bedpe(ROWS).encode(), "either"),
    "nothing": (b"", "refuse"),
    "a mark": (b"\xef\xbb\xbf", "refuse"),
    "Parquet": (b"PAR1" + bytes(99), "refuse"),
}


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Each content by each kind of pipe, then pipes for other files."""
    reference = bases["pr"] / "predictions.parquet"
    for name, (content, must) in CONTENTS.items():
        for path in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "-"):
            need: Must = "refuse" if path == "-" else must
            yield build(
                TOPIC, f"{name} by {path}", None, file=path, stdin=content, must=need, words=WORD if path != "-" else ()
            )
        pipe = functools.partial(feed, content)
        yield build(TOPIC, f"{name} by <()", None, file="/dev/fd/63", before=pipe, must=must, words=WORD)
        yield predict(
            TOPIC,
            f"predict {name} by <()",
            None,
            file="/dev/fd/63",
            before=pipe,
            must=must,
            words=WORD,
            reference=reference,
        )
        yield predict(TOPIC, f"predict {name} by stdin", None, file="/dev/stdin", stdin=content, must=must, words=WORD)
    big = tsv([row for _ in range(3000) for row in ROWS]).encode()
    oracle = stored(ROWS)
    yield build(
        TOPIC,
        "a large table by <()",
        None,
        file="/dev/fd/63",
        before=functools.partial(feed, big),
        oracle=oracle,
        words=WORD,
    )
    argv: tuple[str, ...] = ("data", "build", "rows.tsv", "--genome", "/dev/fd/63", *WHOLE, "--out", "out")
    dna = functools.partial(feed, fasta(genome()).encode())
    yield Case(TOPIC, "a genome by <()", argv, ("rows.tsv",), before=dna, words=WORD, oracle=oracle)
    both = ("data", "build", "/dev/stdin", "/dev/stdin", *GENOME, *WHOLE, "--out", "out")
    yield Case(TOPIC, "stdin twice", both, ("genome.fa",), stdin=tsv(ROWS).encode(), words=WORD, oracle=oracle)
    settings = functools.partial(feed, b"[training]\nsteps = 2\n")
    argv = ("train", "ds", "--config", "/dev/fd/63", *SETTINGS, "--out", "out")
    yield Case(TOPIC, "a configuration by <()", argv, ("ds",), before=settings, oracle=same_tree(bases["run"]))
    labels = functools.partial(feed, tsv(ROWS[:3]).encode())
    argv = (
        "predict",
        "run",
        "rows.tsv",
        *GENOME,
        "--cell-line",
        "K562",
        "--support-labels",
        "/dev/fd/63",
        "--out",
        "out",
    )
    rows = [row for row in ROWS if row["cell_line"] == "K562"]
    yield Case(
        TOPIC,
        "labels by <()",
        argv,
        ("run", "rows.tsv", "genome.fa"),
        before=labels,
        words=WORD,
        oracle=predicted(rows),
    )
    listed = functools.partial(feed, b"enhancer\tpromoter\nchr1:1-2\tchr1:3-4\n")
    argv = ("explain", "run", "ds", "--only", "/dev/fd/63", "--out", "out")
    yield Case(
        TOPIC,
        "a list of pairs by <()",
        argv,
        ("run", "ds"),
        before=listed,
        must="refuse",
        words=("chr1:1-2|pipe|not among",),
    )
    yield build(
        TOPIC, "two tables, one a pipe", tsv(ROWS), stdin=tsv(ROWS).encode(), options=("/dev/stdin",), words=WORD
    )
