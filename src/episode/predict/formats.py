"""Writing predictions: Parquet, TSV, BEDPE and UCSC interact, each by atomic rename.

Coordinates are 0-based half-open in all of them, as BED has it. Knows nothing about how the numbers were made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from episode.files import atomic_file

__all__ = ["FORMATS", "write_bedpe", "write_interact", "write_parquet", "write_predictions", "write_tsv"]

INTERNAL = ["source", "enhancer_id", "promoter_id", "locus"]


def write_parquet(pairs: pd.DataFrame, path: Path) -> None:
    """All columns of `Predictions.pairs` but the library's own numbering."""
    with atomic_file(path) as temporary:
        _public(pairs).to_parquet(temporary, index=False)


def write_tsv(pairs: pd.DataFrame, path: Path) -> None:
    """The same as tab-separated text with a header; unknown labels and coordinates are empty."""
    table = _public(pairs)
    for name in table.columns:
        if name == "label" or name.endswith(("_start", "_end")):
            table[name] = table[name].astype("object").where(table[name] >= 0, "")
    with atomic_file(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g")


def write_bedpe(pairs: pd.DataFrame, path: Path) -> None:
    """BEDPE: enhancer, promoter, name, score (the probability), strands unknown, then environment and energies.

    Pairs without coordinates have no place in it and are left out.
    """
    table = pairs[pairs["has_coordinates"].to_numpy()]
    names = ["enhancer_chrom", "enhancer_start", "enhancer_end", "promoter_chrom", "promoter_start", "promoter_end"]
    lines = table[names].copy()
    lines["name"] = table["enhancer_name"] + "_" + table["promoter_name"]
    lines["score"] = table["probability"].map("{:.6g}".format)
    lines["strand1"] = lines["strand2"] = "."
    lines["environment"] = table["environment"]
    for name in ("potential", "impedance", "logit"):
        lines[name] = table[name].map("{:.6g}".format)
    lines.columns = pd.Index(["#chrom1", "start1", "end1", "chrom2", "start2", "end2", *lines.columns[6:]])
    with atomic_file(path) as temporary:
        lines.to_csv(temporary, sep="\t", index=False)


def write_interact(pairs: pd.DataFrame, path: Path) -> None:
    """UCSC interact track: score is 1000 x probability, value is the logit; source enhancer, target promoter.

    Pairs without coordinates have no place in it and are left out.

    References
    ----------
    UCSC Genome Browser, interact and bigInteract track format.
    """
    table = pairs[pairs["has_coordinates"].to_numpy()]
    lines = pd.DataFrame(
        {
            "chrom": table["enhancer_chrom"],
            "chromStart": np.minimum(table["enhancer_start"], table["promoter_start"]),
            "chromEnd": np.maximum(table["enhancer_end"], table["promoter_end"]),
            "name": ".",
            "score": (1000 * table["probability"]).round().astype(int),
            "value": table["logit"].map("{:.6g}".format),
            "exp": table["environment"].str.replace(r"\s", "_", regex=True),
            "color": "0",
        }
    )
    for role, side in (("source", "enhancer"), ("target", "promoter")):
        lines[f"{role}Chrom"] = table[f"{side}_chrom"]
        lines[f"{role}Start"] = table[f"{side}_start"]
        lines[f"{role}End"] = table[f"{side}_end"]
        lines[f"{role}Name"] = table[f"{side}_name"].str.replace(r"\s", "_", regex=True)
        lines[f"{role}Strand"] = "."
    with atomic_file(path) as temporary, temporary.open("w") as stream:
        stream.write(
            'track type=interact name="EPIsode" description="predicted enhancer-promoter interactions" '
            "interactDirectional=true useScore=on visibility=full\n"
        )
        stream.write("#" + "\t".join(lines.columns) + "\n")
        lines.to_csv(stream, sep="\t", index=False, header=False)


FORMATS: dict[str, tuple[str, Callable[[pd.DataFrame, Path], None]]] = {
    "parquet": ("predictions.parquet", write_parquet),
    "tsv": ("predictions.tsv", write_tsv),
    "bedpe": ("predictions.bedpe", write_bedpe),
    "interact": ("predictions.interact", write_interact),
}
"""Format name -> file name and writer."""


def write_predictions(pairs: pd.DataFrame, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the formats asked for into a folder; return the files."""
    written = []
    for name in formats:
        file, write = FORMATS[name]
        write(pairs, folder / file)
        written.append(folder / file)
    return written


def _public(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.drop(columns=[name for name in INTERNAL if name in pairs]).copy()
