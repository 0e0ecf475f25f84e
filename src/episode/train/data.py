"""What a training run reads: roles, encoded elements, pairs as arrays, and what tells one run from another.

Knows nothing about models, steps or run folders.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from episode.checkpoint import DataIdentity
from episode.config import Config
from episode.data.dataset import Dataset
from episode.data.leakage import LeakageAuditor
from episode.data.manifest import Manifest
from episode.data.shortcuts import Shortcuts, shortcut_statistics
from episode.encode.motifs import MotifBank, load_bank
from episode.encode.store import ElementStore, build_store, row_shape
from episode.episodes.roles import Roles, assign_roles
from episode.inference.pairs import PairRows, pair_rows
from episode.inference.support_sampling import content_ranks
from episode.train.memory import check_memory

__all__ = ["RunIdentity", "TrainingData", "gather_data", "shared_validation"]

MAX_SHARED = 0.05
"""Fraction of validation rows that may share a locus with training."""
SHARED = (
    "{share:.0%} of the validation pairs share a locus with training pairs, too optimistic a test: so they are "
    "learned from, and whole loci are held out for validation instead"
)


class RunIdentity(DataIdentity):
    """What tells one training run from another."""

    config: Config
    seed: int


@dataclass(frozen=True)
class TrainingData:
    """A dataset as one training run reads it.

    Parameters
    ----------
    store : ElementStore
        Elements of the dataset, made with `bank`.
    shortcuts : Shortcuts
        Fitted on the rows `learning`.
    learning : ndarray of int64
        Rows of training and pseudo-OOD environments.
    pairs_sha256 : str
        Of the columns that training reads.
    rank : ndarray, shape (n,), int64
        Of every row, see `episode.inference.support_sampling.content_ranks`.
    notes : tuple of str
        What the user should know of how the data are used.
    """

    config: Config
    seed: int
    roles: Roles
    bank: MotifBank
    store: ElementStore
    shortcuts: Shortcuts
    rows: PairRows
    learning: np.ndarray
    manifest: Manifest
    genome_sha256: str | None
    pairs_sha256: str
    rank: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> int:
        """Labelled rows of `learning`."""
        return int((self.rows.label[self.learning] >= 0).sum())

    @property
    def train_share(self) -> float:
        """Prevalence over the labelled rows `learning`."""
        label = self.rows.label[self.learning]
        return float((label == 1).sum() / (label >= 0).sum())

    @property
    def identity(self) -> RunIdentity:
        """What must be equal for a training run to be resumed."""
        return RunIdentity(
            config=self.config,
            seed=self.seed,
            store=self.store.hash,
            sources=[source.sha256 for source in self.manifest.sources],
            pairs=self.pairs_sha256,
            windows=self.manifest.windows,
            genome=self.genome_sha256,
        )


def gather_data(
    dataset: Dataset, config: Config, seed: int, *, cache: Path | None = None, store: ElementStore | None = None
) -> TrainingData:
    """Assign roles, encode elements and turn pairs into arrays.

    Parameters
    ----------
    store : ElementStore, optional
        The encoded elements themselves; `cache` is not read.

    Raises
    ------
    EpisodeError
        If the data cannot train.
    ValueError
        If `store` has other elements or rows than the dataset and the configuration ask for.
    """
    rank = content_ranks(seed, dataset.digests, pair_rows(dataset))
    shared = shared_validation(dataset)
    roles = assign_roles(dataset.pairs, config.episodes, seed, order=rank, trust_split=shared <= MAX_SHARED)
    bank = load_bank(config.stem)
    check_memory(config, bank, dataset, roles)
    if store is None:
        store = build_store(dataset, bank, config.stem, cache)
    needed = (len(dataset.elements), row_shape(config.stem, bank))
    if (len(store), store.row_shape) != needed:
        raise ValueError(
            f"the store holds {len(store)} elements in rows of {store.row_shape}; "
            f"needed are {needed[0]} in rows of {needed[1]}"
        )
    learning = np.concatenate([pool.rows for pool in roles.training + roles.pseudo_ood])
    shortcuts = Shortcuts.fit(shortcut_statistics(dataset)[learning])
    used = dataset.pairs[["environment", "enhancer_id", "promoter_id", "mirrored", "label", "split", "distance"]]
    used = used.assign(label=used["label"].where(used["split"] != "test", -1))  # which training never reads
    return TrainingData(
        config=config,
        seed=seed,
        roles=roles,
        bank=bank,
        store=store,
        shortcuts=shortcuts,
        rows=pair_rows(dataset, shortcuts),
        learning=learning,
        manifest=dataset.manifest,
        genome_sha256=dataset.genome_hash,
        pairs_sha256=hashlib.sha256(pd.util.hash_pandas_object(used, index=False).to_numpy().tobytes()).hexdigest(),
        rank=rank,
        notes=(SHARED.format(share=shared),) if shared > MAX_SHARED else (),
    )


def shared_validation(dataset: Dataset) -> float:
    """Fraction of the rows of split "val" that share a locus with rows of training, in cell lines that train.

    Such rows say how well pairs at known loci are ranked in known cell lines, which is not what prediction is asked
    for. 0 where there are none, or where a cell line of "val" takes no part in training: then lines are held out.
    """
    split, line = (dataset.pairs[name].to_numpy() for name in ("split", "cell_line"))
    train, validation = (split == "") | (split == "train"), split == "val"
    if not validation.any() or not np.isin(line[validation], line[train]).all():
        return 0.0
    return LeakageAuditor(dataset).audit(train, validation).locus.share
