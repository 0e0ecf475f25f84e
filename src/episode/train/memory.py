"""What a training run needs of memory at least, known from its settings before anything of that size is made.

An estimate from below: what it refuses cannot work, what it lets through may still be too much. Knows nothing about
losses or the order of steps.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from episode.config import Config
from episode.data.dataset import Dataset
from episode.encode.bins import bin_count
from episode.encode.motifs import MotifBank
from episode.episodes.roles import Roles
from episode.errors import ConfigError
from episode.limits import STEP_BYTES

__all__ = ["check_memory", "needed_bytes"]

COPIES = 5
"""Of each weight: itself, its gradient, two moments, and the best so far."""
FLOAT = 4


def check_memory(config: Config, bank: MotifBank, dataset: Dataset, roles: Roles) -> None:
    """Refuse settings that no machine, or on the CPU not this one, can train with.

    Raises
    ------
    ConfigError
        With the largest part of what they need, and the settings it grows with.
    """
    needed = needed_bytes(config, bank, dataset, roles)
    there = STEP_BYTES
    if config.training.accelerator == "cpu" or not torch.cuda.is_available():
        there = min(there, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    if sum(needed.values()) > there:
        what, size = max(needed.items(), key=lambda item: item[1])
        raise ConfigError(
            f"these settings need at least {sum(needed.values()) / 2**30:,.0f} GiB of memory, of which {what} "
            f"{size / 2**30:,.0f} GiB; there are {there / 2**30:,.0f} GiB"
        )


def needed_bytes(config: Config, bank: MotifBank, dataset: Dataset, roles: Roles) -> dict[str, int]:
    """Bytes needed at least, by what they are needed for and the settings that this grows with.

    Weights are those of matrices alone.
    """
    stem, body, around, episodes = config.stem, config.backbone, config.environment, config.episodes
    channels = (len(bank) if stem.reads_matrices else 0) + (0 if stem.kind == "motif" else stem.filters)
    environments, width = len(roles.training), body.width
    size = body.summary + 3 * body.bilinear + 2 * channels
    weights = 2 * (2 * channels * (width + body.bilinear) + 8 * width**2 + body.anchors * width * body.summary)
    weights += body.kan_inputs * (body.summary + 3 * body.bilinear) + size * config.impedance.channels
    weights += around.width * (size + 18 * around.width + around.inducing + config.impedance.channels)
    pools = [len(pool.rows) for pool in roles.training + roles.pseudo_ood]
    pairs = config.training.tasks_per_step * min(episodes.query, min(pools)) // 2
    support = min(episodes.support_max, max(pools))
    length = dataset.elements["length"].to_numpy(np.int64)
    kind = dataset.elements["kind"].to_numpy()
    bins = {name: int(bin_count(length[kind == name], stem.bin).max()) for name in ("enhancer", "promoter")}
    encoded = sum(min(pairs, int((kind == name).sum())) // 2 * count for name, count in bins.items())
    return {
        "the weights (backbone, environment, impedance.channels)": COPIES * FLOAT * weights,
        "the encoded elements of a step (training.tasks_per_step, episodes.query, backbone.width; larger stem.bin)": (
            FLOAT * encoded * (2 * channels + 3 * width)
        ),
        "the attention of a step (training.tasks_per_step, episodes.query, backbone.heads; larger stem.bin)": (
            FLOAT * pairs * body.heads * bins["enhancer"] * bins["promoter"]
        ),
        "the outputs of the Backbone (pairs of the dataset, backbone.bilinear)": FLOAT * sum(pools) * size,
        "the Teacher (environment.prototypes, environment.width)": (
            FLOAT * environments * around.prototypes * (environments + around.width)
        ),
        "the set encoder (episodes.support_max, environment.inducing, environment.heads)": (
            FLOAT * support * around.inducing * around.heads
        ),
    }
