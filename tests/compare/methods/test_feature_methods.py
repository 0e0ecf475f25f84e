"""The baselines on features: chosen inside training, blind to test labels, symmetric, repeatable, able to learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from episode.compare.folds import Fold
from episode.compare.methods import ctcf, kmer_lr, motif_gbm, shortcuts
from episode.compare.methods.base import FoldTask, Runner, RunnerResult, Scores
from episode.compare.methods.features import Features, ctcf_index, elements_in_use, motif_table, oriented_pairs
from episode.compare.methods.select import (
    LogOdds,
    calibrated,
    choose_and_learn,
    number_log_odds,
    score_number,
)
from episode.encode.motifs import MotifBank
from episode.encode.store import ElementStore
from episode.inference.orientation import OrientedPairs
from episode.metrics.metrics import auroc, best_f1_threshold, calibration_line, log_loss
from known import known
from small_systems import all_rows, reverse_complement

LEARNED: dict[str, Runner] = {
    "motif_gbm": motif_gbm.score_fold,
    "ctcf_gbm": ctcf.score_gbm,
    "kmer_lr": kmer_lr.score_fold,
}
NUMBERS: dict[str, Runner] = {
    "ctcf_convergence": ctcf.score_convergence,
    "distance": shortcuts.score_distance,
    "promoter_degree": shortcuts.score_promoter_degree,
}
RUNNERS = LEARNED | NUMBERS


@pytest.fixture(scope="module")
def fold_task(fold_task: FoldTask) -> FoldTask:
    """The fold of all baselines with 24 of its motifs, CTCF among them, for time."""
    bank, store = fold_task.bank, fold_task.store
    kept = [*range(23), ctcf_index(bank)]
    ids, names = (tuple(part[i] for i in kept) for part in (bank.ids, bank.names))
    few = MotifBank(ids, names, tuple(bank.probabilities[i] for i in kept))
    return replace(fold_task, bank=few, store=ElementStore.of(all_rows(store)[:, :, kept], store.bins, "few motifs"))


def extras_of(result: RunnerResult) -> Mapping[str, Any]:
    """What a runner without a training run keeps."""
    assert isinstance(result.extras, Mapping)
    return result.extras


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer trees than in earnest, for time."""
    monkeypatch.setattr(motif_gbm, "ROUNDS", (10, 20, 30))


def scores(name: str, task: FoldTask) -> Scores:
    result = RUNNERS[name](task)
    assert set(result.methods) == {name}
    return result.methods[name]


def with_pairs(task: FoldTask, **columns: Any) -> FoldTask:
    return replace(task, dataset=replace(task.dataset, pairs=task.dataset.pairs.assign(**columns)))


def same(one: Scores, other: Scores) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in ("score", "logit", "call")
    )


def plant(task: FoldTask, number: NDArray[np.float64], share: float = 0.3) -> tuple[FoldTask, NDArray[np.int8]]:
    """Label the pairs with the largest numbers 1; returns the task without test labels, and all labels."""
    truth = (number > np.quantile(number, 1 - share)).astype(np.int8)
    return with_pairs(task, label=np.where(task.fold.learnable, truth, -1).astype(np.int8)), truth


@pytest.mark.parametrize("name", RUNNERS)
def test_every_test_row_gets_a_score_a_probability_and_a_call(name: str, fold_task: FoldTask) -> None:
    found = scores(name, fold_task)
    for values in (found.score, found.logit, found.call):
        assert values.shape == (fold_task.fold.test.sum(),)
        assert np.isfinite(values).all()
    assert set(np.unique(found.call)) <= {0.0, 1.0}
    assert len(np.unique(found.score)) > 3
    assert 0.05 < 1 / (1 + np.exp(-found.logit)).mean() < 1


@pytest.mark.parametrize("name", [*LEARNED, "promoter_degree"])
def test_what_is_not_the_same_number_in_every_fold_ranks_by_its_log_odds(name: str, fold_task: FoldTask) -> None:
    found = scores(name, fold_task)
    np.testing.assert_array_equal(found.score, found.logit)


@pytest.mark.parametrize("name", RUNNERS)
def test_the_same_again(name: str, fold_task: FoldTask) -> None:
    assert same(scores(name, fold_task), scores(name, fold_task))


