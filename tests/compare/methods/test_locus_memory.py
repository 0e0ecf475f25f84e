"""`locus_memory` by hand, and what it may not depend on."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from episode.compare.methods.base import FoldTask
from episode.compare.methods.memory import locus_log_odds, score_fold
from episode.compare.methods.select import calibrated
from episode.data.dataset import Dataset
from episode.data.leakage import LeakageAuditor

Place = tuple[str, int, int]
E1: Place = ("chr1", 100, 200)
E2: Place = ("chr1", 1000, 1100)
P1: Place = ("chr1", 5000, 5100)
P2: Place = ("chr1", 9000, 9100)
FAR: Place = ("chr2", 100, 200)


def shifted(place: Place, by: int) -> Place:
    return place[0], place[1] + by, place[2] + by


def made(rows: list[tuple[Place, Place, int]]) -> Dataset:
    """Pairs of an enhancer, a promoter and a label; every pair has elements of its own, with sequences of their own."""
    n = len(rows)
    elements = pd.DataFrame([row[side] for side in (0, 1) for row in rows], columns=["chrom", "start", "end"])
    elements = elements.assign(length=8, offset=8 * np.arange(2 * n))
    codes = np.array([[int(digit) for digit in np.base_repr(i, 4).zfill(8)] for i in range(2 * n)], dtype=np.uint8)
    pairs = pd.DataFrame({"enhancer_id": np.arange(n), "promoter_id": n + np.arange(n), "locus": np.arange(n)})
    pairs["label"] = np.array([row[2] for row in rows], dtype=np.int8)
    manifest: Any = {}
    return Dataset(pairs, elements, codes.ravel(), manifest)


def rates(train: list[tuple[Place, Place, int]], test: list[tuple[Place, Place]]) -> list[float]:
    dataset = made([*train, *((e, p, -1) for e, p in test)])
    rows = np.arange(len(train)), np.arange(len(train), len(train) + len(test))
    return expit(locus_log_odds(dataset, LeakageAuditor(dataset), *rows)).tolist()


def test_rates_by_hand() -> None:
    """Two positives of four: the start is 2.5 / 5 = 1/2."""
    train = [(E1, P1, 1), (E1, P2, 0), (E2, P1, 1), (E2, P2, 0)]
    found = rates(train, [(E1, P1), (E1, P2), (E1, FAR), (FAR, P1), (FAR, FAR), (P1, E1), (shifted(E1, 99), FAR)])
    # One element of (E1, P1) has 1 of 2: (1 + 1/2) / 3 = 1/2. Both have 1 of 1: (1 + 1/2) / 2.
    assert found[0] == pytest.approx(3 / 4)
    # (E1, P2) meets 1 of 2 by one element, then 0 of 1: (1/2) / 2.
    assert found[1] == pytest.approx(1 / 4)
    assert found[2] == pytest.approx((1 + 1 / 2) / 3)  # E1 has 1 of 2
    assert found[3] == pytest.approx((2 + 1 / 2) / 3)  # P1 has 2 of 2
    assert found[4] == pytest.approx(1 / 2)
    assert found[5] == found[0]  # whichever side the elements stand on
    assert found[6] == found[2]  # one base is enough


def test_an_element_that_only_touches_is_not_remembered() -> None:
    train = [(E1, P1, 1), (E2, P2, 0), (E2, P2, 0)]
    assert rates(train, [(shifted(E1, 100), FAR), (shifted(E1, -100), FAR)]) == pytest.approx([1.5 / 4] * 2)


def test_a_pair_seen_often_outweighs_pairs_of_one_of_its_elements() -> None:
    train = [(E1, P1, 1)] * 3 + [(E1, P2, 0)] * 6 + [(E2, P1, 0)] * 6
    # Start 3.5 / 16; of one element 0 of 12: that / 13; of both 3 of 3.
    assert rates(train, [(E1, P1)]) == pytest.approx([(3 + 3.5 / 16 / 13) / 4])


def test_training_pairs_of_one_class_give_finite_log_odds() -> None:
    assert rates([(E1, P1, 1)], [(E1, P1), (FAR, FAR)]) == pytest.approx([(1 + 0.75) / 2, 0.75])


def test_the_scores_of_a_fold_are_calibrated_on_held_out_pairs(
    fold_task: FoldTask, monkeypatch: pytest.MonkeyPatch, true_label: NDArray[np.int8]
) -> None:
    """Test pairs by all of train, held-out pairs by the rest; test labels are not read; blocks do not matter."""
    held_out = fold_task.fold.train & (np.arange(len(true_label)) % 5 == 0)
    task = replace(fold_task, fold=replace(fold_task.fold, held_out=held_out))
    found = score_fold(task)
    assert found.pairs_drawn is None
    scores = found.methods["locus_memory"]
    assert np.isfinite(scores.score).all() and np.isfinite(scores.call).all()
    auditor = LeakageAuditor(task.dataset)
    beside, train = (np.flatnonzero(mask) for mask in (task.fold.train & ~held_out, task.fold.train))
    rows = np.flatnonzero(held_out)
    judged = locus_log_odds(task.dataset, auditor, beside, rows)
    raw = locus_log_odds(task.dataset, auditor, train, np.flatnonzero(task.fold.test))
    expected = calibrated(raw, true_label[rows].astype(np.int64), judged)
    np.testing.assert_array_equal(scores.score, expected.score)
    np.testing.assert_array_equal(scores.call, expected.call)
    monkeypatch.setattr("episode.compare.methods.memory.BLOCK", 7)
    np.testing.assert_array_equal(score_fold(task).methods["locus_memory"].score, scores.score)
    pairs = task.dataset.pairs.assign(label=true_label)
    seen = score_fold(replace(task, dataset=replace(task.dataset, pairs=pairs))).methods["locus_memory"]
    np.testing.assert_array_equal(seen.score, scores.score)


def test_what_the_places_say_is_found(fold_task: FoldTask) -> None:
    """Labels that follow the promoter are remembered where cell lines share promoters, and nowhere else."""
    pairs = fold_task.dataset.pairs
    label = (pairs["promoter_id"] % 2).to_numpy(np.int8)
    test = (pairs["cell_line"] == pairs["cell_line"].iloc[0]).to_numpy()
    shared = replace(
        fold_task.fold, train=~test, held_out=np.zeros_like(test), selection=np.zeros_like(test), test=test
    )
    task = replace(
        fold_task,
        fold=shared,
        dataset=replace(fold_task.dataset, pairs=pairs.assign(label=np.where(test, -1, label).astype(np.int8))),
    )
    remembered = score_fold(task).methods["locus_memory"].score
    known = LeakageAuditor(task.dataset).shares_locus(shared.train)[test]
    assert known.mean() > 0.5
    assert ((remembered > 0) == (label[test] == 1))[known].mean() > 0.9
    assert len(np.unique(remembered[~known])) <= 1
