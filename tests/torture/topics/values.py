"""Values of every column: wrong types, other notations, extremes, look-alikes; as text and as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from torture.case import Case, Must
from torture.oracles import stored
from torture.topics.common import build, predict
from torture.world import COLUMNS, ROWS, Row, bases, listed, pair, tsv

TOPIC = "values"
OTHERS: Sequence[Row] = ROWS[1:]
START = 2900
"""Of the first enhancer of `ROWS`."""

NOT_POSITIONS = (
    *listed(
        "-1 2900.5 2,900 2_900 0x0b54 2900bp 2.9kb x NA NaN nan None null . - TRUE =2900 '2900 2900; chr1:2900 ² −2900"
    ),
    *listed("inf -inf 1e400 1e18 9223372036854775808 99999999999999999999999 1099511627776 4294967296 2147483648"),
    *listed("２９００ २९００"),
    "2 900",
)
"""No position, or one past the end of the chromosome."""
POSITIONS: tuple[str, ...] = ("2900.0", "+2900", "02900", "2.9e3", "2900.", "2.9e+03", "0002900.000")
"""Other ways to write one."""
LOST = ("5.12346e+07", "1.2e+06")
"""Positions of which digits may be lost."""
NO_LABELS = "2 -1 0.5 1.5 0.999999 1e-9 yes no positive T true True １ ٠ 1,0 inf x 0x1 1_0 10 1e400 0.9999 1e1 1;0"
LABELS: dict[str, tuple[Must, object]] = {
    **dict.fromkeys(("1", " 1 "), ("accept", 1)),
    **dict.fromkeys(listed("1.0 +1 01 1e0"), ("either", 1)),
    **dict.fromkeys(listed("0"), ("accept", 0)),
    **dict.fromkeys(listed("0.0 -0 00 0e5"), ("either", 0)),
    "": ("accept", -1),
    **dict.fromkeys(listed(NO_LABELS), ("refuse", None)),
    **dict.fromkeys(listed("NaN nan NA None null . - ? unknown N/A"), ("either", -1)),
}
CELL_LINES: dict[str, Must] = {
    **dict.fromkeys(("h1 ESC", *listed("HeLa-S3 Пример A|B 0 1e5 a.b - None T+"), "x" * 99), "accept"),
    **dict.fromkeys(("", *listed("nan NaN NAN a:b :"), "x" * 5000), "refuse"),
}
DISTANCES: dict[str, tuple[Must, float | None]] = {
    **{text: ("accept", float(text)) for text in listed("0 1000 1e3 33433233.5 123456789.25")},
    "": ("accept", 4600.0),
    **dict.fromkeys(("1 kb", *listed("-1 x inf -inf 1e400 1,000 １０００ 0x10 1_000")), ("refuse", None)),
    **dict.fromkeys(listed("nan NA . None"), ("either", 4600.0)),
}
SPLITS: dict[str, Must] = {
    **dict.fromkeys(("", " train ", *listed("train val test")), "accept"),
    **dict.fromkeys(listed("Train validation valid dev 0 train,val nan x"), "refuse"),
}
CHROMOSOMES = ("", "chr1 ", *listed("1 Chr1 CHR1 chr01 chr3 . chrＩ chr1.fa 0 NC_000001.11 chr1_alt"))
SEQUENCES: dict[str, Must] = {
    "as it is": "accept",
    **dict.fromkeys("XZ-*.07 UuEF?\"'é", "refuse"),
    "N": "refuse",
    "empty": "refuse",
    "one base": "either",
}
PARQUET: dict[str, tuple[str, Any, Must]] = {
    "start as int32": ("enhancer_start", pa.int32(), "accept"),
    "start as int64": ("enhancer_start", pa.int64(), "accept"),
    "start as uint64": ("enhancer_start", pa.uint64(), "accept"),
    "start as float": ("enhancer_start", pa.float64(), "accept"),
    "start as half": ("enhancer_start", pa.float16(), "either"),
    "start as float32": ("enhancer_start", pa.float32(), "either"),
    "start as decimal": ("enhancer_start", pa.decimal128(12, 2), "either"),
    "start as text": ("enhancer_start", pa.string(), "accept"),
    "start as time": ("enhancer_start", pa.timestamp("ns"), "refuse"),
    "start as duration": ("enhancer_start", pa.duration("s"), "either"),
    "label as bool": ("label", pa.bool_(), "accept"),
    "label as float": ("label", pa.float64(), "accept"),
    "label as int8": ("label", pa.int8(), "accept"),
    "cell line as large text": ("cell_line", pa.large_string(), "accept"),
    "cell line as dictionary": ("cell_line", pa.dictionary(pa.int32(), pa.string()), "accept"),
    "cell line as bytes": ("cell_line", pa.binary(), "either"),
    "chrom as view": ("enhancer_chrom", pa.string_view(), "either"),
}


def first(**changes: object) -> list[Row]:
    """The rows, the first changed."""
    return [{**ROWS[0], **changes}, *OTHERS]


def cases(bases_by_name: Mapping[str, Path]) -> Iterator[Case]:
    """Each value of each column, by ``data build``; positions and chromosomes also by ``predict``."""
    for turn, column in enumerate(("enhancer_start", "enhancer_end", "promoter_start", "promoter_end")):
        for text in (*NOT_POSITIONS[turn % 2 :: 2], *LOST, ""):
            table = tsv(first(**{column: text}))
            yield build(TOPIC, f"{column} {text!r}", table, rows=None, must="refuse", words=(column, ":2"))
            if column == "promoter_end":
                yield predict(
                    TOPIC, f"predict {column} {text!r}", table, rows=None, must="refuse", words=(column, ":2")
                )
        own = str(ROWS[0][column])
        for text in POSITIONS:
            table = tsv(first(**{column: text.replace("2900", own).replace("2.9e", f"{int(own) / 1000:g}e")}))
            yield build(TOPIC, f"{column} {text!r}", table, words=(column,))
    for text, (must, label) in LABELS.items():
        rows = None if label is None else first(label=label)
        yield build(TOPIC, f"label {text!r}", tsv(first(label=text)), rows=rows, must=must, words=("label", ":2"))
        if len(text) % 2 == 0:
            yield predict(TOPIC, f"predict label {text!r}", tsv(first(label=text)), rows=ROWS, must="accept")
    for text, must in CELL_LINES.items():
        rows = first(cell_line=text)
        yield build(
            TOPIC, f"cell_line {text[:20]!r} of {len(text)}", tsv(rows), rows=rows, must=must, words=("cell_line", ":2")
        )
    for text, (must, bp) in DISTANCES.items():
        table, rows = tsv([{**row, "distance": text} for row in ROWS[:1]]), [{**ROWS[0], "distance": bp}]
        yield build(TOPIC, f"distance {text!r}", table, rows=rows, must=must, words=("distance", ":2"))
    for text, must in SPLITS.items():
        table, rows = tsv([{**row, "split": text} for row in ROWS]), [{**row, "split": text.strip()} for row in ROWS]
        rows = rows if text.strip() else list(ROWS)
        yield build(TOPIC, f"split {text!r}", table, rows=rows, must=must, words=("split",))
    for text in CHROMOSOMES:
        table = tsv(first(enhancer_chrom=text, promoter_chrom=text))
        must = "accept" if text == "chr1 " else "refuse"
        yield build(TOPIC, f"chromosome {text!r}", table, must=must, words=("chrom",))
        yield build(TOPIC, f"enhancer on {text!r}", tsv(first(enhancer_chrom=text)), must=must, words=("chrom",))
    yield from _ranges()
    yield from _sequences()
    yield from _parquet()
    yield from _rows()


def _ranges() -> Iterator[Case]:
    """Intervals that end before they start, or leave the chromosome."""
    for name, start, end in (
        *(("reversed", 3300, 2900), ("of no length", 2900, 2900), ("negative", -400, 0)),
        *(("past the end", 119_900, 120_300), ("far away", 10**9, 10**9 + 400), ("of 200 kb", 0, 200_000)),
    ):
        rows = first(enhancer_start=start, enhancer_end=end)
        for verb, make in (("build", build), ("predict", predict)):
            yield make(TOPIC, f"{verb}, interval {name}", tsv(rows), rows=None, must="refuse", words=(r":2|table",))
    edge = first(enhancer_start=119_600, enhancer_end=120_000)
    yield build(TOPIC, "interval at the end", tsv(edge), rows=edge, must="accept")


def _sequences() -> Iterator[Case]:
    """Sequences given in the table."""
    dna = {
        f"{side}_sequence": bases(*(ROWS[0][f"{side}_{p}"] for p in ("chrom", "start", "end")))
        for side in ("enhancer", "promoter")
    }
    for name, must in SEQUENCES.items():
        own = dna["enhancer_sequence"]
        changed = {"as it is": own, "N": "N" * 400, "empty": "", "one base": "A"}.get(name, own[:99] + name + own[100:])
        table = tsv([{**ROWS[0], **dna, "enhancer_sequence": changed}])
        rows = ROWS[:1]
        oracle = stored(rows, dna=changed == own)
        yield build(
            TOPIC,
            f"sequence, {name!r}",
            table,
            genome=(),
            rows=None,
            oracle=oracle,
            must=must,
            words=("sequence|N|base",),
        )
    mixed = tsv([{**ROWS[0], **dna, "enhancer_sequence": dna["enhancer_sequence"] * 9000}])
    yield build(TOPIC, "sequence of 3.6 Mb", mixed, genome=(), rows=None, words=("sequence|bases",))


def _parquet() -> Iterator[Case]:
    """Columns of another type, nulls, and files that are odd as Parquet."""
    table = pa.Table.from_pylist([{**row, "label": None if row["label"] == "" else row["label"]} for row in ROWS])
    for name, (column, kind, must) in PARQUET.items():
        values = table[column].to_pylist()
        try:
            array = pa.array([None if v is None else str(v) for v in values] if kind == pa.string() else values).cast(
                kind
            )
        except pa.ArrowException:
            array = pa.array(values, from_pandas=True).cast(pa.string()).cast(kind, safe=False)
        yield _as_parquet(name, table.set_column(table.column_names.index(column), column, array), must)
    for column in COLUMNS:
        values = [None, *table[column].to_pylist()[1:]]
        changed = table.set_column(table.column_names.index(column), column, pa.array(values, table[column].type))
        if column == "label":
            yield _as_parquet("null label", changed, "accept", first(label=-1))
        else:
            yield _as_parquet(f"null {column}", changed, "refuse", words=(column,))
        nested = table.set_column(
            table.column_names.index(column), column, pa.array([[v] for v in table[column].to_pylist()])
        )
        yield _as_parquet(f"nested {column}", nested, "refuse", words=(column,))
    yield _as_parquet("no rows", table.slice(0, 0), "refuse", words=("row",))
    yield _as_parquet("no columns", pa.table({}), "refuse")
    yield _as_parquet("as it is", table, "accept")
    data = _bytes(table)
    for name, content in {
        "cut": data[:-9],
        "cut in half": data[: len(data) // 2],
        "a byte flipped": data[:60] + bytes([data[60] ^ 255]) + data[61:],
        "footer damaged": data[:-40] + b"\xff" * 32 + data[-8:],
        "text": tsv(ROWS).encode(),
        "empty": b"",
        "magic alone": b"PAR1",
        "a name that is not UTF-8": data.replace(b"cell_line", b"cell_lin\xff"),
    }.items():
        for verb, make in (("build", build), ("predict", predict)):
            # A value page without a checksum may be damaged into other values that are valid: not to be seen from here.
            yield make(
                TOPIC,
                f"{verb} parquet {name}",
                content,
                file="t.parquet",
                rows=None,
                must="refuse",
                words=("t.parquet",),
            )


def _bytes(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="none")
    return stream.getvalue()


def _as_parquet(
    name: str, table: pa.Table, must: Must, rows: Sequence[Row] = ROWS, words: tuple[str, ...] = ()
) -> Case:
    return build(TOPIC, f"parquet, {name}", _bytes(table), file="t.parquet", rows=rows, must=must, words=words)


def _rows() -> Iterator[Case]:
    """What rows say of each other."""
    both = [*ROWS, {**ROWS[0], "label": 0}]
    yield build(TOPIC, "a pair with both labels", tsv(both), rows=None, must="refuse", words=("label", r"conflict"))
    yield predict(TOPIC, "predict a pair with both labels", tsv(both), rows=both, must="accept")
    yield build(TOPIC, "a row twice", tsv([*ROWS, ROWS[0]]), must="accept", says=("repeat",))
    dropped = [row for row in ROWS if row is not ROWS[0]]
    yield build(TOPIC, "both labels, dropped", tsv(both), rows=dropped, options=("--on-invalid", "drop"), must="accept")
    named = [{**row, "enhancer_name": "E", "promoter_name": f"P{i}"} for i, row in enumerate(ROWS)]
    yield build(TOPIC, "one enhancer name at many places", tsv(named), rows=named, must="accept")
    yield predict(TOPIC, "predict one name at many places", tsv(named), rows=named, must="accept")
    genes = [pair(1, 2, 1, promoter_name=name) for name in ("GENE1", "GENE2")]
    yield predict(TOPIC, "two genes with one promoter", tsv(genes), rows=genes, must="accept")
    yield predict(TOPIC, "a row predicted twice", tsv([*ROWS, ROWS[0]]), rows=[*ROWS, ROWS[0]], must="accept")
    yield predict(TOPIC, "rows in reverse", tsv(ROWS[::-1]), rows=ROWS[::-1], must="accept")
    far = pair(0, 30, 1, cell_line="K562")
    yield predict(TOPIC, "far apart", tsv([far, *ROWS]), rows=[far, *ROWS], must="accept")
    apart = [{**row, "enhancer_chrom": "chr2"} for row in ROWS[:1]]
    yield build(TOPIC, "two chromosomes", tsv(apart), rows=None, must="refuse", words=("chromosome",))
    for option, name in (("enhancer_name", "label"), ("label", "enhancer_start")):
        rows = [{**row, "y": row["label"]} for row in LABELLED]
        columns = ("--column", "label=y", "--column", f"{option}=y") if option != "label" else ("--column", "label=y")
        table = tsv([{key: value for key, value in row.items() if key != "label"} for row in rows])
        want = [{**row, "enhancer_name": row["label"]} if option != "label" else row for row in LABELLED]
        yield build(TOPIC, f"--column twice, {option} {name}", table, rows=want, options=columns, must="accept")
    abc = [{"chr": r["enhancer_chrom"], **{k: v for k, v in r.items() if not k.endswith("chrom")}} for r in LABELLED]
    options = ("--column", "enhancer_chrom=chr", "--column", "promoter_chrom=chr")
    yield build(TOPIC, "one column for two", tsv(abc), rows=LABELLED, options=options, must="accept")


LABELLED = [row for row in ROWS if row["label"] != ""]
