"""A protocol applied to a dataset: its folds, the leaks between them, its subsets.

A fold holds out cell lines AND chromosomes, cell lines alone, or takes the split that the data came with. This module
knows no model and no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from episode.compare.protocol import MATCHED, SEEN_LOCI, UNSEEN_LOCI, Protocol, Subset
from episode.compare.results import SEEN, Audit, FoldAudit
from episode.data.dataset import Dataset
from episode.data.leakage import LeakageAuditor
from episode.data.splits import check_names, held_out_part, select_rows
from episode.errors import EpisodeError
from episode.seeds import generator

__all__ = ["Fold", "audit_folds", "collapse", "locus_masks", "make_folds", "subset_masks"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """One division of the pairs of a dataset.

    Parameters
    ----------
    name : str
        Short; names files.
    train : bool array, shape (n_pairs,)
        Every row that a final model may be learned from.
    fit, selection : bool array, shape (n_pairs,)
        While something is being chosen: learn from `fit`, judge on `selection`. Disjoint from each other and from
        `test`. With held-out groups both are parts of `train`: `selection` is the held-out part of the training
        chromosomes in one group of training cell lines (that of the fewest pairs), and `fit` holds neither that part
        nor that group. With held-out cell lines alone `selection` is `held_out`, and `fit` the rest of `train` without
        the gap. With a split column `fit` is `train` and `selection` is the split "val".
    held_out : bool array, shape (n_pairs,)
        The held-out part of the training rows in all training cell lines (the split "val").
    gap : bool array, shape (n_pairs,)
        Rows of `train` too near to `held_out` to be learned from while something is judged on it.
    test : bool array, shape (n_pairs,)
    title : str
        What is tested.
    """

    name: str
    train: Mask
    fit: Mask
    selection: Mask
    held_out: Mask
    gap: Mask
    test: Mask
    title: str = ""

    @property
    def learnable(self) -> Mask:
        """Rows whose labels a runner may read: those learned from and those chosen on."""
        return self.train | self.selection | self.held_out


def make_folds(protocol: Protocol, dataset: Dataset) -> list[Fold]:
    """Divide the pairs of a dataset as a protocol says.

    Raises
    ------
    EpisodeError
        If a named cell line or chromosome is not in the dataset, the dataset has one cell line where each is to be
        tested by the others, or a fold has no training or no test rows.
    """
    ways = {"split": _folds_by_split, "cell-lines": _folds_by_cell_lines, "groups": _folds_by_groups}
    folds = ways[protocol.holdout.by](protocol, dataset)
    label = dataset.pairs["label"].to_numpy()
    for fold in folds:
        for part, mask in (("training", fold.train), ("test", fold.test)):
            if not (mask & (label >= 0)).any():
                raise EpisodeError(f"{fold.name} ({fold.title}): no labelled {part} pair")
        if set(label[fold.train]) - {-1} != {0, 1}:
            raise EpisodeError(f"{fold.name} ({fold.title}): the training pairs are all of one class; both are needed")
    return folds


def audit_folds(protocol: Protocol, dataset: Dataset, folds: Sequence[Fold], *, allow: bool) -> Audit:
    """Count the test rows of every fold whose elements are in its training rows; refuse a split that leaks.

    Parameters
    ----------
    allow : bool
        Continue with a leaking split under the policy "refuse"; the audit then says so.

    Raises
    ------
    EpisodeError
        If elements of test rows are in training rows, the policy is "refuse", and `allow` is not given.
    """
    auditor = LeakageAuditor(dataset)
    audits: list[FoldAudit] = []
    for fold in folds:
        leak = auditor.audit(fold.learnable, fold.test)
        seen = {key: getattr(leak, key).share for key in SEEN}
        audits.append(FoldAudit(fold=fold.name, title=fold.title, train=leak.rows_a, test=leak.rows_b, **seen))
    leaks = [audit for audit in audits if audit.leaks]
    if leaks and protocol.leakage.policy == "refuse" and not allow:
        worst = max(leaks, key=lambda audit: max(audit.enhancer, audit.promoter, audit.locus))
        raise EpisodeError(
            f"protocol {protocol.name} leaks in {len(leaks)} of {len(folds)} folds: in {worst.fold} "
            f"({worst.title}) {worst.enhancer:.1%} of the test rows have an enhancer, "
            f"{worst.promoter:.1%} a promoter, {worst.pair:.1%} a pair and {worst.locus:.1%} a locus that "
            "training has seen; hold out chromosomes as well as cell lines, or give --allow-leakage and have the table "
            "say so"
        )
    return Audit(
        policy=protocol.leakage.policy,
        allowed=bool(leaks) and protocol.leakage.policy == "refuse",
        locus_leak=bool(leaks),
        folds=audits,
    )


def locus_masks(dataset: Dataset, folds: Sequence[Fold]) -> dict[str, Mask]:
    """Divide the test rows by whether an element overlaps one of the training rows of the fold that tests the row.

    Returns
    -------
    dict of str to bool array, shape (n_pairs,)
        `UNSEEN_LOCI` (neither element does) and `SEEN_LOCI` (some does); empty where no labelled test row is of the
        one kind or of the other.
    """
    auditor = LeakageAuditor(dataset)
    tested, seen = (np.zeros(len(dataset.pairs), dtype=bool) for _ in range(2))
    for fold in folds:
        tested |= fold.test
        seen |= fold.test & auditor.shares_locus(fold.learnable)
    masks = {UNSEEN_LOCI: tested & ~seen, SEEN_LOCI: seen}
    known = (dataset.pairs["label"] >= 0).to_numpy()
    return masks if all((mask & known).any() for mask in masks.values()) else {}


def subset_masks(protocol: Protocol, dataset: Dataset, test: Mask, *, seed: int) -> dict[str, Mask]:
    """Return the test rows of every subset of a protocol, the distance-matched one among them.

    Parameters
    ----------
    test : bool array, shape (n_pairs,)
        Test rows of all folds.
    seed : int
        Decides which negatives of a distance bin are kept.
    """
    masks = {name: test & _subset(dataset, subset, name) for name, subset in protocol.subsets.items()}
    if protocol.distance_matched.bins:
        masks[MATCHED] = _distance_matched(dataset.pairs, test, protocol.distance_matched.bins, seed)
    return masks


def collapse(protocol: Protocol, dataset: Dataset) -> Dataset:
    """Keep one row for each environment, enhancer and gene: positive if any of its transcripts is.

    The row that stays is that of the lowest promoter start, whatever its label.

    Raises
    ------
    EpisodeError
        If the protocol names no column, the data lack it, or a value does not hold a gene.
    """
    how = protocol.collapse
    pairs = dataset.pairs
    if not how.column:
        raise EpisodeError(f"protocol {protocol.name} does not say which column names the gene ([collapse] column)")
    if how.column not in pairs:
        raise EpisodeError(f"the pairs have no column {how.column!r} to collapse by")
    gene = pairs[how.column].astype(str).str.extract(how.pattern, expand=True)[0]
    if gene.isna().any():
        first = int(gene.isna().argmax())
        value = pairs[how.column].iloc[first]
        raise EpisodeError(f"column {how.column}, pair {first}: {value!r} does not match {how.pattern!r}")
    key = pd.MultiIndex.from_arrays([pairs["environment"], pairs["enhancer_id"], gene])
    group = pd.Series(pd.factorize(key)[0], index=pairs.index)
    order = pairs.assign(group=group).sort_values(["group", "promoter_start", "promoter_end"], kind="stable")
    kept = np.sort(order.drop_duplicates("group").index.to_numpy())
    label = pairs["label"].groupby(group).max()
    mask = np.zeros(len(pairs), dtype=bool)
    mask[kept] = True
    chosen = dataset.select(mask)
    collapsed = chosen.pairs.assign(label=label.loc[group.iloc[kept]].to_numpy(np.int8))
    return replace(chosen, pairs=collapsed)


def _folds_by_split(protocol: Protocol, dataset: Dataset) -> list[Fold]:
    split = dataset.pairs["split"].to_numpy()
    train, validation, test = (split == name for name in ("train", "val", "test"))
    for name, mask in (("train", train), ("val", validation), ("test", test)):
        if not mask.any():
            raise EpisodeError(f'the protocol goes by the split column, and no pair has split "{name}"')
    if protocol.holdout.balance:
        train, validation, test = (
            _balanced(dataset.pairs, mask, "test", name)
            for mask, name in ((train, "train"), (validation, "val"), (test, "test"))
        )
    nothing = np.zeros(len(split), dtype=bool)
    return [Fold("test", train, train, validation, validation, nothing, test, "split test")]


def _folds_by_cell_lines(protocol: Protocol, dataset: Dataset) -> list[Fold]:
    """Test each cell line by models of all others; a fold keeps its number whichever lines are tested."""
    line = dataset.pairs["cell_line"].to_numpy().astype(str)
    names = np.unique(line).tolist()
    asked = protocol.holdout.test_cell_lines or names
    check_names("cell line", asked, names)
    if len(names) < 2:
        raise EpisodeError(
            f"the pairs are all of cell line {names[0]!r}; needed at least two, so that one trains while one is tested"
        )
    folds = []
    for number, name in enumerate(names, start=1):
        if name in asked:
            fold, test = f"fold{number}", line == name
            train = ~test
            if protocol.holdout.balance:
                train = _balanced(dataset.pairs, train, fold, "train")
                test = _balanced(dataset.pairs, test, fold, "test")
            held_out, gap = _held_out(protocol, dataset.pairs, train, fold)
            folds.append(Fold(fold, train, train & ~held_out & ~gap, held_out, held_out, gap, test, name))
    return folds


def _folds_by_groups(protocol: Protocol, dataset: Dataset) -> list[Fold]:
    pairs, holdout = dataset.pairs, protocol.holdout
    everywhere = np.ones(len(pairs), dtype=bool)
    groups = [select_rows(dataset, cell_lines=names) for names in holdout.cell_lines]
    sets = [
        select_rows(dataset, chromosomes=names) & pairs["promoter_chrom"].isin(names).to_numpy()
        for names in holdout.chromosomes
    ]
    touches = [
        (pairs["enhancer_chrom"].isin(names) | pairs["promoter_chrom"].isin(names)).to_numpy()
        for names in holdout.chromosomes
    ]
    folds: list[Fold] = []
    for g in range(max(1, len(groups))):
        others = [mask for index, mask in enumerate(groups) if index != g]
        inside = np.any(others, axis=0) if groups else everywhere
        for s in range(max(1, len(sets))):
            test = (groups[g] if groups else everywhere) & (sets[s] if sets else everywhere)
            train = inside & (~touches[s] if sets else everywhere)
            name = f"fold{len(folds) + 1}"
            if holdout.balance:
                train, test = (_balanced(pairs, rows, name, part) for rows, part in ((train, "train"), (test, "test")))
            held_out, gap = _held_out(protocol, pairs, train, name)
            chooses = min(others, key=lambda mask: int((mask & train).sum())) if len(others) > 1 else everywhere
            parts = [*(holdout.cell_lines[g : g + 1]), *(holdout.chromosomes[s : s + 1])]
            title = " on ".join(", ".join(names) for names in parts)
            learns = ~chooses if len(others) > 1 else everywhere
            fit, selection = train & ~held_out & ~gap & learns, held_out & chooses
            folds.append(Fold(name, train, fit, selection, held_out, gap, test, title))
    return folds


def _balanced(pairs: pd.DataFrame, rows: Mask, *names: str) -> Mask:
    """Keep as many rows of the larger class as the smaller has, drawn from seed 0, and all unlabelled rows."""
    label = pairs["label"].to_numpy()
    classes = [np.flatnonzero(rows & (label == value)) for value in (0, 1)]
    size = min(map(len, classes))
    kept = rows & (label < 0)
    for value, those in enumerate(classes):
        kept[generator(0, "balance", *names, str(value)).permutation(those)[:size]] = True
    return kept


def _held_out(protocol: Protocol, pairs: pd.DataFrame, train: Mask, name: str) -> tuple[Mask, Mask]:
    """Return the held-out part of the training rows of a fold, and the gap beside it."""
    selection = protocol.selection
    if selection.by == "chromosome":
        return held_out_part(pairs, train, share=selection.share, gap=selection.gap, seed=0)
    drawn = generator(0, "held out", name).permutation(np.flatnonzero(train))
    held_out, gap = (np.zeros(len(pairs), dtype=bool) for _ in range(2))
    held_out[drawn[: round(selection.share * len(drawn))]] = True
    return held_out, gap


def _subset(dataset: Dataset, subset: Subset, name: str) -> Mask:
    pairs = dataset.pairs
    lengths = {
        f"{side}_length": (pairs[f"{side}_end"] - pairs[f"{side}_start"]).astype(str)
        for side in ("enhancer", "promoter")
    }

    def column(key: str) -> pd.Series:
        if key in lengths:
            return lengths[key]
        if key not in pairs:
            raise EpisodeError(f"subset {name}: the pairs have no column {key!r}")
        return pairs[key].astype(str)

    values = column(subset.column)
    mask = np.ones(len(pairs), dtype=bool)
    if subset.contains:
        mask &= values.str.contains(subset.contains, regex=False).to_numpy(bool)
    if subset.equals:
        mask &= (values == subset.equals).to_numpy(bool)
    if subset.same_as:
        mask &= (values == column(subset.same_as)).to_numpy(bool)
    if subset.with_positives:
        mask |= (pairs["label"] == 1).to_numpy()
    return mask


def _distance_matched(pairs: pd.DataFrame, test: Mask, bins: int, seed: int) -> Mask:
    """As many negatives as positives in every bin of log distance of every environment, drawn without replacement."""
    distance = pairs["distance"].to_numpy(np.float64)
    label = pairs["label"].to_numpy()
    usable = test & np.isfinite(distance) & (label >= 0)
    mask = np.zeros(len(pairs), dtype=bool)
    if not usable.any():
        return mask
    log = np.log10(np.maximum(distance, 1.0))
    low, high = log[usable].min(), log[usable].max()
    place = np.clip(
        ((log - low) / max(high - low, 1e-9) * bins).astype(np.int64, copy=False), 0, bins - 1, where=usable
    )
    environment = pairs["environment"].to_numpy()
    for name in np.unique(environment[usable]):
        rng = generator(seed, "distance", str(name))
        for number in range(bins):
            here = usable & (environment == name) & (place == number)
            positive, negative = np.flatnonzero(here & (label == 1)), np.flatnonzero(here & (label == 0))
            kept = min(len(positive), len(negative))
            for rows in (positive, negative):
                mask[rng.choice(rows, size=kept, replace=False)] = True
    return mask
