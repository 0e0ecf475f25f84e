"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


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
