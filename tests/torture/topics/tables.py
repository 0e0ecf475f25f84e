"""Tables: headers, comments, blank lines, marks, line ends, delimiters, quoting, widths, encodings, compression."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torture.case import Case, Must
from torture.topics.common import build, predict
from torture.world import COLUMNS, ROWS, Row, bedpe, bengi, bgzf, tsv

TOPIC = "tables"
Change = Callable[[str], str | bytes]


class Form(NamedTuple):
    """One way to write the rows."""

    file: str
    text: str
    options: tuple[str, ...] = ()
    header: bool = True
    sep: str = "\t"


LABELLED = [row for row in ROWS if row["label"] != "" and row["cell_line"] == "K562"]
FORMS = {
    "tsv": Form("table.tsv", tsv(ROWS)),
    "csv": Form("table.csv", tsv(ROWS, sep=","), sep=","),
    "bedpe": Form("table.bedpe", bedpe(ROWS)),
    "plain": Form("table.bedpe", bedpe(ROWS, header=False), header=False),
    "bengi": Form("K562.HiC.tsv", bengi(LABELLED), header=False),
}


def lines(change: Callable[[list[str]], list[str]]) -> Change:
    """Change a text as a list of lines."""
    return lambda text: "".join(line + "\n" for line in change(text.splitlines()))


def cells(row: int, change: Callable[[list[str]], list[str]]) -> Change:
    """Change the fields of one row of a text with tabs, or commas where it has none."""

    def whole(text: str) -> str:
        sep = "\t" if "\t" in text else ","
        parts = text.splitlines()
        parts[row] = sep.join(change(parts[row].split(sep)))
        return "".join(line + "\n" for line in parts)

    return whole


def zipped(text: str) -> bytes:
    """A zip archive with the table."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("table.tsv", text)
    return stream.getvalue()


