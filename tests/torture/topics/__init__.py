"""The topics: each module makes cases from small lists, so that one more is one more line."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import zlib
from collections.abc import Mapping
from pathlib import Path

from torture.case import Case

__all__ = ["gather"]

CHEAP = {"tables", "values", "names", "foreign", "genomes", "options", "folders"}
"""Topics of which a part belongs to the fast cases."""
SHARE = 36
"""One case in so many, chosen by its name."""


def gather(bases: Mapping[str, Path]) -> list[Case]:
    """Return all cases; names are unique within a topic."""
    found: dict[tuple[str, str], Case] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name == "common":
            continue
        for case in importlib.import_module(f"{__name__}.{module.name}").cases(bases):
            key = case.topic, case.name
            if key in found:
                raise ValueError(f"two cases are called {key}")
            fast = case.topic in CHEAP and zlib.crc32("/".join(key).encode()) % SHARE == 0
            found[key] = dataclasses.replace(case, fast=case.fast or fast)
    return list(found.values())
