"""EPIsode's own methods: what is subtracted from U_I, which pairs are judged, and that no test label is ever read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

import episode.compare.methods.trained_run as trained_run
import episode.train.data as train_data
import episode.train.loop as loop
import tiny_world
from episode.checkpoint import Run, load_run, load_unseen, save_run
from episode.compare.methods import ablations, with_distance
from episode.compare.methods.base import FoldTask, RunnerResult, Scores
from episode.compare.methods.episode_methods import reference_of_network, score_fold
from episode.compare.methods.opportunist import shortcut_score
from episode.config import Config
from episode.data.dataset import Dataset
from episode.data.shortcuts import shortcut_statistics
from episode.episodes.sampler import Task
from episode.errors import EpisodeError
from episode.evaluate.figures import RunFigures
from episode.inference.pairs import pair_rows
from episode.inference.support_sampling import content_ranks, draw_support
from episode.metrics.label_shift import source_scores
from episode.metrics.metrics import best_f1_threshold, calibration_line, log_loss
from episode.predict.pairs import Predictions, predict_dataset
from known import known

LEVELS = ("episode.student", "episode.fused", "mean_impedance", "em", "bbse")
FEW = ("episode.few_label_0", "episode.few_label_8", "episode.few_label_32")
METHODS = {"episode.potential", "episode.teacher", *LEVELS, *FEW, "opportunist"}


class Killed(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module", autouse=True)
def no_scan(fold_task: FoldTask) -> Iterator[None]:
    """The bank of the task, and no scan: training must take the elements that the task holds."""

    def fail(*_: object) -> None:
        raise AssertionError("elements were encoded again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_data, "load_bank", lambda _: fold_task.bank)
        patch.setattr(train_data, "build_store", fail)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task(fold_task: FoldTask, tmp_path_factory: pytest.TempPathFactory) -> FoldTask:
    config = tiny_world.config("training.steps=4", "training.settle_steps=3", "training.validate_every=2")
    return replace(fold_task, config=config, folder=tmp_path_factory.mktemp("fold") / "runner")


@pytest.fixture(scope="module")
def queried() -> list[int]:
    """Labelled pairs that each task of the training run queried, in their order."""
    return []


@pytest.fixture(scope="module")
def trained(task: FoldTask, queried: list[int]) -> RunnerResult:
    """The methods as trained."""
    count = loop._Training._labelled

    def remember(self: Any, drawn: Task) -> int:
        queried.append(count(self, drawn))
        return queried[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Training, "_labelled", remember)
        return score_fold(task)


@pytest.fixture(scope="module")
def lively(task: FoldTask, trained: RunnerResult, tmp_path_factory: pytest.TempPathFactory) -> FoldTask:
    """A task whose folder holds a finished run with noise on its weights, so that pairs and environments differ."""
    folder = tmp_path_factory.mktemp("lively")
    shutil.copytree(task.folder / "run", folder / "run")
    run = load_run(folder / "run")
    noise = torch.Generator().manual_seed(1)
    for parameter in run.system.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    potential = predict_dataset(run, part(task, task.fold.test), task.store).pairs["potential"].to_numpy()
    run.system.temperature.log_temperature.fill_(float(np.log(potential.std() / 1.5)))
    level = float(potential.mean() + 0.5 * potential.std())
    calibration = run.facts.calibration.changed(**tiny_world.LIVELY, training_impedance=level)
    save_run(folder / "run", replace(run, facts=run.facts.changed(calibration=calibration)))
    return replace(task, folder=folder)


@pytest.fixture(scope="module")
def result(lively: FoldTask) -> RunnerResult:
    return score_fold(lively)


@pytest.fixture(scope="module")
def run(lively: FoldTask) -> Run:
    return load_run(lively.folder / "run")


@pytest.fixture(scope="module")
def predictions(lively: FoldTask, run: Run) -> Predictions:
    """What `episode predict` gives for the test rows."""
    return predict_dataset(run, part(lively, lively.fold.test), lively.store)


def part(task: FoldTask, mask: NDArray[np.bool_]) -> Dataset:
    return task.dataset.select(mask)


def held_out_potential(task: FoldTask, run: Run) -> NDArray[np.float64]:
    """U_I of the held-out training rows."""
    scored = predict_dataset(run, part(task, task.fold.held_out), task.store).pairs
    return scored["potential"].to_numpy(np.float64)


def temperature(run: Run) -> float:
    return float(run.system.temperature())


def figures_of(result: RunnerResult) -> RunFigures:
    """What the training run left for figures."""
    assert isinstance(result.extras, RunFigures)
    return result.extras


def level_of(result: RunnerResult) -> float:
    return known(figures_of(result).level)


def same(one: RunnerResult, other: RunnerResult) -> bool:
    return one.methods.keys() == other.methods.keys() and all(
        np.array_equal(getattr(one.methods[name], column), getattr(other.methods[name], column), equal_nan=True)
        for name in one.methods
        for column in ("score", "logit", "call")
    )


def impedances(result: RunnerResult, predictions: Predictions, run: Run, name: str) -> dict[str, float]:
    """The impedance of each environment that a method's logits imply; fails if they are not one number each."""
    gap = predictions.pairs["potential"] - temperature(run) * result.methods[name].logit
    by = gap.groupby(predictions.pairs["environment"])
    assert (by.max() - by.min()).max() < 1e-9, name
    return {str(key): float(value) for key, value in by.mean().items()}


