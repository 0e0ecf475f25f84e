"""Files of other programs given as a table or as a genome: the message must say what is wrong in a line or two."""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torture.bases import WHOLE
from torture.case import Case
from torture.topics.common import build, predict, put
from torture.topics.tables import zipped
from torture.world import ROWS, bgzf, enhancer, fasta, genome, listed, promoter, tsv, twobit

TOPIC = "foreign"
LONG = 12
"""Lines of a message about a whole file."""


def repeated(line: str, head: str = "", count: int = 30) -> str:
    """A file of one line many times, the places moved."""
    return head + "".join(line.format(s=1000 + 1900 * i, e=1400 + 1900 * i, i=i) + "\n" for i in range(count))


def database() -> bytes:
    """A file of SQLite."""
    with tempfile.NamedTemporaryFile(suffix=".db") as stream:
        connection = sqlite3.connect(stream.name)
        connection.execute("create table pairs (cell_line text, label int)")
        connection.commit()
        connection.close()
        return Path(stream.name).read_bytes()


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MAKERS: dict[str, tuple[str, Callable[[], str | bytes], str]] = {
    "narrowPeak": (
        "a.narrowPeak",
        lambda: repeated("chr1\t{s}\t{e}\tpeak{i}\t100\t.\t5.1\t3.2\t2.1\t200"),
        "looks like narrowPeak",
    ),
    "broadPeak": (
        "a.broadPeak",
        lambda: repeated("chr1\t{s}\t{e}\tpeak{i}\t100\t.\t5.1\t3.2\t2.1"),
        "looks like broadPeak",
    ),
    "BED3": ("a.bed", lambda: repeated("chr1\t{s}\t{e}"), "looks like BED|is BED"),
    "BED6": ("a.bed", lambda: repeated("chr1\t{s}\t{e}\tname{i}\t0\t+"), "looks like BED|is BED"),
    "BED12": ("b.bed", lambda: repeated("chr1\t{s}\t{e}\tn\t0\t+\t{s}\t{e}\t0\t1\t400,\t0,"), "looks like BED|is BED"),
    "BED with a track": ("c.bed", lambda: repeated("chr1\t{s}\t{e}", 'track name="x"\n'), "BED|interval"),
    "bedGraph": ("a.bedGraph", lambda: repeated("chr1\t{s}\t{e}\t3.5"), "bedGraph:|looks like bedGraph"),
    "wig": (
        "a.wig",
        lambda: repeated("3.5", "track type=wiggle_0\nfixedStep chrom=chr1 start=1 step=1\n"),
        "wiggle",
    ),
    "GTF": (
        "a.gtf",
        lambda: repeated('chr1\tx\tgene\t{s}\t{e}\t.\t+\t.\tgene_id "G{i}";', "#!genome-build x\n"),
        "gene annotation",
    ),
    "GFF3": (
        "a.gff3",
        lambda: repeated("chr1\tx\tgene\t{s}\t{e}\t.\t+\t.\tID=G{i}", "##gff-version 3\n"),
        "gene annotation",
    ),
    "VCF": (
        "a.vcf",
        lambda: repeated(
            "chr1\t{s}\t.\tA\tC\t50\tPASS\tDP=3",
            "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n",
        ),
        "variants",
    ),
    "SAM": (
        "a.sam",
        lambda: repeated("r{i}\t0\tchr1\t{s}\t60\t4M\t*\t0\t0\tACGT\t####", "@SQ\tSN:chr1\tLN:120000\n"),
        "reads",
    ),
    "chain": ("a.chain", lambda: "chain 4900 chr1 120000 + 0 100 chr1 120000 + 0 100 1\n100\n", "chain|column|space"),
    "chrom.sizes": ("chrom.sizes", lambda: "chr1\t120000\nchr2\t60000\n", "column"),
    "fai": ("genome.fa.fai", lambda: "chr1\t120000\t6\t60\t61\n", "interval|column"),
    "MatrixMarket": ("a.mtx", lambda: "%%MatrixMarket matrix coordinate real general\n3 3 1\n1 1 2\n", "column|space"),
    "contact matrix": ("m.tsv", lambda: repeated("0\t1\t2\t3"), "interval|column"),
    "cool dump": ("dump.tsv", lambda: repeated("chr1\t{s}\t{e}\tchr1\t{s}\t{e}\t17"), "cell|column"),
    "pairix": (
        "a.pairs",
        lambda: repeated("r{i}\tchr1\t{s}\tchr1\t{e}\t+\t-", "## pairs format v1.0\n#columns: readID chr1\n"),
        "contacts|pairs format",
    ),
    "DESeq2": (
        "de.csv",
        lambda: repeated('"G{i}",5.1,0.2,0.01', '"","baseMean","log2FoldChange","padj"\n'),
        "column|name",
    ),
    "STARR-seq": (
        "s.tsv",
        lambda: repeated("chr1\t{s}\t{e}\t4.4", "seqnames\tstart\tend\tlog2fc\n"),
        "interval|column",
    ),
    "TargetFinder": (
        "tf.csv",
        lambda: repeated("0.0,GM12878,chr1,{s},{e},1", "bin,cell,enhancer_chrom,enhancer_start,enhancer_end,label\n"),
        "column",
    ),
    "JSON": ("a.json", lambda: json.dumps([dict(row) for row in ROWS]), "is JSON"),
    "JSON lines": ("a.jsonl", lambda: "".join(json.dumps(dict(row)) + "\n" for row in ROWS), "is JSON"),
    "YAML": ("a.yaml", lambda: "pairs:\n  - cell_line: K562\n    label: 1\n", "column|space"),
    "TOML": ("a.toml", lambda: "[training]\nsteps = 3\n", "column|space"),
    "HTML": ("a.html", lambda: "<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n", "HTML"),
    "XML": ("a.xml", lambda: "<?xml version='1.0'?>\n<a><b/></a>\n", "is XML"),
    "prose": ("a.txt", lambda: "Dear all, please find attached the pairs.\nBest\n", "column|space|field"),
    "Python": ("a.py", lambda: "import sys\nprint(sys.argv)\n", "column|space"),
    "Git LFS": (
        "lfs.tsv",
        lambda: "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "Git LFS",
    ),
    "xlsx": ("a.xlsx", lambda: zipped("x"), "ZIP|Excel"),
    "BAM": ("a.bam", lambda: bgzf(b"BAM\x01" + bytes(60)), "reads"),
    "PNG": ("a.png", lambda: PNG, "image"),
    "PDF": ("a.pdf", lambda: b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "is a PDF"),
    "SQLite": ("a.db", database, "SQLite"),
    "HDF5": ("a.cool", lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "bigWig": ("a.bw", lambda: b"\x26\xfc\x8f\x88\x04\0" + bytes(64), "is bigWig"),
    "pickle": ("a.pkl", lambda: b"\x80\x04\x95\x0b\0\0\0\0\0\0\0]\x94(K\x01K\x02e.", "text|binary"),
    "npy": ("a.npy", lambda: b"\x93NUMPY\x01\0v\0{'descr': '<i8'}" + bytes(40), "NumPy"),
    "feather": ("a.feather", lambda: b"ARROW1\0\0" + bytes(40), "Arrow"),
    "tar": ("a.tar", lambda: b"pairs.tsv" + bytes(503), "text|binary"),
    "2bit": ("genome.2bit", lambda: twobit(genome()), "2bit genome"),
    "FASTA": ("a.fa", lambda: fasta(genome()), "is FASTA"),
    "FASTQ": ("a.fq", lambda: repeated("@r{i}\nACGT\n+\n####"), "FASTQ"),
    "JASPAR": ("a.jaspar", lambda: ">MA0001.1 AGL3\nA [ 0 3 ]\nC [ 94 75 ]\n", "column|space|FASTA"),
    "ELF": ("a.out", lambda: b"\x7fELF\x02\x01\x01" + bytes(64), "text|binary"),
}
"""Name: file, its content, words of which one must be in the message when it is given as a table."""
BESIDE: dict[str, tuple[str, str | bytes]] = {
    "--only of other columns": ("--only", "a\tb\n1\t2\n"),
    "--only of prose": ("--only", "these two\n"),
    "--only of bytes": ("--only", PNG),
    "--only of nobody": ("--only", "enhancer\tpromoter\nE\tP\n"),
    "--truth of a file": ("--truth", "x"),
}
"""Files that are given beside a table."""
LOOPS = "\t".join
DOTS = listed("chrom1 start1 end1 chrom2 start2 end2 count la_exp.donut.value region")
HICCUPS = listed("#chr1 x1 x2 chr2 y1 y2 name score strand1 strand2 color observed")


def anchors(i: int, j: int) -> list[str]:
    """Six fields of two intervals."""
    return [str(value) for value in (*enhancer(i).values(), *promoter(j).values())]


def lists() -> dict[str, tuple[str, str]]:
    """Lists of loops as other programs write them: two anchors, no label."""
    rows = [anchors(i, i + 1) for i in range(4)]
    return {
        "cooltools dots": (
            "dots.tsv",
            "\n".join([LOOPS(DOTS), *(LOOPS([*row, "9", "1.5", "chr1"]) for row in rows)]) + "\n",
        ),
        "HiCCUPS": (
            "merged_loops.bedpe",
            "\n".join(
                [LOOPS(HICCUPS), "# juicer_tools version 1.22.01"]
                + [LOOPS([*row, ".", ".", ".", ".", "0,255,255", "44"]) for row in rows]
            )
            + "\n",
        ),
        "six columns": ("loops.bedpe", "".join(LOOPS(row) + "\n" for row in rows)),
        "seven columns": ("loops.bedpe", "".join(LOOPS([*row, "12"]) + "\n" for row in rows)),
        "IGV colours": (
            "igv.bedpe",
            "".join(LOOPS([*row, "n", "1", ".", ".", "255,0,0", f"class{i % 2}"]) + "\n" for i, row in enumerate(rows)),
        ),
        "FitHiChIP": (
            "fh.bed",
            "\n".join(
                [
                    LOOPS(listed("chr1 s1 e1 chr2 s2 e2 cc Q")),
                    *(LOOPS([*row, "8", "0.01"]) for row in rows),
                ]
            )
            + "\n",
        ),
        "mango": ("mango.bedpe", "".join(LOOPS([*row, "20", "0.001"]) + "\n" for row in rows)),
    }


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Every file as a table, and as a genome; lists of loops with the cell line given."""
    argv: tuple[str, ...]
    for name, (file, make, words) in MAKERS.items():
        content = make()
        yield build(TOPIC, f"table, {name}", content, file=file, rows=None, must="refuse", words=(words,))
        if name not in ("FASTA", "2bit"):
            argv = ("data", "build", "rows.tsv", "--genome", file, *WHOLE, "--out", "out")
            words_of_genome = ("FASTA|2bit|gzip|chrom|sequence",)
            yield Case(TOPIC, f"genome, {name}", argv, ("rows.tsv",), put({file: content}), "refuse", words_of_genome)
    for name, (file, text) in lists().items():
        rows = [{"cell_line": "K562", "label": -1, **enhancer(i), **promoter(i + 1)} for i in range(4)]
        options = ("--cell-line", "K562")
        of_loops = ("column|label|colou?r|header|field",)
        yield build(TOPIC, f"loops, {name}", text, file=file, rows=rows, options=options, words=of_loops)
        yield predict(TOPIC, f"predict loops, {name}", text, file=file, rows=rows, options=options, words=of_loops)
    for name, (file, few, words) in {
        "few.bed as labels": ("few.bed", "chr1\t1\t2\n", "column|bed"),
        "few without a label": ("few.tsv", tsv([{**row, "label": ""} for row in ROWS]), "label"),
        "few of no row": ("few.tsv", "cell_line\tlabel\n", "row|empty|column"),
    }.items():
        argv = (
            "predict",
            "run",
            "rows.tsv",
            "--genome",
            "genome.fa",
            "--cell-line",
            "K562",
            "--support-labels",
            file,
            "--out",
            "out",
        )
        yield Case(TOPIC, name, argv, ("rows.tsv", "genome.fa", "run"), put({file: few}), "refuse", (words,))
    for name, (column, only) in BESIDE.items():
        file = "only.tsv"
        verb = "explain" if column == "--only" else "evaluate"
        argv = (verb, "run", "ds", column, file, "--out", "out")
        yield Case(TOPIC, name, argv, ("run", "ds"), put({file: only}), "refuse", ("enhancer|truth|only.tsv",))
