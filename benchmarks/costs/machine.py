"""What the machine is and can: cores, versions, and the peak of its matrix product.

Knows nothing about what is held against the peak.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "pyarrow", "pandas", "episode-epi")
SIZES = (512, 1024, 2048, 4096)


def facts(threads: int) -> dict[str, Any]:
    """Return what numbers of speed hang on."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def best_seconds(work: Callable[[], object], times: int) -> float:
    """Return the shortest of some repetitions."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


class Peak:
    """The fastest float32 matrix product seen so far, GFLOP/s; asked again between other measurements."""

    def __init__(self, quick: bool) -> None:
        import torch

        self.by_size = dict.fromkeys(SIZES[: 2 if quick else None], 0.0)
        self._torch = torch

    def look(self, times: int = 5) -> float:
        """Multiply square matrices of each size some times more, and return the best of all looks."""
        torch = self._torch
        for size in self.by_size:
            a, b, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
            seconds = best_seconds(partial(torch.mm, a, b, out=out), times)
            self.by_size[size] = max(self.by_size[size], 2 * size**3 / seconds / 1e9)
        return self.gflops

    @property
    def gflops(self) -> float:
        """The best of all sizes."""
        return max(self.by_size.values())

    def facts(self) -> dict[str, float]:
        """GFLOP/s by size of the square matrices."""
        return {str(size): value for size, value in self.by_size.items()}
