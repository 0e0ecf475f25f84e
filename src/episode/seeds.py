"""Seeds that derive from names, so that a new consumer of randomness does not shift the others.

Nothing here touches a global generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

__all__ = ["derive_seed", "derive_seeds", "generator"]


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive a seed for one named use.

    Parameters
    ----------
    seed : int
        The user's seed.
    *names : str or int
        What the randomness is for, such as ``("episode", 17)``.

    Returns
    -------
    int
        In [0, 2**63).
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derive_seeds(seed: int, names: Iterable[bytes]) -> np.ndarray:
    """Return what `derive_seed` gives for each of many single names (UTF-8), shape (n,), int64."""
    sha256, head = hashlib.sha256, f"{seed}\x1f".encode()
    digests = b"".join([sha256(head + name).digest()[:8] for name in names])
    return (np.frombuffer(digests, dtype=">u8") >> 1).astype(np.int64)


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a fresh NumPy generator for one named use (see `derive_seed`)."""
    return np.random.default_rng(derive_seed(seed, *names))
