"""The neural baselines: what each learns from a simulated signal, and what none of them may depend on."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from episode.compare.folds import Fold
from episode.compare.methods import cross_attention, decoupled, epivan, neural, sept
from episode.compare.methods.base import FewLabels, FoldTask, RunnerResult, Scores
from episode.compare.methods.neural_inputs import DnaWindows, MotifTokens
from episode.config import Config, StemConfig
from episode.data.dataset import Dataset
from episode.dna import reverse_complement
from episode.encode.motifs import MotifBank
from episode.encode.store import ElementStore
from episode.metrics.metrics import auroc, best_f1_threshold, calibration_line
from known import known

RUNNERS = (cross_attention, decoupled, epivan, sept)
PAIRS = 480
NO_MANIFEST: Any = {}
BASES = 512
BINS = 4
MOTIFS = 5
LINES = ("a", "b", "c", "unseen")
SITE = np.array([0, 2, 0, 3, 2, 2, 1, 1] * 3, dtype=np.uint8)


def legacy_state() -> NDArray[np.uint32]:
    """Numpy's global random state."""
    state: Any = np.random.get_state()  # noqa: NPY002
    return np.array(state[1])


def extras_of(result: RunnerResult) -> Mapping[str, Any]:
    """What a runner without a training run keeps."""
    assert isinstance(result.extras, Mapping)
    return result.extras


