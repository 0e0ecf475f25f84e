"""The dataset: validated pairs plus every distinct element encoded once, in memory or as a folder.

Pairs and DNA meet here: intervals are checked against the genome, windows are read, loci and orientation
are derived. Does not parse pair tables and does not know models.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

import episode
from episode.config import WindowConfig
from episode.data.genome import Genome
from episode.data.manifest import FORMAT_VERSION, Counts, GenomeFile, Manifest
from episode.data.pairs import SIDES, PairTable, empty_dropped, environment_names
from episode.data.sequences import extract
from episode.dna import digest, is_mirrored, overlap_groups
from episode.errors import EpisodeError
from episode.slices import ByteArray

__all__ = ["Dataset", "OutsideGenome", "assemble", "element_loci", "pair_orientation"]

OutsideGenome = Literal["error", "report"]


@dataclass(frozen=True)
class Dataset:
    """Pairs and encoded elements.

    Parameters
    ----------
    pairs : DataFrame, n_pairs rows
        The frame of a `PairTable` plus `environment` (str), `enhancer_id` and `promoter_id` (int32, rows of
        `elements`), `locus` (int32, enhancers whose windows overlap share one), `mirrored` (bool, the
        promoter's midpoint lies upstream of the enhancer's) and `has_coordinates` (bool, both elements have).
    elements : DataFrame, n_elements rows
        `kind`, `name`, `chrom`, `start`, `end` (the bases encoded that lie on the chromosome, 0-based
        half-open, -1 unknown), `length` (int64, bases encoded), `gc` (float32, of known bases; NaN without
        any), `n_fraction` (float32), `offset` (int64, into `codes`).
    codes : uint8 array or ByteArray, shape (sum of lengths,)
        A=0, C=1, G=2, T=3, anything else 4; all elements one after another, forward strand; of a
        folder they stay in their file.
    manifest : Manifest
        What the dataset was made from.
    dropped : DataFrame
        Rows of the tables that were left out, with their reasons.
    """

    pairs: pd.DataFrame
    elements: pd.DataFrame
    codes: npt.NDArray[np.uint8] | ByteArray
    manifest: Manifest
    dropped: pd.DataFrame = field(default_factory=empty_dropped)

    def sequence(self, element_id: int) -> npt.NDArray[np.uint8]:
        """Return the codes of one element, shape (length,)."""
        start, end = self._spans
        return self.codes[int(start[element_id]) : int(end[element_id])]

    @cached_property
    def digests(self) -> list[bytes]:
        """Digest of each element's sequence, see `episode.dna.digest`: equal where the sequences are."""
        return [digest(self.sequence(number)).encode() for number in range(len(self.elements))]

    @cached_property
    def _spans(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First base of each element, and the base past its last; to ask the frame takes longer than to read."""
        start = self.elements["offset"].to_numpy(dtype=np.int64)
        return start, start + self.elements["length"].to_numpy(dtype=np.int64)

    @property
    def genome_hash(self) -> str | None:
        """SHA-256 of the genome file, None if no genome was read."""
        return self.manifest.genome.sha256

    @property
    def environments(self) -> list[str]:
        """Names of the environments, sorted."""
        return sorted(self.pairs["environment"].unique())

    def select(self, mask: npt.NDArray[np.bool_] | pd.Series) -> Dataset:
        """Keep the pairs where `mask` (bool, shape (n_pairs,)); elements and their ids stay."""
        keep = np.asarray(mask)
        if keep.dtype != np.bool_ or keep.shape != (len(self.pairs),):
            raise ValueError(f"mask has {keep.dtype} {keep.shape}, needs bool ({len(self.pairs)},)")
        return dataclasses.replace(self, pairs=self.pairs[keep].reset_index(drop=True))

    def summary(self) -> pd.DataFrame:
        """Count pairs by environment and label.

        Returns
        -------
        DataFrame, one row an environment, sorted by name
            `environment`, `cell_line`, `assay`, `n`, `positives`, `negatives`, `unknown`, `share_positive`
            (of labelled pairs, NaN without any), `enhancers`, `promoters` (distinct), `one_class` (bool,
            labelled pairs of one class only), `outside_genome` (rows left out for lying outside the genome).
        """
        outside = self.manifest.counts.outside_genome_by_environment
        label = self.pairs["label"]
        frame = self.pairs.assign(positive=label == 1, negative=label == 0, unlabelled=label < 0)
        table = frame.groupby("environment").agg(
            cell_line=("cell_line", "first"),
            assay=("assay", "first"),
            n=("label", "size"),
            positives=("positive", "sum"),
            negatives=("negative", "sum"),
            unknown=("unlabelled", "sum"),
            enhancers=("enhancer_id", "nunique"),
            promoters=("promoter_id", "nunique"),
        )
        labelled = (table["positives"] + table["negatives"]).astype("float64")
        table.insert(6, "share_positive", table["positives"] / labelled.where(labelled > 0))
        table["one_class"] = (table["positives"] == 0) != (table["negatives"] == 0)
        table["outside_genome"] = [int(outside.get(name, 0)) for name in table.index]
        return table.reset_index()


def assemble(
    table: PairTable,
    genome: Genome | None,
    windows: WindowConfig,
    *,
    outside_genome: OutsideGenome = "error",
    on_invalid: Literal["error", "drop"] = "error",
    max_unknown: float = 0.0,
) -> Dataset:
    """Read the DNA of every distinct element and make a dataset in memory.

    Parameters
    ----------
    table : PairTable
        Validated pairs.
    genome : Genome or None
        Needed unless the table brings every sequence.
    windows : WindowConfig
        Bases read around each midpoint; 0 is the whole element.
    outside_genome : {"error", "report"}
        What to do about pairs on chromosomes, at positions, or in stretches that the genome lacks: raise,
        or leave them out, count them and list them in `Dataset.dropped`.
    on_invalid : {"error", "drop"}
        "drop" leaves such pairs out too.
    max_unknown : float
        Largest fraction of N that an element read from the genome may have, in [0, 1); more is outside the
        genome.

    Raises
    ------
    InputError
        If pairs lie outside the genome and are not to be left out, or no pair is left.
    EpisodeError
        If a genome is needed and there is none, or an option is impossible.
    """
    if not 0 <= max_unknown < 1:
        raise EpisodeError(f"max_unknown is {max_unknown}; needs a fraction of at least 0 and less than 1")
    drop = outside_genome == "report" or on_invalid == "drop"
    found = extract(table, genome, windows, drop=drop, max_unknown=max_unknown)
    pairs = table.frame[found.keep].reset_index(drop=True)
    pairs["environment"] = environment_names(pairs)
    pairs["enhancer_id"] = found.enhancer_id
    pairs["promoter_id"] = found.promoter_id
    pairs["locus"] = element_loci(found.elements)[found.enhancer_id]
    pairs["mirrored"], pairs["has_coordinates"] = pair_orientation(pairs)
    lost = environment_names(table.frame[~found.keep])
    kinds = found.elements["kind"]
    used = genome if found.genome_read else None
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        created_by=f"episode {episode.__version__}",
        windows=windows,
        sources=table.sources,
        genome=GenomeFile(
            file=None if used is None else used.path.name,
            sha256=None if used is None else used.sha256,
            assembly=table.assembly,
        ),
        counts=Counts(
            pairs=len(pairs),
            enhancers=int((kinds == "enhancer").sum()),
            promoters=int((kinds == "promoter").sum()),
            bases=len(found.codes),
            merged_duplicates=table.merged,
            dropped_invalid=len(table.dropped),
            outside_genome=found.reasons,
            outside_genome_by_environment={str(k): int(v) for k, v in lost.value_counts(sort=False).items()},
        ),
    )
    parts = [part for part in (table.dropped, found.dropped) if len(part)]
    dropped = pd.concat(parts, ignore_index=True) if parts else empty_dropped()
    return Dataset(pairs, found.elements, found.codes, manifest, dropped)


def pair_orientation(pairs: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return `mirrored` and `has_coordinates` of each pair, see `Dataset`."""
    known = (pairs["enhancer_chrom"] != "") & (pairs["promoter_chrom"] != "")
    ends = (pairs[f"{side}_{end}"].to_numpy(np.int64) for side in SIDES for end in ("start", "end"))
    return known.to_numpy(bool) & is_mirrored(*ends), known.to_numpy(bool)


def element_loci(elements: pd.DataFrame) -> npt.NDArray[np.int32]:
    """Number the loci of elements with columns `kind`, `chrom`, `start` and `end`.

    Returns
    -------
    int32 array, shape (n_elements,)
        Enhancers that overlap, directly or through others, share a number; -1 for promoters.
    """
    locus = np.full(len(elements), -1, dtype=np.int32)
    enhancer = (elements["kind"] == "enhancer").to_numpy()
    placed = enhancer & (elements["chrom"] != "").to_numpy()
    chrom = pd.factorize(elements.loc[placed, "chrom"])[0].astype(np.int64)
    start, end = (elements.loc[placed, name].to_numpy(dtype=np.int64) for name in ("start", "end"))
    locus[placed] = overlap_groups(chrom, start, end)
    alone = enhancer & ~placed
    locus[alone] = np.arange(int(alone.sum())) + int(locus.max(initial=-1)) + 1
    return locus