def test_the_seed_of_the_task_reaches_the_trees(fold_task: FoldTask) -> None:
    assert not same(scores("motif_gbm", fold_task), scores("motif_gbm", replace(fold_task, seed=1)))


@pytest.mark.parametrize("name", RUNNERS)
def test_labels_outside_training_do_not_matter(name: str, fold_task: FoldTask, true_label: NDArray[np.int8]) -> None:
    hidden = scores(name, fold_task)
    assert same(hidden, scores(name, with_pairs(fold_task, label=true_label)))
    flipped = np.where(fold_task.fold.test, 1 - true_label, true_label).astype(np.int8)
    assert same(hidden, scores(name, with_pairs(fold_task, label=flipped)))


@pytest.mark.parametrize("name", RUNNERS)
def test_labels_of_training_do_matter(name: str, fold_task: FoldTask, true_label: NDArray[np.int8]) -> None:
    flipped = np.where(fold_task.fold.train, 1 - true_label, -1).astype(np.int8)
    assert not same(scores(name, fold_task), scores(name, with_pairs(fold_task, label=flipped)))


@pytest.mark.parametrize("name", RUNNERS)
def test_the_genome_read_from_the_other_strand_gives_the_same_scores(name: str, fold_task: FoldTask) -> None:
    """Every element reverse-complemented, every pair the other way round; half the test pairs lack coordinates."""
    pairs = fold_task.dataset.pairs
    placed = ~fold_task.fold.test | (np.arange(len(pairs)) % 2 == 0)
    task = with_pairs(fold_task, has_coordinates=placed)
    codes = np.array(task.dataset.codes)
    for offset, length in zip(task.dataset.elements["offset"], task.dataset.elements["length"], strict=True):
        part = codes[offset : offset + length][::-1].copy()
        codes[offset : offset + length] = np.where(part < 4, 3 - part, part)
    other = with_pairs(task, mirrored=~pairs["mirrored"])
    turned = replace(other, dataset=replace(other.dataset, codes=codes), store=reverse_complement(fold_task.store))
    assert same(scores(name, task), scores(name, turned))
    if name in ("motif_gbm", "ctcf_gbm", "ctcf_convergence"):  # they read strands: half of the change alone is seen
        assert not same(scores(name, task), scores(name, other))


def convergent(task: FoldTask, motif: int) -> NDArray[np.float64]:
    every = np.arange(len(task.dataset.pairs))
    table = motif_table(task.store, elements_in_use(task.dataset, every), np.array([motif]))
    return ctcf.convergence(table, oriented_pairs(task.dataset, every))


def test_simulated_convergence_is_found(fold_task: FoldTask) -> None:
    task, truth = plant(fold_task, convergent(fold_task, ctcf_index(fold_task.bank)))
    judged = truth[fold_task.fold.test]
    assert auroc(judged, scores("ctcf_convergence", task).score) == 1
    for name in ("ctcf_gbm", "motif_gbm"):
        area = auroc(judged, scores(name, task).score)
        assert area is not None and area > 0.95
    other = auroc(judged, scores("kmer_lr", task).score)
    assert other is not None and other < 0.9


def test_a_simulated_pair_of_another_motif_is_found_by_its_product(fold_task: FoldTask) -> None:
    task, truth = plant(fold_task, convergent(fold_task, 7))
    judged = truth[fold_task.fold.test]
    area, blind = auroc(judged, scores("motif_gbm", task).score), auroc(judged, scores("ctcf_gbm", task).score)
    assert area is not None and area > 0.95
    assert blind is not None and blind < 0.7


def test_simulated_composition_is_found(fold_task: FoldTask) -> None:
    gc = fold_task.dataset.elements["gc"].to_numpy(np.float64)[fold_task.dataset.pairs["promoter_id"]]
    task, truth = plant(fold_task, gc)
    area = auroc(truth[fold_task.fold.test], scores("kmer_lr", task).score)
    assert area is not None and area > 0.9


