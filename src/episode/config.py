"""The configuration: frozen, typed, saved beside the weights, enough to rebuild the model.

An unknown key is an error with a "did you mean". This module does not know what the values are used for.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from episode.errors import ConfigError

__all__ = [
    "BackboneConfig",
    "Config",
    "EnvironmentConfig",
    "EpisodesConfig",
    "LossConfig",
    "StemConfig",
    "TrainConfig",
    "WindowConfig",
    "from_dict",
    "load_config",
    "override",
    "to_dict",
]


@dataclass(frozen=True)
class WindowConfig:
    """Which bases of an element are read. 0 means the whole element."""

    enhancer: int = 1024
    """Base pairs around the midpoint of the enhancer."""
    promoter: int = 4096
    """Base pairs around the midpoint of the promoter."""


@dataclass(frozen=True)
class StemConfig:
    """First layer: JASPAR position weight matrices as strand-aware filters."""

    release: str = "JASPAR2024"
    """JASPAR release, as named by pyJASPAR."""
    min_information: float = 10.0
    """Least information content of a matrix, in bits."""
    max_similarity: float = 0.8
    """Matrices more alike than this (column correlation at the best alignment) are thinned to one."""
    bin: int = 128
    """Base pairs of one token."""
