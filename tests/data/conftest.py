"""Small genomes and tables for the data layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def chromosomes() -> dict[str, str]:
    """chr1 of 2,000 known bases, chr2 of 400 N and 600 known ones, some of them in lower case."""
    letters = np.random.default_rng(1).choice(list("ACGTacgt"), 2600)
    return {"chr1": "".join(letters[:2000]), "chr2": "N" * 400 + "".join(letters[2000:])}


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromosomes: dict[str, str]) -> Path:
    """A working folder that holds genome.fa."""
    (tmp_path / "genome.fa").write_text(f">chr1\n{chromosomes['chr1']}\n>chr2 of a kind\n{chromosomes['chr2']}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path