def test_all_methods_of_all_pairs(result: RunnerResult, lively: FoldTask) -> None:
    assert set(result.methods) == METHODS
    left_out = lively.few_labels.left_out[lively.fold.test]
    for name, scores in result.methods.items():
        for values in (scores.score, scores.logit, scores.call):
            assert values.shape == (lively.fold.test.sum(),)
        missing = np.isnan(scores.score)
        assert missing.all() if name == "episode.teacher" else np.array_equal(missing, left_out & (name in FEW)), name
        if name == "episode.potential":
            assert np.isnan(scores.logit).all() and np.isnan(scores.call).all()
            continue
        assert np.array_equal(np.isnan(scores.logit), missing), name
        assert np.array_equal(np.isnan(scores.call), missing), name
        assert np.array_equal(scores.score, scores.logit, equal_nan=True), name


def test_the_numbers_are_those_of_prediction(result: RunnerResult, predictions: Predictions, run: Run) -> None:
    assert np.array_equal(result.methods["episode.fused"].logit, predictions.pairs["logit"])
    table = predictions.environments.set_index("environment")
    student = impedances(result, predictions, run, "episode.student")
    assert student == pytest.approx(table["r_student"].to_dict(), abs=1e-9)
    assert max(student.values()) - min(student.values()) > 1e-3
    level = level_of(result)
    mean = impedances(result, predictions, run, "mean_impedance")
    assert list(mean.values()) == pytest.approx(4 * [level], abs=1e-9)
    score = result.methods["episode.potential"].score
    assert score == pytest.approx((predictions.pairs["potential"].to_numpy() - level) / temperature(run), abs=1e-12)


def test_level_is_the_constant_of_smallest_log_loss_on_held_out_rows(
    result: RunnerResult, lively: FoldTask, run: Run
) -> None:
    held_out = part(lively, lively.fold.held_out)
    label, potential = held_out.pairs["label"].to_numpy(), held_out_potential(lively, run)
    assert set(label) == {0, 1} and held_out.pairs["cell_line"].nunique() == 8
    level, scale = level_of(result), temperature(run)

    def loss(impedance: float) -> float:
        found = log_loss(label, (potential - impedance) / scale)
        assert found is not None
        return found

    assert all(loss(level) < loss(level + step * scale) for step in (-1, -0.1, -0.01, 0.01, 0.1, 1))
    assert expit((potential - level) / scale).mean() == pytest.approx(label.mean(), abs=1e-6)
    assert abs(level - run.facts.calibration.training_impedance) > 0.05 * scale
    found = reference_of_network(run, trained_run.read_part(run, lively, lively.fold.held_out)).levels[None]
    assert (found.impedance, found.prevalence) == (level, pytest.approx(label.mean()))


