"""The file of a protocol: a small TOML or JSON table, read and checked.

This module knows neither pairs nor models.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from episode.compare.results import MethodResults
from episode.errors import ConfigError
from episode.limits import DRAWS, ELEMENT_BASES
from episode.metrics.intervals import METRICS
from episode.schema import Model, read_model, refusal

__all__ = [
    "MATCHED",
    "BootstrapConfig",
    "CollapseConfig",
    "DataConfig",
    "HoldoutConfig",
    "LeakageConfig",
    "MatchConfig",
    "Protocol",
    "SelectionConfig",
    "Subset",
    "load_protocol",
    "shipped_protocols",
]

CHROMOSOME = 1_000_000_000_000
"""More base pairs than any chromosome has."""
MATCHED = "distance_matched"
"""Name of the subset with as many negatives as positives in each bin of distance."""
UNSEEN_LOCI, SEEN_LOCI = "unseen_loci", "seen_loci"
"""Names of the subsets by what the training pairs of a row's own fold have seen of it."""
TAKEN = (MATCHED, UNSEEN_LOCI, SEEN_LOCI, *MethodResults.model_fields, *METRICS)
"""Keys of a method in the results: no subset may be called so."""


def _check_groups(groups: list[list[str]]) -> list[list[str]]:
    names = [name for group in groups for name in group]
    if len(set(names)) != len(names):
        raise ValueError(f"a name occurs twice in {groups!r}")
    if len(groups) == 1:
        raise ValueError("needed at least two groups, so that one trains while one tests")
    return groups


Groups = Annotated[list[Annotated[list[str], Field(min_length=1)]], AfterValidator(_check_groups)]