def half(data: bytes) -> bytes:
    """The first half."""
    return data[: len(data) // 2]


WIDTH = r"field|column|width|tab"
SHAPES: dict[str, tuple[Change, Must, tuple[str, ...]]] = {
    "as it is": (lambda t: t, "accept", ()),
    "CRLF": (lambda t: t.replace("\n", "\r\n"), "accept", ()),
    "CR": (lambda t: t.replace("\n", "\r"), "accept", ()),
    "mixed line ends": (lambda t: t.replace("\n", "\r\n", 2), "accept", ()),
    "mark": (lambda t: "\ufeff" + t, "accept", ()),
    "mark and CRLF": (lambda t: "\ufeff" + t.replace("\n", "\r\n"), "accept", ()),
    "mark twice": (lambda t: "\ufeff\ufeff" + t, "either", ()),
    "no last line end": (lambda t: t[:-1], "accept", ()),
    "blank lines after": (lambda t: t + "\n\n\n", "accept", ()),
    "blank lines before": (lambda t: "\n\n" + t, "accept", ()),
    "blank lines within": (lambda t: t.replace("\n", "\n\n"), "accept", ()),
    "spaces around": (lambda t: t.replace("\t", " \t ").replace(",", " , "), "accept", ()),
    "comment before": (lambda t: "# made by hand\n" + t, "either", (r"comment|#",)),
    "two hashes before": (lambda t: "## pipeline v2\n" + t, "either", (r"comment|#",)),
    "three comments before": (lambda t: "## a\n#b\n# c\td\n" + t, "either", (r"comment|#",)),
    "comment as wide as a row": (
        lambda t: "#" + "\t".join("abcdefghijklm"[: t.split("\n")[0].count("\t") + 1]) + "\n" + t,
        "either",
        (r"comment|#|column",),
    ),
    "comment after the header": (lines(lambda p: [p[0], "# note", *p[1:]]), "either", (r"comment|#|field",)),
    "comment within": (lines(lambda p: [*p[:3], "# note", *p[3:]]), "either", (r"comment|#|field",)),
    "comment at the end": (lambda t: t + "# end\n", "either", (r"comment|#|field",)),
    "track line": (lambda t: 'track name="x"\n' + t, "either", (r"track|column|header",)),
    "browser line": (lambda t: "browser position chr1:1-2\n" + t, "either", (r"browser|space|column",)),
    "trailing separator": (lines(lambda p: [line + ("\t" if "\t" in line else ",") for line in p]), "either", ()),
    "trailing separator in rows": (
        lines(lambda p: [p[0], *(line + ("\t" if "\t" in line else ",") for line in p[1:])]),
        "either",
        (WIDTH,),
    ),
    "a row longer": (cells(2, lambda c: [*c, "x"]), "refuse", (WIDTH, ":3")),
    "a row shorter": (cells(2, lambda c: c[:-1]), "refuse", (WIDTH, ":3")),
    "last row cut": (lambda t: t[: t.rstrip().rindex("\n") + 9], "refuse", (WIDTH,)),
    "a row of spaces": (lambda t: t.replace("\n", "\n   \n", 2), "accept", ()),
    "a row of separators": (lambda t: t + ("\t" if "\t" in t else ",") * 8 + "\n", "either", ()),
    "semicolons": (lambda t: t.replace("\t", ";").replace(",", ";"), "refuse", (r";|semicolon",)),
    "pipes": (lambda t: t.replace("\t", "|").replace(",", "|"), "refuse", (r"\||tab|separat|delimit",)),
    "spaces for tabs": (lambda t: t.replace("\t", "  ").replace(",", "  "), "refuse", (r"space|tab",)),
    "one tab is a space": (cells(2, lambda c: [f"{c[0]} {c[1]}", *c[2:]]), "refuse", (r"space|field|is not",)),
    "one tab is two": (cells(2, lambda c: [c[0], "", *c[1:]]), "refuse", (WIDTH,)),
    "header twice": (lines(lambda p: [p[0], *p]), "refuse", ()),
    "two tables joined": (lambda t: t + t, "either", ()),
    "header alone": (lines(lambda p: p[:1]), "refuse", ()),
    "empty": (lambda t: b"", "refuse", (r"empty",)),
    "mark alone": (lambda t: b"\xef\xbb\xbf", "refuse", (r"empty|no ",)),
    "mark and line end": (lambda t: b"\xef\xbb\xbf\n", "refuse", (r"empty|no ",)),
    "a quote alone": (lambda t: b'"', "refuse", ()),
    "a line end alone": (lambda t: b"\n", "refuse", (r"empty|no ",)),
    "spaces alone": (lambda t: b"   \n  ", "refuse", (r"empty|no ",)),
    "a hash alone": (lambda t: b"#", "refuse", ()),
    "comments alone": (lambda t: b"# a\n# b\n", "refuse", ()),
    "an open quote": (cells(2, lambda c: ['"' + c[0], *c[1:]]), "refuse", ()),
    "quotes within": (cells(2, lambda c: [*c[:-1], 'a"b"c']), "either", ()),
    "zero byte": (lambda t: t.replace("chr1", "chr\x001", 1), "refuse", (r"text|control|U\+0000|binary",)),
    "UTF-16 LE": (lambda t: t.encode("utf-16"), "refuse", (r"UTF-16|UTF-8|text",)),
    "UTF-16 BE": (lambda t: b"\xfe\xff" + t.encode("utf-16-be"), "refuse", (r"UTF-16|UTF-8|text",)),
    "UTF-32": (lambda t: t.encode("utf-32"), "refuse", (r"UTF-32|UTF-8|text",)),
    "Latin-1": (lambda t: t.replace("chr1", "chr\xe9", 2).encode("latin-1"), "refuse", (r"UTF-8",)),
    "a surrogate": (
        lambda t: t.replace("chr1", "chr\ud800", 2).encode("utf-8", "surrogatepass"),
        "refuse",
        (r"UTF-8",),
    ),
    "form feed as line end": (lambda t: t.replace("\n", "\x0c"), "refuse", ()),
    "vertical tab for tab": (lambda t: t.replace("\t", "\x0b").replace(",", "\x0b"), "refuse", ()),
    "next line as line end": (lambda t: t.replace("\n", "\x85"), "refuse", ()),
    "gzip": (lambda t: gzip.compress(t.encode()), "accept", ()),
    "gzip in parts": (lambda t: gzip.compress(t[:99].encode()) + gzip.compress(t[99:].encode()), "accept", ()),
    "bgzip": (lambda t: bgzf(t.encode()), "accept", ()),
    "gzip twice": (lambda t: gzip.compress(gzip.compress(t.encode())), "refuse", (r"gzip|text|twice|compress",)),
    "gzip cut": (lambda t: half(gzip.compress(t.encode())), "refuse", (r"gzip|truncated",)),
    "gzip without its end": (lambda t: gzip.compress(t.encode())[:-4], "refuse", (r"gzip|truncated",)),
    "gzip of ten bytes": (lambda t: gzip.compress(t.encode())[:10], "refuse", (r"gzip|truncated|empty",)),
    "gzip damaged": (lambda t: gzip.compress(t.encode())[:40] + b"\0" * 9, "refuse", (r"gzip|damaged|truncated",)),
    "gzip wrong sum": (lambda t: gzip.compress(t.encode())[:-8] + b"\1" * 8, "refuse", (r"gzip|damaged|CRC",)),
    "gzip and waste": (lambda t: gzip.compress(t.encode()) + b"waste", "refuse", (r"gzip|damaged",)),
    "gzip of nothing": (lambda t: gzip.compress(b""), "refuse", (r"empty",)),
    "bzip2": (lambda t: bz2.compress(t.encode()), "refuse", (r"bz|gzip|UTF-8|text",)),
    "xz": (lambda t: lzma.compress(t.encode()), "refuse", (r"xz|gzip|UTF-8|text",)),
    "zip": (zipped, "refuse", (r"zip|UTF-8|text",)),
}
"""Name: the change, what must come of it, words of a refusal."""

HEADERS: dict[str, tuple[Change, Must, tuple[str, ...]]] = {
    "upper case": (lines(lambda p: [p[0].upper(), *p[1:]]), "either", (r"did you mean|case|cell_line",)),
    "title case": (lines(lambda p: [p[0].title(), *p[1:]]), "either", (r"did you mean|case|cell_line",)),
    "spaces in names": (lines(lambda p: [p[0].replace("_", " "), *p[1:]]), "either", (r"did you mean|cell_line",)),
    "hyphens in names": (lines(lambda p: [p[0].replace("_", "-"), *p[1:]]), "either", (r"did you mean|cell_line",)),
    "hash before": (lambda t: "#" + t, "accept", ()),
    "hash and space before": (lambda t: "# " + t, "accept", ()),
    "short names": (lambda t: t.replace("enhancer_", "enh_").replace("promoter_", "prom_"), "accept", ()),
    "a short name and a long": (
        lines(lambda p: [p[0] + "\tenh_start", *(x + "\t77" for x in p[1:])]),
        "either",
        (r"enh_start",),
    ),
    "a name twice": (cells(0, lambda c: [*c[:1], c[2], *c[2:]]), "refuse", (r"more than once|twice|duplicate",)),
    "a name in two cases": (
        lines(lambda p: [p[0] + "\tCell_Line", *(x + "\tHeLa" for x in p[1:])]),
        "either",
        (r"cell_line",),
    ),
    "an empty name": (cells(0, lambda c: [*c[:-1], ""]), "refuse", (r"name",)),
    "an empty first name": (
        lines(lambda p: ["\t" + p[0], *(f"{i}\t{x}" for i, x in enumerate(p[1:]))]),
        "either",
        (r"name",),
    ),
    "row names of R": (lines(lambda p: [p[0], *(f"{i}\t{x}" for i, x in enumerate(p[1:]))]), "refuse", (WIDTH,)),
    "an index of pandas": (
        lines(lambda p: ["Unnamed: 0\t" + p[0], *(f"{i}\t{x}" for i, x in enumerate(p[1:]))]),
        "accept",
        (),
    ),
    "quoted": (lambda t: tsv(ROWS, quote=True), "accept", ()),
    "quoted CRLF": (lambda t: tsv(ROWS, quote=True, end="\r\n"), "accept", ()),
    "columns reversed": (lambda t: tsv(ROWS, reversed(COLUMNS)), "accept", ()),
    "columns sorted": (lambda t: tsv(ROWS, sorted(COLUMNS)), "accept", ()),
    "no-break spaces": (lambda t: t.replace("\t", "\xa0\t"), "either", (r"column|space|U\+00A0|xa0",)),
    "zero-width space in a name": (lambda t: t.replace("label", "label\u200b", 1), "either", (r"label|U\+200B",)),
    "a mark within": (lambda t: t.replace("enhancer_chrom", "\ufeffenhancer_chrom", 1), "refuse", (r"enhancer_chrom",)),
    "999 columns more": (
        lines(lambda p: [p[0] + "".join(f"\tx{i}" for i in range(980)), *(x + "\t1" * 980 for x in p[1:])]),
        "accept",
        (),
    ),
    "1100 columns more": (
        lines(lambda p: [p[0] + "".join(f"\tx{i}" for i in range(1100)), *(x + "\t1" * 1100 for x in p[1:])]),
        "refuse",
        (r"column",),
    ),
    "reserved names": (
        lines(lambda p: [p[0] + "\trow\tpotential\tenvironment", *(x + "\t9\t9\tz" for x in p[1:])]),
        "accept",
        (),
    ),
}
"""The same for what a tidy table alone has."""


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """All shapes of all forms by ``data build``; of TSV and BEDPE also by ``predict``."""
    reference = bases["pr"] / "predictions.parquet"
    for form, (file, text, options, header, _) in FORMS.items():
        for number, (name, (change, must, words)) in enumerate(SHAPES.items()):
            if (name.startswith("header") and not header) or (
                form in ("csv", "bengi", "plain") and number % 3 != len(form) % 3
            ):
                continue
            rows = LABELLED if form == "bengi" else ROWS
            need: Must = "either" if must == "accept" and _unlike(form, name) else must
            content = change(text)
            both = functools.partial(_case, form, name, content, file, options, need, words, rows)
            yield both(build, "")
            if form == "tsv":
                yield both(functools.partial(predict, reference=reference), "predict ")
    for name, (change, must, words) in HEADERS.items():
        yield build(TOPIC, f"header, {name}", change(tsv(ROWS)), must=must, words=words)
    for column in COLUMNS:
        for name, change in {"without": _without(column), "misspelt": _misspelt(column)}.items():
            if column != "label":
                words = (rf"no column '?{column}",)
                yield build(TOPIC, f"header, {name} {column}", change(tsv(ROWS)), must="refuse", words=words)


def _case(
    form: str,
    name: str,
    content: str | bytes,
    file: str,
    options: tuple[str, ...],
    must: Must,
    words: tuple[str, ...],
    rows: Sequence[Row],
    make: Callable[..., Case],
    verb: str,
) -> Case:
    title = f"{verb}{form}, {name}"
    return make(TOPIC, title, content, rows=rows, file=file, options=options, must=must, words=words)


def _without(column: str) -> Change:
    return lambda text: tsv(ROWS, [name for name in COLUMNS if name != column])


def _misspelt(column: str) -> Change:
    return lambda text: text.replace(column, column[:-1] + "xx", 1)


def _unlike(form: str, name: str) -> bool:
    """Shapes that a form may refuse although another accepts them."""
    return name == "spaces around" and form == "csv"
