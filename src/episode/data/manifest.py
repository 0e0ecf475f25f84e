"""The manifest of a dataset: what it was made from, and how much is in it; see `docs/formats.md`.

Knows the keys of `manifest.json`; does not know how a dataset is assembled.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field, field_validator

from episode.config import WindowConfig
from episode.data.pairs import Source
from episode.integrity import Seal
from episode.schema import Model

__all__ = ["FORMAT_VERSION", "Counts", "GenomeFile", "Manifest", "ManifestFile"]

FORMAT_VERSION = 2
"""Of the folder; 1 had no checksums of its files."""
KNOWN = (1, FORMAT_VERSION)


class GenomeFile(Model):
    """The genome that elements were read from."""

    model_config = ConfigDict(extra="ignore")

    file: str | None
    """Name of the file; null if no genome was read."""
    sha256: str | None
    """Of the file's bytes, 64 hex digits; null if no genome was read."""
    assembly: str
    """"hg19" or "hg38" where the format of the tables names it, else empty."""


class Counts(Model):
    """How much is in a dataset, and how many rows of the tables are not."""

    model_config = ConfigDict(extra="ignore")

    pairs: int = Field(ge=0)
    enhancers: int = Field(ge=0)
    promoters: int = Field(ge=0)
    bases: int = Field(ge=0)
    """Bases of all elements together."""
    merged_duplicates: int = Field(ge=0)
    """Rows merged into an earlier one."""
    dropped_invalid: int = Field(ge=0)
    """Rows left out that break a rule."""
    outside_genome: dict[str, int]
    """Rows left out for lying outside the genome, by reason."""
    outside_genome_by_environment: dict[str, int]
    """The same by environment."""


class Manifest(Model):
    """What a dataset was made from; keys of later versions are ignored."""

    model_config = ConfigDict(extra="ignore")

    format_version: int
    created_by: str
    windows: WindowConfig
    sources: tuple[Source, ...]
    """Pair files in the order of the column `source` of the pairs, then the sequence files."""
    genome: GenomeFile
    counts: Counts

    @field_validator("format_version")
    @classmethod
    def _known(cls, version: int) -> int:
        if version not in KNOWN:
            raise ValueError(f"is {version}; this version of EPIsode reads {' and '.join(map(str, KNOWN))}")
        return version


class ManifestFile(Manifest, Seal):
    """The file manifest.json."""