def test_a_level_without_both_classes_is_that_of_training(lively: FoldTask, run: Run) -> None:
    pairs = lively.dataset.pairs
    table = pairs.assign(label=np.where(lively.fold.held_out, 0, pairs["label"]).astype(np.int8))
    task = replace(lively, dataset=replace(lively.dataset, pairs=table))
    for mask in (task.fold.held_out, np.zeros(len(pairs), dtype=bool)):
        found = reference_of_network(run, trained_run.read_part(run, task, mask)).levels[None]
        assert (found.impedance, found.prevalence) == (run.facts.calibration.training_impedance, run.facts.train_share)


def test_another_level_leaves_the_rankings_inside_environments(
    result: RunnerResult, lively: FoldTask, predictions: Predictions, run: Run
) -> None:
    """Other labels in the held-out rows give another level, and no run: the one in the folder is used as it is."""
    pairs, held_out = lively.dataset.pairs, lively.fold.held_out
    table = pairs.assign(label=np.where(held_out, 1 - pairs["label"], pairs["label"]).astype(np.int8))
    other = score_fold(replace(lively, dataset=replace(lively.dataset, pairs=table)))
    moved = (level_of(other) - level_of(result)) / temperature(run)
    assert abs(moved) > 0.1
    environment = predictions.pairs["environment"].to_numpy()
    for name in ("episode.potential", "mean_impedance"):
        before, after = result.methods[name].score, other.methods[name].score
        assert before - after == pytest.approx(moved, abs=1e-9)
    for row in ("episode.potential", *LEVELS):
        for name in np.unique(environment):
            here = environment == name
            order = np.argsort(result.methods[row].score[here])
            assert (np.diff(other.methods[row].score[here][order]) >= 0).all(), (row, name)
    for name in ("episode.student", "episode.fused", *FEW):
        assert np.array_equal(other.methods[name].score, result.methods[name].score, equal_nan=True), name


def test_one_ranking_inside_an_environment(result: RunnerResult, predictions: Predictions) -> None:
    environment = predictions.pairs["environment"].to_numpy()
    for name in np.unique(environment):
        here = environment == name
        order = np.argsort(result.methods["episode.potential"].score[here])
        for row in LEVELS:
            assert (np.diff(result.methods[row].score[here][order]) >= 0).all(), (name, row)


def test_teacher_where_it_knows_the_environment(lively: FoldTask, run: Run) -> None:
    """Test rows of training cell lines, on loci held out: some are known, those held out or pseudo-OOD are not."""
    task = replace(lively, fold=replace(lively.fold, test=lively.fold.held_out))
    methods, names = score_fold(task).methods, part(task, task.fold.test).pairs["environment"].to_numpy()
    known = np.isin(names, run.facts.environments)
    assert known.any() and not known.all()
    assert np.array_equal(np.isnan(methods["episode.teacher"].logit), ~known)
    potential = held_out_potential(lively, run) / temperature(run)
    teacher = dict(zip(run.facts.environments, run.system.teacher()[:, 0].tolist(), strict=True))
    expected = np.array([teacher.get(name, np.nan) for name in names]) / temperature(run)
    assert (potential - methods["episode.teacher"].logit)[known] == pytest.approx(expected[known], abs=1e-6)
    weight = run.facts.config.environment.fusion_weight
    fused = weight * methods["episode.teacher"].logit + (1 - weight) * methods["episode.student"].logit
    assert methods["episode.fused"].logit[known] == pytest.approx(fused[known], abs=1e-5)
    assert np.array_equal(methods["episode.fused"].logit[~known], methods["episode.student"].logit[~known])