def simulated_task(folder: Path) -> tuple[FoldTask, np.ndarray]:
    """A fold whose pairs interact where both elements hold a site, in the DNA and in the store; and its true labels.

    Every pair has two elements of its own. Cell line "unseen" is the test part, "c" judges what "a" and "b" taught.
    """
    rng = np.random.default_rng(0)
    site = rng.random((PAIRS, 2)) < 0.6
    label = np.asarray(site.all(axis=1), dtype=np.int8)
    codes = rng.integers(0, 4, (2 * PAIRS, BASES)).astype(np.uint8)
    tokens = rng.normal(2, 2, (2 * PAIRS, BINS, 2, MOTIFS)).astype(np.float16)
    for element in np.flatnonzero(site.T.ravel()):
        for start in rng.choice(BASES // len(SITE) - 1, 6, replace=False) * len(SITE):
            codes[element, start : start + len(SITE)] = SITE
        tokens[element, rng.integers(BINS), 0, 0] = 14
    mirrored = rng.random(PAIRS) < 0.5
    turned = np.flatnonzero(np.tile(mirrored, 2))
    codes[turned] = np.stack([reverse_complement(codes[element]) for element in turned])
    tokens[turned] = tokens[turned][:, ::-1, ::-1]
    line = np.array(LINES)[np.arange(PAIRS) % 4]
    test, chooses = line == "unseen", line == "c"
    pairs = pd.DataFrame(
        {
            "cell_line": line,
            "label": np.where(test, -1, label).astype(np.int8),
            "enhancer_id": np.arange(PAIRS, dtype=np.int32),
            "promoter_id": np.arange(PAIRS, 2 * PAIRS, dtype=np.int32),
            "mirrored": mirrored,
            "has_coordinates": True,
        }
    )
    elements = pd.DataFrame({"length": BASES, "offset": np.arange(2 * PAIRS, dtype=np.int64) * BASES})
    nothing = np.zeros(PAIRS, dtype=bool)
    bank = MotifBank(
        tuple(f"M{i}" for i in range(MOTIFS)),
        tuple(f"M{i}" for i in range(MOTIFS)),
        tuple(np.roll(np.tile([0.97, 0.01, 0.01, 0.01], (6, 1)), i, axis=1) for i in range(MOTIFS)),
    )
    store = ElementStore.of(tokens.reshape(-1, 2, MOTIFS), np.full(2 * PAIRS, BINS, dtype=np.int64), "simulated")
    task = FoldTask(
        dataset=Dataset(pairs, elements, codes.ravel(), NO_MANIFEST),
        store=store,
        bank=bank,
        fold=Fold("unseen", ~test, ~test & ~chooses, chooses, chooses, nothing, test),
        few_labels=FewLabels({}, np.full(PAIRS, -1, dtype=np.int8), nothing),
        config=Config(stem=StemConfig(site_p=1e-3)),
        seed=0,
        folder=folder,
        own_store=store,
    )
    return task, label


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[FoldTask, np.ndarray]:
    return simulated_task(tmp_path_factory.mktemp("simulated"))


def name_of(runner: ModuleType) -> str:
    return runner.__name__.rpartition(".")[2]


def scores(runner: ModuleType, task: FoldTask) -> Scores:
    result = runner.score_fold(task)
    assert set(result.methods) == {name_of(runner)}
    return result.methods[name_of(runner)]


def unjudged(task: FoldTask) -> FoldTask:
    """The fold without selection rows: nothing is calibrated, scores are what the network says."""
    return replace(task, fold=replace(task.fold, selection=np.zeros(PAIRS, dtype=bool)))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes every runner take few steps."""

    def shorten(**changes: float) -> None:
        for runner in RUNNERS:
            monkeypatch.setattr(runner, "RECIPE", replace(runner.RECIPE, **changes))

    return shorten


@pytest.mark.parametrize("runner", RUNNERS, ids=name_of)
def test_learns_a_simulated_signal(runner: ModuleType, simulated: tuple[FoldTask, np.ndarray], short: Any) -> None:
    short(steps=60, checks=3, batch=64, rate=5e-3)
    task, label = simulated
    found = scores(runner, task)
    truth = label[task.fold.test]
    assert found.score.shape == found.logit.shape == found.call.shape == truth.shape
    np.testing.assert_array_equal(found.score, found.logit)
    ranking = auroc(truth, found.score)
    assert ranking is not None and ranking > 0.85
    assert ((found.call == 1) == (truth == 1)).mean() > 0.7


@pytest.mark.parametrize("runner", RUNNERS, ids=name_of)
def test_same_seed_same_scores_and_nothing_else_is_read_or_touched(
    runner: ModuleType, simulated: tuple[FoldTask, np.ndarray], short: Any
) -> None:
    """The same again whatever the test labels and the caller's generators; another seed scores differently."""
    short(steps=4, checks=2, batch=16)
    task, label = simulated
    first = scores(runner, task)
    pairs = task.dataset.pairs.assign(label=np.where(task.fold.test, label, task.dataset.pairs["label"]))
    torch.manual_seed(5)
    state, legacy = torch.random.get_rng_state(), legacy_state()
    again = scores(runner, replace(task, dataset=replace(task.dataset, pairs=pairs)))
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(legacy, legacy_state())
    np.testing.assert_array_equal(first.score, again.score)
    np.testing.assert_array_equal(first.call, again.call)
    assert not np.allclose(first.score, scores(runner, replace(task, seed=1)).score)


@pytest.mark.parametrize("runner", RUNNERS, ids=name_of)
def test_score_does_not_depend_on_the_prediction_batch(
    runner: ModuleType, simulated: tuple[FoldTask, np.ndarray], short: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(steps=3, checks=1, batch=16)
    task = unjudged(simulated[0])
    whole = scores(runner, task)
    monkeypatch.setattr(neural, "PREDICTION_BATCH", 7)
    np.testing.assert_allclose(scores(runner, task).score, whole.score, atol=1e-5)


@pytest.mark.parametrize("runner", RUNNERS, ids=name_of)
def test_rows_without_a_label_teach_nothing(
    runner: ModuleType, simulated: tuple[FoldTask, np.ndarray], short: Any
) -> None:
    """A fold whose unlabelled rows count as training rows is the fold without them."""
    short(steps=3, checks=1, batch=16)
    task = simulated[0]
    hidden = np.arange(PAIRS) % 3 == 0
    unknown = task.dataset.pairs.assign(label=np.where(hidden, -1, task.dataset.pairs["label"]))
    task = replace(task, dataset=replace(task.dataset, pairs=unknown))
    fold = task.fold
    without = replace(fold, train=fold.train & ~hidden, fit=fold.fit & ~hidden, selection=fold.selection & ~hidden)
    np.testing.assert_array_equal(scores(runner, task).score, scores(runner, replace(task, fold=without)).score)


@pytest.mark.parametrize("runner", RUNNERS, ids=name_of)
def test_orientation(runner: ModuleType, simulated: tuple[FoldTask, np.ndarray], short: Any) -> None:
    """Another orientation, another score; a pair without coordinates scores their mean."""
    short(steps=3, checks=1, batch=16)
    task = unjudged(simulated[0])
    test = task.fold.test

    def with_test(**columns: bool) -> np.ndarray:
        pairs = task.dataset.pairs.copy()
        for name, value in columns.items():
            pairs[name] = np.where(test, value, pairs[name])
        return scores(runner, replace(task, dataset=replace(task.dataset, pairs=pairs))).score

    plain, turned = with_test(mirrored=False), with_test(mirrored=True)
    unknown = with_test(mirrored=False, has_coordinates=False)
    assert np.abs(plain - turned).max() > 1e-3
    np.testing.assert_allclose(unknown, (plain + turned) / 2, atol=1e-5)


@pytest.mark.parametrize("part", ["fit", "selection", "held_out"])
def test_a_fold_that_cannot_be_judged_takes_all_steps_and_calls_nothing(
    part: str, simulated: tuple[FoldTask, np.ndarray], short: Any
) -> None:
    short(steps=3, checks=1, batch=16)
    task = simulated[0]
    negative = (task.dataset.pairs["label"] == 0).to_numpy()
    fold = replace(task.fold, **{part: getattr(task.fold, part) & negative})
    result = epivan.score_fold(replace(task, fold=fold))
    assert extras_of(result) == {"steps": 3, "selection": []}
    found = result.methods["epivan"]
    assert np.isfinite(found.score).all() and np.isnan(found.call).all()
    np.testing.assert_array_equal(found.logit, found.score)


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int], int]]:
    """What every network of a fold learned from: phase, rows, steps."""
    seen: list[tuple[str, list[int], int]] = []
    learn = neural._Learner._learn

    def remember(self: Any, phase: str, rows: NDArray[np.int64], steps: int, judge: Any = None) -> Any:
        seen.append((phase, rows.tolist(), steps))
        return learn(self, phase, rows, steps, judge)

    monkeypatch.setattr(neural._Learner, "_learn", remember)
    return seen


