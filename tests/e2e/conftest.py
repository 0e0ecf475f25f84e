"""Comparisons without processes of their own, where these are not what is tested."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


class OneThread(ThreadPoolExecutor):
    """A pool of one thread that takes the arguments of a pool of processes."""

    def __init__(
        self, max_workers: int, mp_context: object, initializer: Callable[..., object], initargs: tuple[Any, ...]
    ) -> None:
        super().__init__(1, initializer=initializer, initargs=initargs)


@pytest.fixture
def jobs_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of a comparison runs in this process: another one takes seconds to import what this one has."""
    monkeypatch.setattr("episode.compare.jobs.ProcessPoolExecutor", OneThread)
