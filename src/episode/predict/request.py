"""The request for a prediction, and whether it is the same again: options, and the content of every file named.

Knows nothing about how it is carried out.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from episode import __version__
from episode.checkpoint import require_finished
from episode.data.build import ReadOptions
from episode.data.readers.content import check_place
from episode.files import file_sha256
from episode.identity import Identity, check_identity
from episode.predict.streaming.blocks import parquet_files

__all__ = ["Request", "check_same"]

JOB_FORMAT = 2
"""Of the work folder; one of another number cannot be resumed."""
HEAD = 1 << 16
"""Bytes hashed of the beginning of a Parquet file."""
TAIL = 8
"""Last bytes of a Parquet file: the length of its footer, and four characters."""
VERSIONS = {"episode_version": "version of EPIsode", "job_format": "work format"}
NAMES = {
    "tables": "list of pair tables",
    "format": "--format",
    "columns": "--column",
    "cell_line": "--cell-line",
    "assay": "--assay",
    "on_invalid": "--on-invalid",
    "outside_genome": "--outside-genome",
    "formats": "--write",
    "max_unknown": "--max-unknown",
    "promoter_flank": "--promoter-flank",
    "seed": "--seed",
    "batch": "--batch-size",
    "run": "run",
    "genome": "--genome",
    "support": "--support",
    "support_labels": "--support-labels",
    "prevalence": "--prevalence",
    "prevalence_sd": "--prevalence-sd",
    "content": "content of the pair tables",
    "written": "time of writing of the pair tables",
}
"""Keys of an identity, as messages name them."""


@dataclass(frozen=True)
class Request:
    """A prediction as it was asked for.

    Parameters
    ----------
    tables : tuple of str
        Pair tables, as the user gave them.
    on_invalid, outside_genome, max_unknown, promoter_flank
        See `episode.data.build.ReadOptions`.
    support : str or None
        Table of candidates from which the support sets are drawn; by default they are drawn from `tables`.
    formats : tuple of str
        What to write, see `episode.predict.writers.FORMATS`.
    seed : int
        Decides the support sets.
    batch : int
        Pairs scored at a time.
    cache : str or None
        Folder of encoded elements; by default one that goes with the job.
    columns : tuple of pairs of str
        Names of columns and the tables' own, see `episode.data.readers.read_pairs`.
    prevalence, prevalence_sd : float
        See `episode.predict.student.Prevalence`; None for what the Student reads.
    """

    run_folder: str
    tables: tuple[str, ...]
    genome: str | None = None
    format: str | None = None
    cell_line: str | None = None
    assay: str | None = None
    on_invalid: Literal["error", "drop"] = "error"
    outside_genome: Literal["error", "report"] = "error"
    support: str | None = None
    support_labels: str | None = None
    formats: tuple[str, ...] = ("parquet",)
    seed: int = 0
    batch: int = 4096
    cache: str | None = None
    max_unknown: float = 0.0
    promoter_flank: int = 0
    columns: tuple[tuple[str, str], ...] = ()
    prevalence: float | None = None
    prevalence_sd: float = 0.0

    @cached_property
    def parquet(self) -> list[str] | None:
        """The Parquet files among the tables, folders opened; None if there is anything else."""
        return parquet_files(self.tables, self.format)

    @property
    def all_tables(self) -> tuple[str, ...]:
        """Pair tables, and the support table."""
        return self.tables if self.support is None else (*self.tables, self.support)

    @property
    def _in_blocks(self) -> list[str]:
        """Files that are read block by block."""
        return [*(self.parquet or ()), *((parquet_files([self.support], self.format) or ()) if self.support else ())]

    @property
    def reading(self) -> ReadOptions:
        """How the labels that refine the estimates are read."""
        return ReadOptions(
            format=self.format,
            columns=dict(self.columns),
            cell_line=self.cell_line,
            assay=self.assay,
            on_invalid=self.on_invalid,
            outside_genome=self.outside_genome,
            max_unknown=self.max_unknown,
            promoter_flank=self.promoter_flank,
        )

    @property
    def reading_pairs(self) -> ReadOptions:
        """How the tables are read: the same, without a name for the labels where another table gives them."""
        if self.support_labels is None:
            return self.reading
        return replace(self.reading, columns={name: other for name, other in self.columns if name != "label"})

    @property
    def only(self) -> str | None:
        """Cell line, environment or, after a colon, assay whose rows alone are predicted."""
        return self.cell_line if self.assay is None else f"{self.cell_line or ''}:{self.assay}"

    def identity(self, genome_sha256: str | None) -> Identity:
        """All that the result depends on, as plain data; no path, but the names of the tables.

        Raises
        ------
        EpisodeError
            If a file is not there.
        """
        labels, support = self.support_labels, self.support
        options = {name: value for name, value in asdict(self).items() if name in NAMES}
        files = [Path(table) for table in self.parquet or self.tables]
        return options | {
            "episode_version": __version__,
            "job_format": JOB_FORMAT,
            "tables": [_name(Path(table)) for table in self.tables],
            "formats": list(self.formats),
            "run": _run_hash(Path(self.run_folder)),
            "genome": genome_sha256,
            "support": None if support is None else [_name(Path(support)), _content(Path(support))],
            "support_labels": None if labels is None else _content(Path(labels)),
            "content": [[_name(file), _content(file)] for file in files],
            "written": [file.stat().st_mtime_ns for file in map(Path, self._in_blocks)] or None,
        }


def check_same(begun: Identity, asked: Identity, where: Path, *, planned: bool = True) -> None:
    """Refuse to resume a prediction that was begun with other options, files or versions.

    While the first pass is not done (`planned` is false), Parquet files must not have been written since, as part of
    them is still to be read; the labels that refine its estimates may change until then.

    Raises
    ------
    EpisodeError
        See `episode.identity.check_identity`.
    """
    met = f"{where}: this prediction was begun with"
    versions = {name: asked[name] for name in VERSIONS}
    check_identity(begun, versions, where=met, need="resume it with that one, or remove the folder", names=VERSIONS)
    left_out = "written" if planned else "support_labels"
    rest = {name: asked[name] for name in NAMES if name != left_out}
    check_identity(begun, rest, where=met, need="give the same, or remove the folder", names=NAMES)


def _run_hash(folder: Path) -> str:
    """Hash run.json, which holds the checksums of all else but in the oldest runs, and the weights."""
    require_finished(folder)
    files = filter(Path.is_file, (folder / "run.json", folder / "model.safetensors"))
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def _content(path: Path) -> str:
    """Hash a table; of Parquet the size, the beginning and the footer, which has the extremes of all columns."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        text = "\n".join(f"{file.relative_to(path)} {_content(file)}" for file in files)
        return hashlib.sha256(text.encode()).hexdigest()
    check_place(path)
    if not path.name.endswith((".parquet", ".pq")):
        return file_sha256(path)
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(HEAD))
        stream.seek(max(0, size - TAIL))
        length = int.from_bytes(stream.read(TAIL)[:4], "little")
        stream.seek(max(0, size - TAIL - length))
        digest.update(stream.read(length + TAIL))
    return digest.hexdigest()


def _name(path: Path) -> str:
    """Name of a file or folder, however it was spelled."""
    return Path(os.path.abspath(path)).name