def test_label_shift_estimators_on_the_support(
    result: RunnerResult, lively: FoldTask, predictions: Predictions, run: Run
) -> None:
    """EM: the mean corrected probability is the share found. BBSE: the mean mixes the two class means in that share."""
    level, label = level_of(result), part(lively, lively.fold.held_out).pairs["label"].to_numpy()
    prevalence = label.mean()
    source = source_scores(label, expit((held_out_potential(lively, run) - level) / temperature(run)))
    em, bbse = (impedances(result, predictions, run, name) for name in ("em", "bbse"))
    test = part(lively, lively.fold.test)
    rows = pair_rows(test)
    rank = content_ranks(0, test.digests, rows)
    environment = predictions.pairs["environment"].to_numpy()
    inside: list[bool] = []
    for name in np.unique(environment):
        index = np.flatnonzero(environment == name)
        support = index[draw_support(rank[index], rows.take(index), 64)]
        assert len(support) == 64 < len(index)
        found = expit(logit(prevalence) - (em[name] - level) / temperature(run))
        assert 0.01 < found < 0.99
        assert expit(result.methods["em"].logit[support]).mean() == pytest.approx(found, abs=1e-3)
        mean = expit(result.methods["mean_impedance"].logit[support]).mean()
        mixed = np.clip((mean - source.negative) / (source.positive - source.negative), 1e-4, 1 - 1e-4)
        assert bbse[name] == pytest.approx(level + temperature(run) * (logit(prevalence) - logit(mixed)), abs=1e-9)
        inside.append(0.01 < mixed < 0.99)
    assert any(inside)


def test_few_labels(result: RunnerResult, lively: FoldTask, predictions: Predictions, run: Run) -> None:
    """The same MAP update as prediction with labelled pairs; judged on rows that no update has seen."""
    few, test = lively.few_labels, lively.fold.test
    judged = ~few.left_out[test]
    assert not few.left_out[test].all() and few.left_out[few.rows[32]].all()
    assert np.array_equal(result.methods[FEW[0]].logit[judged], result.methods["episode.fused"].logit[judged])
    labelled = replace(lively.dataset, pairs=lively.dataset.pairs.assign(label=few.label))
    for count in (8, 32):
        shown = labelled.select(np.isin(np.arange(len(test)), few.rows[count]))
        content = part(lively, test)
        expected = predict_dataset(run, content, lively.store, labelled=(shown, lively.store))
        assert set(expected.environments["labels"]) == {count}
        logits = result.methods[f"episode.few_label_{count}"].logit
        assert logits[judged] == pytest.approx(expected.pairs["logit"].to_numpy()[judged], abs=1e-4)
        assert np.abs(logits[judged] - result.methods[FEW[0]].logit[judged]).max() > 1e-2


def test_shortcuts_alone(result: RunnerResult, lively: FoldTask, predictions: Predictions, run: Run) -> None:
    scores, environment = result.methods["opportunist"], predictions.pairs["environment"].to_numpy()
    student = predictions.environments.set_index("environment")["r_student"]
    statistics = shortcut_statistics(part(lively, lively.fold.test))
    raw = shortcut_score(run, lively.store, trained_run.read_part(run, lively, lively.fold.test))
    for name in np.unique(environment):
        here = environment == name
        assert -temperature(run) * raw[here].mean() == pytest.approx(student[name], abs=1e-5)
        _, group = np.unique(statistics[here], axis=0, return_inverse=True)
        alike = [raw[here][group.reshape(-1) == number] for number in range(group.max() + 1)]
        assert max(np.ptp(values) for values in alike) < 1e-5
        assert np.ptp(raw[here]) > 1e-3
    calibration = trained_run.read_part(run, lively, lively.fold.held_out)
    held_out = shortcut_score(run, lively.store, calibration)
    line = calibration_line(calibration.label, held_out)
    assert line is not None and line.slope != 1
    assert scores.logit == pytest.approx(line.intercept + line.slope * raw, abs=1e-9)
    threshold = known(best_f1_threshold(calibration.label, line.intercept + line.slope * held_out))
    assert np.array_equal(scores.call, scores.score >= threshold)


def test_calls_by_a_threshold_from_held_out_rows(result: RunnerResult, lively: FoldTask, run: Run) -> None:
    """Of all training cell lines: more rows, and another threshold, than those of the one group that chooses."""
    thresholds = {}
    for name, mask in (("held out", lively.fold.held_out), ("selection", lively.fold.selection)):
        own = predict_dataset(run, part(lively, mask), lively.store).pairs
        thresholds[name] = known(best_f1_threshold(own["label"], own["logit"]))
    assert thresholds["held out"] != thresholds["selection"]
    for name in ("episode.fused", FEW[0], FEW[2]):
        scores = result.methods[name]
        judged = np.isfinite(scores.score)
        assert np.array_equal(scores.call[judged], scores.score[judged] >= thresholds["held out"])
    raised = held_out_potential(lively, run) - level_of(result)
    label = part(lively, lively.fold.held_out).pairs["label"]
    threshold = known(best_f1_threshold(label, raised / temperature(run)))
    scores = result.methods["mean_impedance"]
    assert np.array_equal(scores.call, scores.score >= threshold)


