"""Independent work distributed over threads: whole blocks of it, not single operations.

Operations of the size met here spend much of their time waiting for each other where torch divides each of them, most
of all on a busy machine. This module does NOT know what the work is; it imports torch where it is used, since every
command asks for the number of cores.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads", "torch_threads", "usable_cores"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity where the system has that, else of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Do work on each item, in as many threads as torch would use here.

    Every operation runs in one thread, so that a result is the same to the last bit for any number of them. No gradient
    is recorded. Autocast does not reach other threads: not for use under it.

    Parameters
    ----------
    work : callable
        Takes an item; neither its result nor what it changes may depend on the other items.

    Returns
    -------
    list
        Results in the order of the items.

    Raises
    ------
    Exception
        What the work raised of the first item of which it raised anything; items not yet begun are left.
    """
    import torch

    alone = torch.no_grad()(work)
    threads = min(torch.get_num_threads(), len(items))
    with torch_threads(1):
        if threads < 2:
            return [alone(item) for item in items]
        # torch and its matrix products take their number of threads when a new thread first asks for it
        with ThreadPoolExecutor(threads, initializer=torch.get_num_threads) as pool:
            return list(pool.map(alone, items))


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads in the block, as many as before if 0."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
