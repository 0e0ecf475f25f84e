"""Fixtures for all tests, and what holds for every process of a session."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of workers side by side and of the commands they start, before torch

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from episode.encode import motifs
from made_once import use_folder

settings.register_profile(
    "episode",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI", "").lower() == "true",
)
settings.load_profile("episode")


@pytest.fixture(scope="session", autouse=True)
def one_folder_for_all_workers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is made once a session lies where every worker finds it."""
    base = tmp_path_factory.getbasetemp()
    use_folder((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once")


@pytest.fixture(scope="session", autouse=True)
def jaspar_read_once() -> Iterator[None]:
    """The matrices of a JASPAR release are read, and the threshold of each is computed, once a process."""
    known: dict[tuple[bytes, float], float] = {}
    compute = motifs._threshold

    def threshold(log_odds: NDArray[np.float32], p: float) -> float:
        key = (log_odds.tobytes(), p)
        if key not in known:
            known[key] = compute(log_odds, p)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motifs, "_read_jaspar", functools.cache(motifs._read_jaspar))
        patch.setattr(motifs, "_threshold", threshold)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real DNA and labels: EPISODE_DATA, by default ../shared/data beside the repository.

    Where it is absent the test is skipped, but fails where CI says that nothing may be left out.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EPISODE_DATA", default))
    if not (folder / "bengi").is_dir():
        reason = f"no real data in {folder}; set EPISODE_DATA to the folder that holds bengi/ and hic_loops/"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Torch on one thread, as it was before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