def test_simulated_distance_is_found_either_way(fold_task: FoldTask) -> None:
    distance = fold_task.dataset.pairs["distance"].to_numpy(np.float64)
    for sign in (-1, 1):
        task, truth = plant(fold_task, sign * distance)
        found = scores("distance", task)
        judged = truth[fold_task.fold.test]
        np.testing.assert_allclose(found.score, -np.log10(distance[fold_task.fold.test] + 1))
        assert auroc(judged, found.score) == (1 if sign == -1 else 0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_sign_of_the_degree_is_learned_in_training(sign: int, fold_task: FoldTask) -> None:
    pairs = fold_task.dataset.pairs
    degree = pairs.groupby(["environment", "promoter_id"])["promoter_id"].transform("size").to_numpy(np.float64)
    task, truth = plant(fold_task, sign * degree + np.random.default_rng(0).normal(0, 0.5, len(degree)))
    fold, found = task.fold, scores("promoter_degree", task)
    line = calibration_line(truth[fold.train], degree[fold.train])
    assert line is not None and sign * line.slope > 0
    logit = line.intercept + line.slope * degree
    np.testing.assert_allclose(found.score, logit[fold.test])
    np.testing.assert_array_equal(found.logit, found.score)
    threshold = known(best_f1_threshold(truth[fold.held_out], logit[fold.held_out]))
    np.testing.assert_array_equal(found.call, logit[fold.test] >= threshold)
    area = auroc(truth[fold.test], found.score)
    assert area is not None and area > 0.8


@pytest.mark.parametrize("name", RUNNERS)
def test_the_pairs_drawn_are_those_of_the_longest_training_run(name: str, fold_task: FoldTask) -> None:
    """Trees draw every row once a tree, 30 or 120 where they choose; the regression once; a number learns nothing."""
    result, fold = RUNNERS[name](fold_task), fold_task.fold
    most = {"motif_gbm": 30, "ctcf_gbm": 120, "kmer_lr": 1}
    if name in NUMBERS:
        assert result.pairs_drawn is None
    else:
        passes = extras_of(result).get("rounds", 1)
        assert result.pairs_drawn == max(fold.fit.sum() * most[name], fold.train.sum() * passes) > 0


def numbered(task: FoldTask, number: NDArray[np.float64]) -> Scores:
    return score_number(task, number, number_log_odds(task, number))


def test_an_unknown_distance_says_nothing(fold_task: FoldTask) -> None:
    distance = fold_task.dataset.pairs["distance"].to_numpy(np.float64).copy()
    distance[::3] = np.nan
    found = scores("distance", with_pairs(fold_task, distance=distance))
    unknown = np.isnan(distance[fold_task.fold.test])
    assert unknown.any()
    for values in (found.score, found.logit, found.call):
        np.testing.assert_array_equal(np.isnan(values), unknown)
    nowhere = scores("distance", with_pairs(fold_task, distance=np.full(len(distance), np.nan)))
    assert np.isnan([nowhere.score, nowhere.logit, nowhere.call]).all()


def test_one_number_is_calibrated_on_train_and_called_by_held_out_rows(fold_task: FoldTask) -> None:
    fold, label = fold_task.fold, fold_task.dataset.pairs["label"].to_numpy()
    number = np.random.default_rng(0).normal(size=len(label)) + label
    line = calibration_line(label[fold.train], number[fold.train])
    assert line is not None
    negative = with_pairs(fold_task, label=np.where(fold.held_out & (label == 1), 0, label))
    for task, rows in ((fold_task, fold.held_out), (negative, fold.train)):
        found, labels = numbered(task, number), task.dataset.pairs["label"].to_numpy()
        threshold = known(best_f1_threshold(labels[rows], number[rows]))
        np.testing.assert_array_equal(found.score, number[fold.test])
        np.testing.assert_array_equal(found.call, number[fold.test] >= threshold)
    np.testing.assert_allclose(numbered(fold_task, number).logit, line.intercept + line.slope * number[fold.test])


def test_a_number_that_separates_the_classes_claims_the_prevalence(fold_task: FoldTask) -> None:
    fold, label = fold_task.fold, fold_task.dataset.pairs["label"].to_numpy()
    found = numbered(fold_task, label.astype(np.float64))
    positives, n = int(label[fold.train].sum()), int(fold.train.sum())
    np.testing.assert_allclose(found.logit, np.log((positives + 0.5) / (n - positives + 0.5)))


@dataclass
class Recorder:
    """A learner whose models say the setting times the first feature; it remembers what it was given."""

    settings: Sequence[float] = (-1.0, 4.0, 0.5, 0.5001)
    fallback: float = 9.0
    seen: list[tuple[list[int], list[float]]] = field(default_factory=list)

    def passes(self, setting: float) -> int:
        return round(10 * setting)

    def learn(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int8],
        weight: NDArray[np.float64],
        settings: Sequence[float],
    ) -> list[LogOdds]:
        assert (label >= 0).all() and (weight > 0).all()
        self.seen.append((features[:, 1].astype(int).tolist(), list(settings)))
        return [partial(scaled, setting) for setting in settings]


