"""The file of a protocol: a small TOML or JSON table, read and checked.

This module knows neither pairs nor models.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from episode.config import from_dict
from episode.errors import ConfigError
from episode.files import read_json
from episode.metrics.intervals import METRICS

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

MATCHED = "distance_matched"
"""Name of the subset with as many negatives as positives in each bin of distance."""
HELD_OUT = ("cell_lines", "chromosomes")
TAKEN = (MATCHED, "macro", "pooled", "n", "seeds", "spread", "note", "group", "seconds", *METRICS)
"""Keys of a row of the results: no subset may be called so."""


@dataclass(frozen=True)
class DataConfig:
    """How raw tables are read where a protocol is given tables instead of a dataset folder."""

    format: str = ""
    """Format of the tables; empty for what they look like."""
    enhancer_window: int = 1024
    """Base pairs around the midpoint of the enhancer, 0 for the whole element."""
    promoter_window: int = 4096
    """The same for the promoter."""
    outside_genome: str = "report"
    """Pairs outside the genome: "report" (left out and listed) or "error"."""
    max_unknown: float = 0.0
    """Largest share of N that an element may have."""


@dataclass(frozen=True)
class HoldoutConfig:
    """What is held out."""

    by: str = "groups"
    """"groups" of cell lines and chromosomes, or the "split" column of the data (train, val, test)."""
    cell_lines: list[list[str]] = field(default_factory=list)
    """Groups of cell lines; each is tested once on every set of chromosomes. None: cell lines are not held out."""
    chromosomes: list[list[str]] = field(default_factory=list)
    """Sets of chromosomes. None: chromosomes are not held out."""


@dataclass(frozen=True)
class SelectionConfig:
    """What a choice inside a fold is judged on, where the data bring no "val" split."""

    share: float = 1 / 3
    """Share of each training chromosome, its end by number of pairs, that is held out for choosing."""
    gap: int = 2_000_000
    """Base pairs between that part and what is learned from."""


@dataclass(frozen=True)
class BootstrapConfig:
    """The intervals."""

    block: int = 5_000_000
    """Base pairs of a block, by the midpoint of the upstream element."""
    draws: int = 2000


@dataclass(frozen=True)
class LeakageConfig:
    """What is done about test rows that stand in training."""

    policy: str = "refuse"
    """"refuse" a split that leaks, or "audit" it: count, mark and go on."""


@dataclass(frozen=True)
class Subset:
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


@dataclass(frozen=True)
class MatchConfig:
    """The subset `distance_matched`: as many negatives as positives in each bin of log distance."""

    bins: int = 0
    """Bins of equal width in log10(bp), over all pairs with a distance; 0 leaves the subset out."""


@dataclass(frozen=True)
class CollapseConfig:
    """One row for each enhancer and gene, where tables have one for each transcript."""

    column: str = ""
    """Column that names the gene."""
    pattern: str = "(.+)"
    """Regular expression whose first group is the gene."""


@dataclass(frozen=True)
class Protocol:
    """A protocol as its file says it; the field names are the keys of the file."""

    name: str
    title: str = ""
    sentence: str = ""
    """What is held out, in one sentence for the reader of a table."""
    data: DataConfig = field(default_factory=DataConfig)
    holdout: HoldoutConfig = field(default_factory=HoldoutConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    leakage: LeakageConfig = field(default_factory=LeakageConfig)
    subsets: dict[str, Subset] = field(default_factory=dict)
    distance_matched: MatchConfig = field(default_factory=MatchConfig)
    collapse: CollapseConfig = field(default_factory=CollapseConfig)
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of EPIsode under this protocol, as in a configuration file."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries."""
        return asdict(self)


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
    try:
        content = read_json(path) if path.suffix == ".json" else tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: needed a table of settings, got {type(content).__name__}")
    subsets, settings, holdout = (content.pop(key, {}) for key in ("subsets", "settings", "holdout"))
    tables = {"subsets": subsets, "settings": settings, "holdout": holdout}
    if isinstance(subsets, dict):
        tables |= {f"subsets.{key}": value for key, value in subsets.items()}
    for key, value in tables.items():
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {key}: needed a table of settings, got {value!r}")
    groups = {key: _groups(holdout.pop(key, []), f"{path}: holdout.{key}") for key in HELD_OUT}
    content.setdefault("name", path.stem)
    protocol = from_dict(content, Protocol, where=str(path))
    held = replace(from_dict(holdout, HoldoutConfig, where=f"{path}.holdout"), **groups)
    named = {key: from_dict(value, Subset, where=f"{path}.subsets.{key}") for key, value in subsets.items()}
    protocol = replace(protocol, holdout=held, subsets=named, settings=settings)
    _check(protocol, path)
    return protocol


