"""Which environment plays which role in training: known to the Teacher, pseudo-OOD, or validation.

Cell lines are the unit (all assays of one go together), chosen by a seed from their names. Test rows never come here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from episode.config import EpisodesConfig
from episode.data.splits import held_out_part
from episode.episodes.sampler import EnvironmentPool
from episode.errors import DatasetError
from episode.seeds import derive_seed

__all__ = ["BUFFER", "SPAN", "Roles", "assign_roles", "environment_pools"]

MANY_CELL_LINES = 8
BUFFER = 2_000_000
"""Base pairs between training and validation loci on one chromosome."""
SPAN = 0.05
"""Of a chromosome: the most that lies between loci that are learned and loci that are not, however short it is."""


@dataclass(frozen=True)
class Roles:
    """The outcome of `assign_roles`; pools hold rows of the dataset's pair table.

    Parameters
    ----------
    training, pseudo_ood, validation : tuple of EnvironmentPool
        Disjoint by rows; `training` pools are numbered in the Teacher's table.
    calibration : tuple of EnvironmentPool
        Held-out rows of every cell line, those of `validation` among them: loci that nothing was trained on.
    unused : tuple of EnvironmentPool
        Training rows of validation cell lines: nothing learns from them.
    unseen_validation : bool
        Validation cell lines take no part in training (else only their loci are held out).
    """

    training: tuple[EnvironmentPool, ...]
    pseudo_ood: tuple[EnvironmentPool, ...]
    validation: tuple[EnvironmentPool, ...]
    calibration: tuple[EnvironmentPool, ...]
    unused: tuple[EnvironmentPool, ...]
    unseen_validation: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Environments known to the Teacher, in the order of its table."""
        return tuple(pool.name for pool in self.training)


def assign_roles(
    pairs: pd.DataFrame,
    config: EpisodesConfig,
    seed: int,
    *,
    order: np.ndarray | None = None,
    trust_split: bool = True,
) -> Roles:
    """Assign roles to the rows of a dataset.

    Parameters
    ----------
    pairs : DataFrame
        Pair table of a dataset; rows whose split is "test" are left out.
    order : ndarray, shape (n,), optional
        Rank of each row: the rows of a validation pool are sorted by it, so that its first ones are its support.
    trust_split : bool
        Validate on the rows of split "val", where there are any; else these are learned from as those of "train" are,
        and loci are held out for validation, `BUFFER` or `SPAN` of a chromosome away.

    Raises
    ------
    DatasetError
        If the rows left for training do not have both labels.
    """
    split = pairs["split"].to_numpy()
    train = (split == "") | (split == "train")
    validation = split == "val"
    if not trust_split:
        train, validation = train | validation, validation & False
    if not train.any():
        raise DatasetError('no training rows: every row has split "val" or "test"')
    if not validation.any():
        span = 1.0 if trust_split else SPAN
        validation, near = held_out_part(pairs, train, share=config.validation_loci, gap=BUFFER, seed=seed, span=span)
        train &= ~(validation | near)
        if not train.any():
            raise DatasetError(
                "too little of each chromosome to hold validation loci out; give the table a split column (train, val)"
            )
    cell_line = pairs["cell_line"].to_numpy()
    lines = sorted(map(str, np.unique(cell_line[train])), key=lambda name: derive_seed(seed, "roles", name))
    with_validation = set(np.unique(cell_line[validation]))
    held_out: set[str] = with_validation - set(lines)
    if not held_out and len(lines) >= MANY_CELL_LINES and config.validation_share > 0:
        able = [line for line in lines if line in with_validation]
        held_out = set(able[: min(len(lines) - 2, max(2, round(config.validation_share * len(lines))))])
    remaining = [line for line in lines if line not in held_out]
    pseudo: set[str] = set()
    if len(remaining) > 1 and config.pseudo_ood > 0:
        pseudo = set(remaining[: min(len(remaining) - 1, max(1, round(config.pseudo_ood_share * len(remaining))))])
    known = [line for line in remaining if line not in pseudo]
    used = train & np.isin(cell_line, remaining)
    if set(np.unique(pairs["label"].to_numpy()[used])) - {-1} != {0, 1}:
        raise DatasetError("training needs pairs of both labels, 1 and 0; the rows left for training lack one")
    judged = sorted(held_out) if held_out else sorted(remaining)
    return Roles(
        training=environment_pools(pairs, train & np.isin(cell_line, known), teacher=True),
        pseudo_ood=environment_pools(pairs, train & np.isin(cell_line, sorted(pseudo))),
        validation=environment_pools(pairs, validation & np.isin(cell_line, judged), order=order),
        calibration=environment_pools(pairs, validation, order=order),
        unused=environment_pools(pairs, train & np.isin(cell_line, sorted(held_out))),
        unseen_validation=bool(held_out),
    )


def environment_pools(
    pairs: pd.DataFrame, mask: np.ndarray, *, teacher: bool = False, order: np.ndarray | None = None
) -> tuple[EnvironmentPool, ...]:
    """Divide chosen rows of a pair table by environment, sorted by name.

    Parameters
    ----------
    mask : ndarray, shape (n,), bool
    teacher : bool
        Number the environments for the Teacher's table.
    order : ndarray, shape (n,), optional
        Rank of each row, by which the rows of a pool are sorted.
    """
    chosen = np.flatnonzero(mask)
    environment = pairs["environment"].to_numpy()[chosen]
    pools = []
    for index, name in enumerate(np.unique(environment)):
        rows = chosen[environment == name]
        if order is not None:
            rows = rows[np.argsort(order[rows], kind="stable")]
        pools.append(
            EnvironmentPool(
                name=str(name),
                rows=rows.astype(np.int64),
                locus=pairs["locus"].to_numpy()[rows].astype(np.int64),
                label=pairs["label"].to_numpy()[rows].astype(np.int8),
                teacher=index if teacher else None,
            )
        )
    return tuple(pools)