class DataConfig(Model):
    """How raw tables are read where a protocol is given tables instead of a dataset folder."""

    format: str = ""
    """Format of the tables; empty for what they look like."""
    enhancer_window: Annotated[int, Field(ge=0, le=ELEMENT_BASES)] = 1024
    """Base pairs around the midpoint of the enhancer, 0 for the whole element."""
    promoter_window: Annotated[int, Field(ge=0, le=ELEMENT_BASES)] = 4096
    """The same for the promoter."""
    outside_genome: Literal["report", "error"] = "report"
    """Pairs outside the genome: "report" (left out and listed) or "error"."""
    max_unknown: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Max fraction of N in an element."""


class HoldoutConfig(Model):
    """What is held out."""

    by: Literal["groups", "cell-lines", "split"] = "groups"
    """"groups" of cell lines and chromosomes, each of the "cell-lines" of the data by itself (loci are then shared
    between training and test), or the "split" column of the data (train, val, test)."""
    test_cell_lines: list[str] = Field(default_factory=list, exclude_if=lambda names: not names)
    """With by = "cell-lines": those that are tested. None: every one. All others train in either case."""
    balance: bool = Field(default=False, exclude_if=lambda on: not on)
    """Draw, in the training and in the test rows of each fold, as many rows of the larger class as the smaller has."""
    cell_lines: Groups = Field(default_factory=list)
    """Groups of cell lines; each is tested once on every set of chromosomes. None: cell lines are not held out."""
    chromosomes: Groups = Field(default_factory=list)
    """Sets of chromosomes. None: chromosomes are not held out."""

    @model_validator(mode="after")
    def _groups_or_split(self) -> Self:
        if self.by != "groups" and (self.cell_lines or self.chromosomes):
            raise ValueError(f'cell_lines and chromosomes have no meaning beside by = "{self.by}"')
        if self.by != "cell-lines" and self.test_cell_lines:
            raise ValueError(f'test_cell_lines has no meaning beside by = "{self.by}"; needed by = "cell-lines"')
        return self


class SelectionConfig(Model):
    """What a choice inside a fold is judged on, where the data bring no "val" split."""

    by: Literal["chromosome", "row"] = Field(default="chromosome", exclude_if=lambda by: by == "chromosome")
    """What is held out for choosing: the end of each training "chromosome", by number of pairs, or single training
    rows ("row"), drawn from seed 0: then it shares loci with what is learned from, and no gap is kept."""
    share: Annotated[float, Field(ge=1e-6, lt=1)] = 1 / 3
    """Fraction that is held out, of each training chromosome or of the training rows."""
    gap: Annotated[int, Field(ge=0, le=CHROMOSOME)] = 2_000_000
    """Base pairs between that part of a chromosome and what is learned from."""


class BootstrapConfig(Model):
    """The intervals."""

    block: Annotated[int, Field(ge=1, le=CHROMOSOME)] = 5_000_000
    """Base pairs of a block, by the midpoint of the upstream element."""
    draws: Annotated[int, Field(ge=1, le=DRAWS)] = 2000


class LeakageConfig(Model):
    """What is done about test rows that occur in training."""

    policy: Literal["refuse", "audit"] = "refuse"
    """"refuse" a split that leaks, or "audit" it: count, mark and go on."""


class Subset(Model):
    """Rows that are reported by themselves: those that pass every test that is given."""

    title: str = ""
    """What the subset is, in words."""
    column: str = ""
    """Column that is tested; enhancer_length and promoter_length (bp, from the coordinates) may be named too."""
    contains: str = ""
    """Text that the column must contain."""
    equals: str = ""
    """Text that the column must be."""
    same_as: str = ""
    """Another column that must hold the same value."""
    with_positives: bool = False
    """Keep every positive, whatever the test says."""

    @model_validator(mode="after")
    def _has_a_test(self) -> Self:
        if not self.column or not (self.contains or self.equals or self.same_as):
            raise ValueError("needed column and one of contains, equals, same_as")
        return self


class MatchConfig(Model):
    """The subset `distance_matched`: as many negatives as positives in each bin of log distance."""

    bins: Annotated[int, Field(ge=0, le=DRAWS)] = 0
    """Bins of equal width in log10(bp), over all pairs with a distance; 0 leaves the subset out."""


class CollapseConfig(Model):
    """One row for each enhancer and gene, where tables have one for each transcript."""

    column: str = ""
    """Column that names the gene."""
    pattern: str = "(.+)"
    """Regular expression whose first group is the gene."""

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r}: {error}") from None
        if groups < 1:
            raise ValueError(f"needed a group in {pattern!r}")
        return pattern


class Protocol(Model):
    """A protocol as its file says it; the field names are the keys of the file."""

    name: str = ""
    """Empty for the name of the file."""
    title: str = ""
    sentence: str = ""
    """What is held out, in one sentence for the reader of a table."""
    data: DataConfig = DataConfig()
    holdout: HoldoutConfig = HoldoutConfig()
    selection: SelectionConfig = SelectionConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    leakage: LeakageConfig = LeakageConfig()
    subsets: dict[str, Subset] = Field(default_factory=dict)
    distance_matched: MatchConfig = MatchConfig()
    collapse: CollapseConfig = CollapseConfig()
    preset: str = ""
    """Preset that the settings of EPIsode begin with."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of EPIsode under this protocol that are not those of the preset, as in a configuration file."""

    @model_validator(mode="after")
    def _holds_something_out(self) -> Self:
        if self.holdout.by == "groups" and not (self.holdout.cell_lines or self.holdout.chromosomes):
            raise ValueError("nothing is held out; give holdout.cell_lines and holdout.chromosomes")
        for name in self.subsets:
            if name in TAKEN:
                raise refusal(f"subsets.{name}", "the name is taken")
        return self


def shipped_protocols() -> dict[str, Path]:
    """Name and file of the protocols that come with the package."""
    folder = Path(str(resources.files("episode.compare").joinpath("protocols")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_protocol(name: str) -> Protocol:
    """Read a protocol by its shipped name or from a TOML or JSON file.

    Raises
    ------
    ConfigError
        If there is no such protocol or file, a key is unknown, or a value is impossible.
    """
    shipped = shipped_protocols()
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise ConfigError(f"protocol {name!r}: no such file, and none of those that are shipped: {', '.join(shipped)}")
    protocol = read_model(path, Protocol)
    return protocol if protocol.name else protocol.changed(name=path.stem)