def _groups(value: Any, where: str) -> list[list[str]]:
    if not (isinstance(value, list) and all(isinstance(item, list) and item for item in value)):
        raise ConfigError(f"{where}: needed a list of lists of names, got {value!r}")
    names = [name for item in value for name in item]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}: needed names, got {value!r}")
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: a name stands twice in {value!r}")
    return value


def _check(protocol: Protocol, path: Path) -> None:
    holdout, subsets = protocol.holdout, protocol.subsets
    allowed: Mapping[str, tuple[str, tuple[str, ...]]] = {
        "holdout.by": (holdout.by, ("groups", "split")),
        "leakage.policy": (protocol.leakage.policy, ("refuse", "audit")),
        "data.outside_genome": (protocol.data.outside_genome, ("report", "error")),
    }
    for key, (value, choices) in allowed.items():
        if value not in choices:
            raise ConfigError(f"{path}: {key}: needed one of {', '.join(choices)}, got {value!r}")
    if holdout.by == "split" and (holdout.cell_lines or holdout.chromosomes):
        raise ConfigError(f'{path}: holdout: cell_lines and chromosomes have no meaning beside by = "split"')
    if not 0 <= protocol.data.max_unknown < 1:
        raise ConfigError(f"{path}: data.max_unknown: needed a share below 1, got {protocol.data.max_unknown}")
    if holdout.by == "groups" and not (holdout.cell_lines or holdout.chromosomes):
        raise ConfigError(f"{path}: nothing is held out; give holdout.cell_lines and holdout.chromosomes")
    for key, groups in (("cell_lines", holdout.cell_lines), ("chromosomes", holdout.chromosomes)):
        if len(groups) == 1:
            raise ConfigError(f"{path}: holdout.{key}: needed at least two groups, so that one trains while one tests")
    if not 0 < protocol.selection.share < 1 or protocol.selection.gap < 0:
        raise ConfigError(f"{path}: selection: needed 0 < share < 1 and gap >= 0, got {protocol.selection}")
    if protocol.bootstrap.block < 1 or protocol.bootstrap.draws < 1:
        raise ConfigError(f"{path}: bootstrap: needed block and draws of at least 1, got {protocol.bootstrap}")
    if protocol.distance_matched.bins < 0:
        raise ConfigError(f"{path}: distance_matched.bins: needed 0 or more, got {protocol.distance_matched.bins}")
    try:
        if re.compile(protocol.collapse.pattern).groups < 1:
            raise ConfigError(f"{path}: collapse.pattern: needed a group in {protocol.collapse.pattern!r}")
    except re.error as error:
        raise ConfigError(f"{path}: collapse.pattern {protocol.collapse.pattern!r}: {error}") from None
    for name, subset in subsets.items():
        if name in TAKEN:
            raise ConfigError(f"{path}: subsets.{name}: the name is taken")
        if not subset.column or not (subset.contains or subset.equals or subset.same_as):
            raise ConfigError(f"{path}: subsets.{name}: needed column and one of contains, equals, same_as")