def test_held_out_rows_of_one_class(result: RunnerResult, lively: FoldTask, run: Run) -> None:
    """Nothing is called, BBSE and the Opportunist claim nothing, and the level is that of training."""
    pairs = lively.dataset.pairs
    table = pairs.assign(label=np.where(lively.fold.held_out, 0, pairs["label"]).astype(np.int8))
    one_class = score_fold(replace(lively, dataset=replace(lively.dataset, pairs=table)))
    assert all(np.isnan(scores.call).all() for scores in one_class.methods.values())
    assert np.array_equal(one_class.methods["episode.fused"].score, result.methods["episode.fused"].score)
    assert level_of(one_class) == run.facts.calibration.training_impedance
    assert np.isnan(one_class.methods["bbse"].logit).all() and np.isfinite(one_class.methods["em"].logit).all()
    shortcuts = one_class.methods["opportunist"]
    raw = shortcut_score(run, lively.store, trained_run.read_part(run, lively, lively.fold.test))
    assert np.isnan(shortcuts.logit).all() and np.array_equal(shortcuts.score, raw)


def test_call_by_hand() -> None:
    score, chosen_on = np.array([0.4, 0.5, np.nan, 2.0]), np.array([0.1, 0.5, 0.9, np.nan])
    scores = Scores.called(score, score, chosen_on, np.array([0, 1, 1, 0], dtype=np.int8))
    assert np.array_equal(scores.call, [0, 1, np.nan, 1], equal_nan=True)
    nothing = Scores.called(score, score, np.full(4, np.nan), np.array([0, 1, 1, 0], dtype=np.int8))
    assert np.isnan(nothing.call).all()


def test_the_pairs_drawn_are_those_that_training_queried(trained: RunnerResult, queried: list[int]) -> None:
    assert len(queried) > 4
    assert trained.pairs_drawn == sum(queried) > 0


def test_extras_are_ready_for_json(trained: RunnerResult, task: FoldTask) -> None:
    extras = json.loads(figures_of(trained).model_dump_json())
    run = load_run(task.folder / "run")
    assert [record["environment"] for record in extras["impedance"]] == [f"unseen0{number}" for number in range(1, 5)]
    assert all(record["fold"] == "unseen" and record["support_size"] == 64 for record in extras["impedance"])
    assert extras["temperature"] == temperature(run)
    assert extras["offset"] == float(run.system.temperature.offset) != 0
    assert extras["alarms"] == json.loads((task.folder / "run" / "alarms.json").read_text())
    assert extras["roles"] == run.facts.roles.model_dump()
    series = extras["training"]
    assert [check["step"] for check in series["validation"]] == [2, 4, 6, 7]
    assert series["pacing"].keys() <= set(run.facts.environments) and series["pacing"]


def test_test_labels_change_nothing(
    trained: RunnerResult, task: FoldTask, true_label: NDArray[np.int8], tmp_path: Path
) -> None:
    """Even if a dataset held them, right or wrong. A start that left only a log behind is no obstacle."""
    assert (task.dataset.pairs["label"].to_numpy()[task.fold.test] == -1).all()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    table = task.dataset.pairs.assign(label=np.where(task.fold.test, 1 - true_label, true_label).astype(np.int8))
    other = replace(task, dataset=replace(task.dataset, pairs=table), folder=tmp_path)
    assert same(score_fold(other), trained)
    read = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert read == (task.folder / "run" / "model.safetensors").read_bytes()