def scaled(setting: float, table: NDArray[np.float32]) -> NDArray[np.float64]:
    return setting * table[:, 0].astype(np.float64)


@pytest.fixture
def recorded(fold_task: FoldTask) -> tuple[FoldTask, Features]:
    """Pairs that a feature distinguishes, whose label follows another feature with slope near 1/2."""
    rng = np.random.default_rng(3)
    n = len(fold_task.dataset.pairs)
    value = rng.normal(0, 3, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-0.5 * value))).astype(np.int8)
    task = with_pairs(fold_task, label=label, enhancer_id=np.arange(n), promoter_id=np.arange(n))
    return task, lambda which: np.stack([value[which.enhancer], which.enhancer], axis=1).astype(np.float32)


def test_chosen_on_selection_by_models_of_fit_calibrated_beside_held_out_rows_learned_from_all_of_train(
    recorded: tuple[FoldTask, Features],
) -> None:
    task, features = recorded
    gap = task.fold.train & ~task.fold.held_out & (np.arange(len(task.fold.train)) % 7 == 0)
    fold = replace(task.fold, gap=gap, fit=task.fold.fit & ~gap)
    learner = Recorder(settings=(-1.0, 4.0, 0.5))
    chosen = choose_and_learn(replace(task, fold=fold), features, learner)
    beside = fold.train & ~fold.held_out & ~gap
    assert fold.fit.sum() < beside.sum() < (fold.train & ~fold.held_out).sum() < fold.train.sum()
    assert learner.seen == [
        (np.flatnonzero(fold.fit).tolist(), [-1.0, 4.0, 0.5]),
        (np.flatnonzero(beside).tolist(), [0.5]),
        (np.flatnonzero(fold.train).tolist(), [0.5]),
    ]
    assert (chosen.setting, chosen.from_selection) == (0.5, True)
    assert chosen.pairs_drawn == max(
        40 * fold.fit.sum(), 5 * fold.train.sum()
    )  # 10 times the largest setting, 10 times 0.5
    value = 0.5 * features(oriented_pairs(task.dataset, np.arange(len(fold.test))))[:, 0].astype(np.float64)
    label = task.dataset.pairs["label"].to_numpy()
    line = calibration_line(label[fold.held_out], value[fold.held_out])
    assert line is not None and line.slope > 0
    logit = line.intercept + line.slope * value
    np.testing.assert_allclose(chosen.scores.score, logit[fold.test])
    np.testing.assert_array_equal(chosen.scores.logit, chosen.scores.score)
    threshold = known(best_f1_threshold(label[fold.held_out], logit[fold.held_out]))
    np.testing.assert_array_equal(chosen.scores.call, logit[fold.test] >= threshold)


@pytest.mark.parametrize("by", ["split", "one group"])
def test_a_model_of_the_same_rows_is_not_learned_twice(by: str, recorded: tuple[FoldTask, Features]) -> None:
    """By a split column all three models are one; without groups of cell lines the first two are."""
    task, features = recorded
    fold = task.fold
    beside = fold.train & ~fold.held_out
    fold = replace(fold, train=beside if by == "split" else fold.train, fit=beside, selection=fold.held_out)
    learner = Recorder()
    chosen = choose_and_learn(replace(task, fold=fold), features, learner)
    taught = [np.flatnonzero(mask).tolist() for mask in ([beside] if by == "split" else [beside, fold.train])]
    assert [rows for rows, _ in learner.seen] == taught
    again = Recorder(settings=(chosen.setting,))  # the one model of that setting says the same
    assert same(chosen.scores, choose_and_learn(replace(task, fold=fold), features, again).scores)


