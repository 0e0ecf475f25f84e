"""Damaged tables end in an `EpisodeError` or are read: no other exception, and no row gets lost."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from episode.data.readers import read_pairs
from episode.errors import EpisodeError

TIDY = (
    "cell_line\tlabel\tenhancer_chrom\tenhancer_start\tenhancer_end"
    "\tpromoter_chrom\tpromoter_start\tpromoter_end\tnote\n"
    + "".join(f"K562\t{i % 2}\tchr1\t{100 * i}\t{100 * i + 50}\tchr1\t{900 + i}\t{1000 + i}\tx\n" for i in range(4))
)
SEQUENCES = "cell_line,label,enhancer_sequence,promoter_sequence\nK562,1,ACGT,GGGG\nK562,0,AAAA,CCCC\n"
BENGI = "".join(f"1\t{i}.5\tchr1\t{i}\t50\te\tchr1\t{900 + i}\t1000\tp\n" for i in range(3))
BEDPE = "".join(f"chr1\t{i}\t50\tchr1\t{900 + i}\t1000\tn\t1\t.\t.\t1\tK562\n" for i in range(3))


def parquet() -> bytes:
    stream = io.BytesIO()
    pd.read_csv(io.StringIO(TIDY), sep="\t").to_parquet(stream)
    return stream.getvalue()


FILES = {
    "pairs.tsv": TIDY.encode(),
    "pairs.csv": SEQUENCES.encode(),
    "K562.HiC.tsv": BENGI.encode(),
    "pairs.bedpe": BEDPE.encode(),
    "pairs.tsv.gz": gzip.compress(TIDY.encode(), mtime=0),
    "pairs.parquet": parquet(),
}
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from([b"", b"\t", b" ", b",", b'"', b"\n", b"\xff"])),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(EDITS)
def test_damaged_tables(tmp_path: Path, name: str, edits: list[tuple[float, int, bytes]]) -> None:
    content = FILES[name]
    for where, cut, insert in edits:
        at = int(where * len(content))
        content = content[:at] + insert + content[at + cut :]
    path = tmp_path / name
    path.write_bytes(content)
    try:
        table = read_pairs(path, on_invalid="drop")
    except EpisodeError:
        return
    kept = len(table.frame) + table.merged + len(table.dropped)
    if name != "pairs.tsv.gz" and name != "pairs.parquet":
        blank = b" \t," if name == "pairs.csv" else b" \t"
        lines = [line for line in content.split(b"\n") if line.strip(blank)]
        header = name in ("pairs.tsv", "pairs.csv")
        quoted = b'"' in content
        assert quoted or kept == len(lines) - header
