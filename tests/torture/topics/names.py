"""Text that outputs repeat: control characters, quotes, separators, marks of direction, in every place of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torture.bases import WHOLE
from torture.case import Case, Must
from torture.oracles import stored
from torture.topics.common import GENOME, build, predict, put
from torture.world import ROWS, Row, bengi, training_rows, tsv

TOPIC = "names"
TEXTS: dict[str, tuple[str, Must]] = {
    **{
        f"U+{ord(text):04X}": (f"a{text}b", "refuse")
        for text in "\x01\x07\x08\x0b\x0c\x1b\x1c\x1d\x1e\x1f\x7f\x80\x85\x9b"
    },
    **{
        f"U+{ord(text):04X}": (f"a{text}b", "refuse")
        for text in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069"
    },
    **{f"U+{ord(text):04X}": (f"a{text}b", "either") for text in "\u200b\u200e\u200f\u00ad\ufeff\u00a0\u3000\ufffe"},
    "a quote": ('a"b', "either"),
    "quoted": ('"ab"', "either"),
    "an apostrophe": ("it's", "accept"),
    "a backslash": ("a\\tb", "accept"),
    "math": ("a$^$b", "accept"),
    "dollars": ("$x_1$", "accept"),
    "braces": ("{a}{0}%s%d", "accept"),
    "markup": ("<b>&amp;</b>", "accept"),
    "a script": ("<script>alert(1)</script>", "accept"),
    "a formula": ("=1+1", "either"),
    "an at": ("@SUM", "either"),
    "a plus": ("+1", "either"),
    "a path": ("../../etc/passwd", "either"),
    "a slash": ("a/b", "accept"),
    "dots": ("..", "either"),
    "a comma": ("a,b", "either"),
    "a semicolon": ("a;b", "accept"),
    "a hash": ("#a", "either"),
    "spaces": ("a b  c", "accept"),
    "Greek": ("α-globin", "accept"),
    "a picture": ("\U0001f9ec", "accept"),
    "combining": ("e\u0301\u0301", "accept"),
    "long": ("x" * 900, "accept"),
    "too long": ("x" * 5000, "refuse"),
    "a number": ("1e5", "accept"),
    "a dash": ("-", "accept"),
    "an option": ("--out", "accept"),
    "track": ("track", "accept"),
}
"""Name: the text, what must come of it where it is a name."""
PLACES = ("cell_line", "assay", "enhancer_name", "promoter_name", "note")


def placed(place: str, text: str, *, quoted: bool = False) -> tuple[str, list[Row]]:
    """A table whose first row holds the text, or whose column is called so; and its rows."""
    rows: list[Row] = [{**row, place: text if i == 0 else row.get(place, "plain")} for i, row in enumerate(ROWS)]
    return tsv(rows, quote=quoted), rows


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Each text in each place of a table, then as an option, as the name of a file and through to a report."""
    for number, (name, (text, must)) in enumerate(TEXTS.items()):
        quoted, turn = '"' in text, number % len(PLACES)
        forbidden = name.startswith("U+") and must == "refuse"
        for place in PLACES[turn : turn + 1] if forbidden else PLACES[turn::3]:
            table, rows = placed(place, text, quoted=quoted)
            yield build(TOPIC, f"{place}, {name}", table, rows=rows, must=must, words=(place,))
        for place in {PLACES[turn - 2]} if forbidden else {PLACES[turn - 2], "cell_line"}:
            table, rows = placed(place, text, quoted=quoted)
            yield predict(TOPIC, f"predict {place}, {name}", table, rows=rows, must=must, words=(place,))
        if must != "accept" and turn % 2:
            table = tsv([{**row, text: "x"} for row in ROWS], quote=quoted)
            yield predict(TOPIC, f"predict column, {name}", table, words=("column|name",))
        elif turn % 3 == 0:
            rows = [{**row, "cell_line": text} for row in ROWS]
            table = tsv(ROWS, [key for key in ROWS[0] if key != "cell_line"])
            yield build(TOPIC, f"--cell-line, {name}", table, rows=rows, options=(f"--cell-line={text}",), must=must)
    for name in ("a\tb", "a\nb", "a\r\nb"):
        for place in PLACES:
            table, _ = placed(place, name, quoted=True)
            yield build(TOPIC, f"{place}, quoted {name!r}", table, rows=None, must="refuse", words=(place,))
            yield predict(TOPIC, f"predict {place}, quoted {name!r}", table, rows=None, must="refuse", words=(place,))
        yield build(TOPIC, f"--cell-line, {name!r}", tsv(ROWS), rows=None, options=("--assay", name), must="refuse")
    yield from _files()


FILES: dict[str, Must] = {
    **dict.fromkeys(
        ("a b.tsv", "a'b.tsv", "a$b.tsv", "ä.tsv", "-x.tsv", "a;b.tsv", "a&b.tsv", "%s.tsv", "t"), "accept"
    ),
    **dict.fromkeys(("a\nb.tsv", "a\tb.tsv", "a\x1bb.tsv", "\udcff.tsv", "a\u202eb.tsv", "x" * 240 + ".tsv"), "either"),
}


def _files() -> Iterator[Case]:
    """Names of tables, genomes and results."""
    for file, must in FILES.items():
        given, name = f"./{file}", repr(file[:20])
        yield build(TOPIC, f"file {name}", tsv(ROWS), file=given, must=must)
        yield predict(TOPIC, f"predict file {name}", tsv(ROWS), file=given, must=must)
        argv = ("data", "build", "rows.tsv", "--genome", given, *WHOLE, "--out", "out")

        def moved(folder: Path, given: str = given) -> None:
            (folder / "genome.fa").rename(folder / given)

        needs = ("rows.tsv", "genome.fa")
        yield Case(TOPIC, f"genome {name}", argv, needs, moved, must, oracle=stored(ROWS))
        out = ("data", "build", "rows.tsv", *GENOME, *WHOLE, "--out", given)
        yield Case(TOPIC, f"out {name}", out, needs, must=must, oracle=stored(ROWS, out=given))
    for file, words in {
        "mcf7.train.tsv": ("--cell-line|K562|cell line",),
        "mouse_EPI.v1.tsv": ("--cell-line|cell line",),
        "GM12878.HiC-Benchmark.v3.tsv": (),
    }.items():
        rows: Sequence[Row] = [{**row, "cell_line": "K562"} for row in ROWS if row["label"] != ""]
        expected = [{**row, "assay": "HiC" if "HiC" in file else ""} for row in rows]
        options = ("--cell-line", "K562")
        yield build(TOPIC, f"assay from {file}", bengi(rows), file=file, rows=expected, options=options, words=words)
    for name in (
        "math",
        "dollars",
        "markup",
        "a script",
        "Greek",
        "a picture",
        "spaces",
        "long",
        "a backslash",
        "braces",
    ):
        text = TEXTS[name][0]
        shell = "episode evaluate run ds --split test --out ev && episode report ev"
        shell += " && ! grep -q '<script>alert' ev/index.html"
        table = _renamed(text)
        prepare = put({"pairs2.tsv": table})
        whole = f"episode data build pairs2.tsv --genome genome.fa {' '.join(WHOLE)} --out ds && {shell}"
        yield Case(TOPIC, f"report, {name}", needs=("genome.fa", "run"), prepare=prepare, shell=whole, must="accept")


def _renamed(text: str) -> str:
    rows = [row for row in training_rows() if row["split"] == "test"]
    return tsv([{**row, "cell_line": text if row["cell_line"] == "cell8" else row["cell_line"]} for row in rows])