@pytest.mark.parametrize("prevalences", [(0.36, 0.08), (0.08, 0.36)])
def test_prevalences_that_differ_between_groups_do_not_spoil_the_calibration(
    prevalences: tuple[float, float], fold_task: FoldTask
) -> None:
    """Two groups of cell lines train, the second chooses; the test pairs are a mixture of both kinds."""
    rng = np.random.default_rng(11)
    n = 12_000
    group, part = np.arange(n) % 2, np.arange(n) // 2 % 3
    test, held_out = part == 2, part == 1
    centre = np.log(np.array(prevalences) / (1 - np.array(prevalences)))[group]
    value = rng.normal(0, 1, n)
    truth = (rng.random(n) < 1 / (1 + np.exp(-centre - value))).astype(np.int8)
    pairs = fold_task.dataset.pairs.iloc[np.zeros(n, dtype=np.int64)].reset_index(drop=True)
    pairs = pairs.assign(
        enhancer_id=np.arange(n), promoter_id=np.arange(n), label=np.where(test, -1, truth), has_coordinates=True
    )
    nothing = np.zeros(n, dtype=bool)
    first = ~test & ~held_out & (group == 0)
    fold = Fold("two groups", ~test, first, held_out & (group == 1), held_out, nothing, test)
    task = replace(fold_task, dataset=replace(fold_task.dataset, pairs=pairs), fold=fold)

    def features(which: OrientedPairs) -> NDArray[np.float32]:
        return value[which.enhancer][:, None].astype(np.float32)

    found = choose_and_learn(task, features, kmer_lr.PenalisedRegression(settings=(1.0,), fallback=1.0))
    assert found.from_selection
    learner = kmer_lr.PenalisedRegression()

    def learned(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        table = value[:, None].astype(np.float32)
        return learner.learn(table[rows], truth[rows], np.ones(int(rows.sum())), [1.0])[0](table)

    raw = learned(fold.train)
    line = calibration_line(truth[fold.selection], learned(first)[fold.selection])
    assert line is not None
    plain, now, spoiled = (
        log_loss(truth[test], logit)
        for logit in (raw[test], found.scores.logit, line.intercept + line.slope * raw[test])
    )
    assert plain is not None and now is not None and spoiled is not None
    assert abs(now - plain) < 0.01
    assert spoiled > plain + 0.1  # what the chosen group alone would have done
    assert abs((1 / (1 + np.exp(-found.scores.logit))).mean() - truth[test].mean()) < 0.02


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_steep_calibration_is_not_carried_beyond_what_was_seen(scale: float) -> None:
    """Judged log-odds 0 and 1 have 1 and 3 positives of 4: -log 3 and log 3, over the scale they are said in."""
    label, judged = np.array([1, 0, 0, 0, 1, 1, 1, 0]), np.repeat([0.0, 1.0], 4) / scale
    found = calibrated(np.array([-0.5, 0.0, 0.5, 1.0, 4.0]) / scale, label, judged)
    slope = 2 * np.log(3) * scale
    outside = np.array([-0.5, 0, 0, 0, 3]) / scale * min(slope, 1)
    np.testing.assert_allclose(found.logit, np.log(3) * np.array([-1, -1, 0, 1, 1]) + outside, atol=1e-8)
    assert found.call.tolist() == [0, 0, 0, 1, 1]


def test_a_flat_calibration_is_a_line_everywhere() -> None:
    """The same rows said ten times too far apart: slope log(3) / 5."""
    label, judged = np.array([1, 0, 0, 0, 1, 1, 1, 0]), np.repeat([0.0, 10.0], 4)
    found = calibrated(np.array([-10.0, 5.0, 20.0]), label, judged)
    np.testing.assert_allclose(found.logit, np.log(3) * np.array([-3, 0, 3]), atol=1e-8)


@pytest.mark.parametrize("slope", [-1.0, 0.0])
def test_a_calibration_of_no_positive_slope_is_not_used(slope: float) -> None:
    score, label = np.array([0.5, -2.0]), np.array([0, 1, 0, 1, 1, 0])
    judged = slope * np.array([-1.0, 1.0, 0.2, 0.1, 2.0, 0.3])
    found = calibrated(score, label, judged)
    assert found.score.tolist() == found.logit.tolist() == [0.5, -2.0]
    # best F1 of the turned scores calls all of them: the smallest is -2; of equal ones all or none
    assert found.call.tolist() == ([1, 1] if slope else [1, 0])


def test_of_equal_settings_the_first_is_taken(recorded: tuple[FoldTask, Features]) -> None:
    task, features = recorded
    assert choose_and_learn(task, features, Recorder(settings=(4.0, 0.5, 0.5))).setting == 0.5
    learner = Recorder(settings=(0.0, 0.0))
    assert (
        choose_and_learn(task, lambda which: features(which) * np.array([0, 1], dtype=np.float32), learner).setting
        == 0.0
    )


def test_unlabelled_rows_teach_nothing(recorded: tuple[FoldTask, Features]) -> None:
    task, features = recorded
    label = task.dataset.pairs["label"].to_numpy().copy()
    label[::2] = -1
    learner = Recorder()
    choose_and_learn(with_pairs(task, label=label), features, learner)
    assert learner.seen[0][0] == np.flatnonzero(task.fold.fit & (label >= 0)).tolist()


def test_pairs_without_coordinates_teach_in_both_orientations_and_are_scored_by_the_mean(
    recorded: tuple[FoldTask, Features],
) -> None:
    task, _ = recorded
    n = len(task.dataset.pairs)

    def features(which: OrientedPairs) -> NDArray[np.float32]:
        return np.stack([which.enhancer + 1000.0 * which.mirrored, which.enhancer], axis=1).astype(np.float32)

    task = with_pairs(task, has_coordinates=np.zeros(n, dtype=bool), mirrored=np.zeros(n, dtype=bool))
    learner = Recorder(settings=(1.0,))
    chosen = choose_and_learn(task, features, learner)
    assert learner.seen[0][0] == np.repeat(np.flatnonzero(task.fold.fit), 2).tolist()
    label, held_out = task.dataset.pairs["label"].to_numpy(), np.flatnonzero(task.fold.held_out)
    test, judged = (rows.astype(np.float64) + 500 for rows in (np.flatnonzero(task.fold.test), held_out))
    expected = calibrated(test, label[held_out], judged)
    np.testing.assert_allclose(chosen.scores.score, expected.score)


@pytest.mark.parametrize("part", ["fit", "selection", "held_out"])
@pytest.mark.parametrize("how", ["empty", "one class"])
def test_without_both_classes_nothing_is_chosen(part: str, how: str, recorded: tuple[FoldTask, Features]) -> None:
    task, features = recorded
    mask = getattr(task.fold, part)
    if how == "empty":
        task = replace(task, fold=replace(task.fold, **{part: np.zeros_like(mask)}))
    else:
        task = with_pairs(task, label=task.dataset.pairs["label"].where(~mask, 0))
    learner = Recorder()
    chosen = choose_and_learn(task, features, learner)
    assert (chosen.setting, chosen.from_selection) == (9.0, False)
    assert len(learner.seen) == 1 and learner.seen[0][1] == [9.0]
    value = features(oriented_pairs(task.dataset, np.flatnonzero(task.fold.test)))[:, 0].astype(np.float64)
    np.testing.assert_array_equal(chosen.scores.score, 9.0 * value)
    np.testing.assert_array_equal(chosen.scores.logit, 9.0 * value)
    assert np.isnan(chosen.scores.call).all()


@pytest.mark.parametrize("name", RUNNERS)
def test_a_fold_without_positives_gets_one_low_probability(name: str, fold_task: FoldTask) -> None:
    label = np.where(fold_task.fold.learnable, 0, -1).astype(np.int8)
    found = scores(name, with_pairs(fold_task, label=label))
    n = int(fold_task.fold.train.sum())
    np.testing.assert_allclose(found.logit, np.log(0.5 / (n + 0.5)))
    assert np.isnan(found.call).all()


@pytest.mark.parametrize(("name", "setting"), [("motif_gbm", "rounds"), ("ctcf_gbm", "rounds"), ("kmer_lr", "c")])
def test_extras_tell_what_was_chosen(name: str, setting: str, fold_task: FoldTask) -> None:
    chosen = extras_of(RUNNERS[name](fold_task))
    assert chosen["chosen_on_selection"] is True
    tried = {"motif_gbm": motif_gbm.ROUNDS, "ctcf_gbm": ctcf.TREES, "kmer_lr": kmer_lr.PENALTIES}[name]
    assert chosen[setting] in tried
    assert max(ctcf.TREES) <= 120 and ctcf.LEAVES == 7