def test_resumed_and_finished_runs(
    trained: RunnerResult, task: FoldTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(step: int, steps: int, text: str) -> None:
        if step == 5:
            raise Killed

    def broken_off(*arguments: object, **options: object) -> None:
        loop.train(*arguments, **options, report=killed)  # type: ignore[arg-type]

    other = replace(task, folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(trained_run, "train", broken_off)
        with pytest.raises(Killed):
            score_fold(other)
    assert same(score_fold(other), trained)
    with monkeypatch.context() as patch:
        patch.setattr(trained_run, "train", None)
        assert same(score_fold(other), trained)
        for changed in (replace(other, seed=1), replace(other, config=tiny_world.config())):
            with pytest.raises(EpisodeError, match="another configuration or seed"):
                score_fold(changed)


def test_what_is_learned_from(fold_task: FoldTask) -> None:
    """Not the rows within the gap, nor any outside the fold; validation rows that train lacks, for calibration."""
    pairs = fold_task.dataset.pairs
    split, outside = pairs["split"].copy(), (pairs["cell_line"] == "train01").to_numpy(bool)
    train = (split == "train").to_numpy(bool) & ~outside
    split.iloc[np.flatnonzero(train)[::7]] = "skip"
    fold = replace(fold_task.fold, train=train, held_out=fold_task.fold.held_out & ~outside)
    task = replace(fold_task, dataset=replace(fold_task.dataset, pairs=pairs.assign(split=split)), fold=fold)
    learned = trained_run.learning_part(task).pairs
    counts = split[~outside].value_counts()
    assert counts["skip"] > 0
    assert learned["split"].value_counts().to_dict() == {"train": counts["train"], "val": counts["val"]}
    assert "train01" not in set(learned["cell_line"])


CHANGES: dict[Callable[[FoldTask], RunnerResult], dict[str, object]] = {
    ablations.no_competition: {"losses.pull_in": 0.0, "losses.push_away": 0.0},
    ablations.no_distillation: {"losses.distillation": 0.0, "episodes.mixed": 0.0},
    ablations.no_pseudo_ood: {"episodes.pseudo_ood": 0.0},
    ablations.no_prior_shift: {"episodes.prior_shift": 0.0},
    with_distance.score_fold: {"potential.distance": True},
    ablations.single_pool: {"episodes.pseudo_ood": 0.0, "episodes.prior_shift": 0.0, "episodes.mixed": 0.0},
}


def flat(config: Config) -> dict[str, object]:
    return {f"{section}.{key}": value for section, part in config.model_dump().items() for key, value in part.items()}


@pytest.mark.parametrize("runner", CHANGES, ids=lambda runner: runner.__name__)
def test_an_ablation_changes_what_it_names(
    runner: Callable[[FoldTask], RunnerResult], task: FoldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[FoldTask, Dataset]] = []

    def stop(changed: FoldTask, dataset: Dataset) -> None:
        seen.append((changed, dataset))
        raise Killed

    monkeypatch.setattr(trained_run, "trained_run", stop)
    with pytest.raises(Killed):
        runner(task)
    [(changed, dataset)] = seen
    before, after = flat(task.config), flat(changed.config)
    assert {key: value for key, value in after.items() if value != before[key]} == CHANGES[runner]
    assert asdict(changed.fold).keys() == asdict(task.fold).keys() and changed.folder == task.folder
    expected = trained_run.learning_part(task).pairs
    if runner is ablations.single_pool:
        expected = expected.assign(cell_line=ablations.POOL, environment=ablations.POOL)
    assert dataset.pairs.equals(expected)


def test_single_pool(task: FoldTask, tmp_path: Path) -> None:
    changed = replace(task, folder=tmp_path)
    result = ablations.single_pool(changed)
    run = load_run(tmp_path / "run")
    assert run.facts.environments == (ablations.POOL,)
    assert list(result.methods) == ["ablation.single_pool"]
    predictions = predict_dataset(run, part(task, task.fold.test), task.store)
    assert np.array_equal(result.methods["ablation.single_pool"].logit, predictions.pairs["logit"])
    assert not predictions.environments["known"].any() and len(predictions.environments) == 4
    held_out = predict_dataset(run, part(task, task.fold.held_out), task.store).pairs
    threshold = best_f1_threshold(held_out["label"], held_out["logit"])
    assert np.array_equal(result.methods["ablation.single_pool"].call, predictions.pairs["logit"] >= threshold)
    assert "level" not in json.loads(figures_of(result).model_dump_json())


# -- under a closed-form Student --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["single", "cross-fitted"])
def closed(request: pytest.FixtureRequest, fold_task: FoldTask, tmp_path_factory: pytest.TempPathFactory) -> FoldTask:
    """A task of EPIsode with a closed-form Student, of one member or of two."""
    groups = 2 if request.param == "cross-fitted" else 0
    settings = ("training.steps=3", "training.settle_steps=2", f"crossfit.groups={groups}", "crossfit.seeds=1")
    config = tiny_world.config("environment.student=closed_form", *settings)
    return replace(fold_task, config=config, folder=tmp_path_factory.mktemp("closed") / "runner")


@pytest.fixture(scope="module")
def filled(closed: FoldTask) -> RunnerResult:
    return score_fold(closed)


def test_methods_of_a_closed_form_student(closed: FoldTask, filled: RunnerResult) -> None:
    run = load_run(closed.folder / "run")
    assert run.student is not None
    alone = len(run.members) == 1
    assert set(filled.methods) == METHODS | ({"episode.network"} if alone else set())
    assert filled.pairs_drawn == run.facts.provenance.queried != 0
    found = predict_dataset(run, part(closed, closed.fold.test), closed.store)
    potential = found.pairs["potential"].to_numpy()
    np.testing.assert_allclose(filled.methods["mean_impedance"].logit, potential - 3)
    np.testing.assert_allclose(filled.methods["episode.fused"].logit, found.pairs["logit"])
    for estimate in found.estimates:
        mine = (found.pairs["environment"] == estimate.environment).to_numpy()
        np.testing.assert_allclose(filled.methods["episode.student"].logit[mine], potential[mine] - estimate.r_student)
    usual: dict[str | None, float] = {view: scale.prevalence for view, scale in run.student.fitted.scales.items()}
    assert figures_of(filled).prevalence == {one.environment: usual[one.view] for one in found.estimates}


def test_calls_are_chosen_on_pairs_that_members_left_out(closed: FoldTask, filled: RunnerResult) -> None:
    unseen = load_unseen(closed.folder / "run")
    logits = {"mean_impedance": unseen["logit"], "episode.student": unseen["logit"] + unseen["level"]}
    for name, logit_there in logits.items():
        threshold = known(best_f1_threshold(unseen["label"], logit_there))
        scores = filled.methods[name]
        np.testing.assert_array_equal(scores.call, scores.score >= threshold)
    variant = trained_run.score_variant("variant", closed, closed.config).methods["variant"]
    np.testing.assert_array_equal(variant.call, filled.methods["episode.fused"].call)
    np.testing.assert_array_equal(variant.logit, filled.methods["episode.fused"].logit)


def test_the_network_that_the_student_stands_in_for(closed: FoldTask, filled: RunnerResult) -> None:
    """The same weights, trained with the network as the Student, say the same; members have none in common."""
    if closed.config.crossfit.groups:
        assert "episode.network" not in filled.methods
        return
    environment = closed.config.environment.changed(student="network")
    folder = closed.folder.with_name("network")
    own = score_fold(replace(closed, config=closed.config.changed(environment=environment), folder=folder))
    scores, wanted = filled.methods["episode.network"], own.methods["episode.fused"]
    np.testing.assert_array_equal(scores.logit, wanted.logit)
    np.testing.assert_array_equal(scores.call, wanted.call)


def test_a_fold_with_one_training_line_is_not_cross_fitted(closed: FoldTask, tmp_path: Path) -> None:
    line = closed.dataset.pairs["cell_line"] == "train01"
    settings = ("environment.student=closed_form", "training.steps=1", "training.settle_steps=0", "crossfit.groups=3")
    task = replace(closed, config=tiny_world.config(*settings), folder=tmp_path)
    learning = closed.dataset.select((line & (closed.dataset.pairs["split"] != "test")).to_numpy())
    assert len(trained_run.trained_run(task, learning).members) == 1
    assert len(trained_run.trained_run(task, learning).members) == 1, "a finished run is used"