def folds_of(fold: Fold) -> dict[str, Fold]:
    """A fold by groups of cell lines with chromosomes, by chromosomes alone, and by a split column."""
    late = np.arange(PAIRS) // 4 % 3 == 0
    held_out, gap = fold.train & late, fold.train & (np.arange(PAIRS) // 4 % 12 == 1)
    beside = fold.train & ~held_out & ~gap
    chooses = fold.selection
    return {
        "groups": replace(fold, fit=beside & ~chooses, selection=held_out & chooses, held_out=held_out, gap=gap),
        "chromosomes": replace(fold, fit=beside, selection=held_out, held_out=held_out, gap=gap),
        "split": replace(fold, train=beside, fit=beside, selection=held_out, held_out=held_out, gap=np.zeros_like(gap)),
    }


@pytest.mark.parametrize("by", ["groups", "chromosomes", "split"])
def test_learned_beside_held_out_rows_and_from_all_of_train_but_never_twice_from_the_same_rows(
    by: str, simulated: tuple[FoldTask, np.ndarray], short: Any, taught: list[tuple[str, list[int], int]]
) -> None:
    """480 pairs, 3 of 4 in training: 360, of which a third is held out and a twelfth is gap."""
    short(steps=4, checks=1, batch=16)
    fold = folds_of(simulated[0].fold)[by]
    result = epivan.score_fold(replace(simulated[0], fold=fold))
    beside = fold.train & ~fold.held_out & ~fold.gap
    fit, between, train = (np.flatnonzero(mask).tolist() for mask in (fold.fit, beside, fold.train))
    expected = {
        "groups": [("fit", fit, 4), ("rest", between, 6), ("train", train, 8)],
        "chromosomes": [("fit", fit, 4), ("train", train, 7)],
        "split": [("fit", fit, 4)],
    }[by]
    assert taught == expected
    assert result.pairs_drawn == 16 * max(steps for _, _, steps in expected)
    assert extras_of(result)["steps"] == expected[-1][2]


@pytest.mark.parametrize("by", ["groups", "split"])
def test_calibrated_and_called_by_held_out_rows(
    by: str, simulated: tuple[FoldTask, np.ndarray], short: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks that say the same whatever they learned: what remains is the share of what they learned from."""
    short(steps=2, checks=1, batch=16)
    task = simulated[0]
    label = task.dataset.pairs["label"].to_numpy().astype(np.int64)
    fold = folds_of(task.fold)[by]
    value = np.random.default_rng(2).normal(size=PAIRS) + label
    monkeypatch.setattr(neural._Pairs, "log_odds", lambda self, network, rows: value[rows])
    monkeypatch.setattr(epivan, "RECIPE", replace(epivan.RECIPE, balanced=True))
    found = scores(epivan, replace(task, fold=fold))

    def said(mask: np.ndarray) -> np.ndarray:
        share = (label[mask] == 1).mean()
        return value + np.log(share / (1 - share))

    judged = said(fold.train & ~fold.held_out & ~fold.gap)[fold.held_out]
    line = calibration_line(label[fold.held_out], judged)
    assert line is not None and line.slope > 0
    logit = line.intercept + line.slope * said(fold.train)[fold.test]
    threshold = known(best_f1_threshold(label[fold.held_out], line.intercept + line.slope * judged))
    np.testing.assert_allclose(found.score, logit)
    np.testing.assert_array_equal(found.logit, found.score)
    np.testing.assert_array_equal(found.call, logit >= threshold)


def test_by_a_split_the_network_that_was_best_on_selection_scores(
    simulated: tuple[FoldTask, np.ndarray], short: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged at steps 2, 4, 6 the first is best: the scores are those of a training run that ends there."""
    task = simulated[0]
    task = replace(task, fold=folds_of(task.fold)["split"])
    judgements = iter([0.9, 0.5, 0.9, 0.9])
    monkeypatch.setattr(neural, "average_precision", lambda label, score: next(judgements))
    short(steps=6, checks=3, batch=16)
    longer = epivan.score_fold(task)
    short(steps=2, checks=1, batch=16)
    shorter = epivan.score_fold(task)
    assert extras_of(longer)["steps"] == extras_of(shorter)["steps"] == 2
    assert [check["step"] for check in extras_of(longer)["selection"]] == [2, 4, 6]
    np.testing.assert_array_equal(longer.methods["epivan"].score, shorter.methods["epivan"].score)


def test_steps_grow_with_the_data_and_are_bounded(simulated: tuple[FoldTask, np.ndarray], short: Any) -> None:
    """Three cell lines in place of two, so half as many steps again; of one twentieth, no more than twice the most."""
    short(steps=4, checks=1, batch=16)
    task = simulated[0]
    assert extras_of(epivan.score_fold(task))["steps"] == 6
    few = task.fold.fit & (np.arange(PAIRS) < 24)
    assert extras_of(epivan.score_fold(replace(task, fold=replace(task.fold, fit=few))))["steps"] == 8


@pytest.mark.parametrize("by", ["groups", "chromosomes", "split"])
def test_no_training_run_draws_more_than_its_budget(
    by: str, simulated: tuple[FoldTask, np.ndarray], short: Any, taught: list[tuple[str, list[int], int]]
) -> None:
    """100 pairs are 6 batches of 16; learned for long enough, all runs but the first would take more steps."""
    short(steps=4, checks=1, batch=16)
    task = replace(simulated[0], fold=folds_of(simulated[0].fold)[by], budget=100)
    result = epivan.score_fold(task)
    assert set(result.methods) == {"epivan.matched"}
    assert taught[0][2] == 6
    assert all(steps <= 6 for _, _, steps in taught)
    assert result.pairs_drawn == 96


@pytest.mark.parametrize(
    ("budget", "steps", "checks"),
    [(25_600, 200, 10), (51_200, 400, 20), (10_000_000, 78_125, 50), (1280, 10, 10), (5, 1, 10)],
)
def test_a_recipe_within_a_budget_is_judged_as_often_a_step(budget: int, steps: int, checks: int) -> None:
    """200 steps of 128 pairs, judged ten times: twice as many pairs are judged twice as often, but not without end."""
    recipe = replace(cross_attention.RECIPE, steps=200, checks=10, batch=128)
    assert recipe.within(budget) == replace(recipe, steps=steps, checks=checks)


def test_reverse_gradient_by_hand() -> None:
    """d/dx of 3 x1 + 5 x2 is (3, 5); at strength 0.5 it comes back as (-1.5, -2.5)."""
    x = torch.tensor([2.0, 7.0], requires_grad=True)
    y = neural.reverse_gradient(x, 0.5)
    assert torch.equal(y, x)
    (y * torch.tensor([3.0, 5.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [-1.5, -2.5]


def test_the_discriminator_learns_what_its_features_forget() -> None:
    """Its own weights go down the domain loss, those of the representation up."""
    torch.manual_seed(0)
    encoder, head = torch.nn.Linear(3, 2), neural.domain_head(2, 4, 2)
    x, line = torch.randn(20, 3), torch.arange(20) % 2

    def gradients(strength: float | None) -> list[torch.Tensor]:
        z = encoder(x)
        z = z if strength is None else neural.reverse_gradient(z, strength)
        loss = torch.nn.functional.cross_entropy(head(z), line)
        return list(torch.autograd.grad(loss, [encoder.weight, *head.parameters()]))

    plain, turned = gradients(None), gradients(2.0)
    assert plain[0].abs().max() > 0
    torch.testing.assert_close(turned[0], -2 * plain[0])
    for one, other in zip(plain[1:], turned[1:], strict=True):
        torch.testing.assert_close(one, other)


def test_balanced_batches_are_corrected_to_the_share_of_training() -> None:
    """One positive in four: log(1/3) is added; nothing is where batches are drawn as they come."""
    learner = object.__new__(neural._Learner)
    learner.pairs = object.__new__(neural._Pairs)
    learner.pairs.label = np.array([1, 0, 0, 0])
    for balanced, offset in ((True, np.log(1 / 3)), (False, 0.0)):
        learner.recipe = replace(epivan.RECIPE, batch=8, balanced=balanced)
        assert learner._offset(np.arange(4)) == pytest.approx(offset)
        batch = next(learner._batches(np.arange(4), np.random.default_rng(0)))
        assert learner.pairs.label[batch].sum() == (4 if balanced else 2)


def test_motif_tokens_by_hand() -> None:
    """Occupancy one half at the threshold; the other strand reads bins and strands reversed."""
    scores = np.array([[[3.0, -32.0], [1.0, 40.0]], [[-32.0, 2.0], [3.0, -32.0]]], dtype=np.float16)
    store = ElementStore.of(np.concatenate([scores, scores[:1]]), np.array([2, 1]), "hand")
    inputs = MotifTokens(store, np.array([3.0, 2.0], dtype=np.float32))
    batch = inputs.gather(np.array([0, 0, 1]), np.array([False, True, False]))
    low = 1 / (1 + np.exp(2))
    first = [[0.5, 0, low, 1], [0, 0.5, 0.5, 0]]
    assert batch.mask.tolist() == [[True, True], [True, True], [True, False]]
    np.testing.assert_allclose(batch.content[0], first, atol=1 / 255)
    np.testing.assert_allclose(batch.content[1], [[0.5, 0, 0, 0.5], [low, 1, 0.5, 0]], atol=1 / 255)
    np.testing.assert_allclose(batch.content[2], [first[0], [0, 0, 0, 0]], atol=1 / 255)


@pytest.mark.parametrize("bins", [64, 65, 79, 128, 196])
def test_pooling_keeps_every_site_and_commutes_with_reverse_complement(bins: int) -> None:
    tokens = np.random.default_rng(bins).normal(0, 3, (bins, 2, 3)).astype(np.float16)
    inputs = MotifTokens(ElementStore.of(tokens, np.array([bins]), "one"), np.zeros(3, dtype=np.float32))
    turned = MotifTokens(ElementStore.of(tokens[::-1, ::-1], np.array([bins]), "rc"), np.zeros(3, dtype=np.float32))
    one = inputs.gather(np.array([0]), np.array([True])).content
    assert one.shape == (1, 64, 6)
    torch.testing.assert_close(one, turned.gather(np.array([0]), np.array([False])).content)
    best = 1 / (1 + np.exp(-tokens[::-1, ::-1].astype(float).reshape(bins, 6).max(axis=0)))
    np.testing.assert_allclose(one[0].amax(dim=0), best, atol=1 / 255)


def test_dna_windows_by_hand() -> None:
    """A short element stands in the middle of unknown bases; a long one gives its centre."""
    codes = np.concatenate([np.array([0, 0, 1], dtype=np.uint8), np.arange(2100, dtype=np.uint8) % 4])
    elements = pd.DataFrame({"length": [3, 2100], "offset": [0, 3]})
    inputs = DnaWindows(Dataset(pd.DataFrame(), elements, codes, NO_MANIFEST))
    assert inputs.window == 2048
    batch = inputs.gather(np.array([0, 0, 1]), np.array([False, True, False]))
    assert batch.mask.sum(dim=1).tolist() == [3, 3, 2048]
    assert batch.content[0][batch.mask[0]].tolist() == [0, 0, 1]
    assert batch.content[1][batch.mask[1]].tolist() == [2, 3, 3]
    assert batch.content[0][1022:1025].tolist() == [0, 0, 1]
    assert batch.content[2][:4].tolist() == [2, 3, 0, 1]  # 26 bases of 2,100 are left out before it


def test_kmers_by_hand() -> None:
    """AAAAAC is 1, AAAACG is 4 + 2; any unknown base makes 4,096."""
    codes = torch.tensor([[0, 0, 0, 0, 0, 1, 2], [3, 3, 3, 3, 3, 3, 4]])
    assert epivan.kmers(codes).tolist() == [[1, 6], [4095, 4096]]
