"""Evaluating a run: the dataset must fit the run, labels come in after prediction, and the folder is complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.checkpoint import load_run
from episode.config import WindowConfig
from episode.data.dataset import Dataset
from episode.errors import EpisodeError
from episode.evaluate.evaluation import check_windows, evaluate, write_evaluation
from episode.evaluate.figures import Figures
from episode.evaluate.results import EvaluationResults
from episode.evaluate.summary import load_truth
from episode.metrics.metrics import average_precision
from episode.predict.pairs import predict_dataset
from episode.report.page import write_report
from episode.schema import read_model
from known import known
from tiny_world import closed_folder, crossfit_folder, dataset, lively_run, read, rows_of, run_folder, store_of, world


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read(rows_of("train01", "train02", "unseen01", "unseen02"), tmp_path_factory.mktemp("content"))


def test_the_numbers_are_those_of_the_predictions(content: Dataset) -> None:
    run, store = lively_run(), store_of(content)
    result = evaluate(run, content, store, seed=3)
    pd.testing.assert_frame_equal(result.predictions.pairs, predict_dataset(run, content, store, seed=3).pairs)
    for name, part in result.predictions.pairs.groupby("environment"):
        entry = result.results.environments[str(name)]
        label = part["label"].to_numpy()
        assert (entry.n, entry.positives) == (len(part), int(label.sum()))
        assert entry.aupr_potential == pytest.approx(average_precision(label, part["potential"].to_numpy()))
        assert entry.brier == pytest.approx(((part["probability"] - label) ** 2).mean())
        called = part["probability"].to_numpy() >= 0.5
        wanted = (called & (label == 1)).sum() / called.sum() if called.any() else None
        assert entry.precision in (0.0, None) if wanted is None else entry.precision == pytest.approx(wanted)
        assert entry.known == (name in run.facts.environments)
    assert result.results.pooled.n == len(content.pairs)
    assert result.results.provenance.seed == 3
    assert result.results.temperature == pytest.approx(float(run.system.temperature()))
    assert result.results.mean_impedance.impedance == run.facts.calibration.training_impedance


def test_labels_do_not_reach_the_predictions(content: Dataset) -> None:
    flipped = replace(content, pairs=content.pairs.assign(label=1 - content.pairs["label"]))
    first, second = (evaluate(lively_run(), one, store_of(one)) for one in (content, flipped))
    for name in ("potential", "impedance", "probability"):
        np.testing.assert_array_equal(first.predictions.pairs[name], second.predictions.pairs[name])
    assert first.results.pooled.positives + second.results.pooled.positives == len(content.pairs)


def test_intervals_cover_the_numbers_and_their_difference(content: Dataset) -> None:
    summary: Any = evaluate(lively_run(), content, store_of(content)).results
    intervals = summary.intervals
    assert intervals.block_bp == 5_000_000 and intervals.blocks >= 2
    for scope in ("macro", "pooled"):
        for key in ("aupr", "auroc", "log_loss", "ece"):
            number = getattr(intervals, scope)[key]
            assert number.value == pytest.approx(getattr(getattr(summary, scope), key))
            assert number.low <= number.high
    assert intervals.environments["unseen01"].auroc.value == pytest.approx(summary.environments["unseen01"].auroc)
    gain = intervals.gain.pooled.log_loss
    assert gain.value == pytest.approx(summary.pooled.log_loss - summary.mean_impedance.log_loss)
    assert intervals.gain.macro.auroc.value == pytest.approx(0)  # one impedance cannot change a ranking


def test_provenance(content: Dataset) -> None:
    run = lively_run()
    provenance = evaluate(run, content, store_of(content), seed=7).results.provenance
    assert provenance.seed == 7 and provenance.sources == list(content.manifest.sources)
    assert provenance.config == run.facts.config.model_dump(mode="json")
    assert len(provenance.training_sources[0].sha256) == 64
    keys = json.loads(provenance.model_dump_json(by_alias=True)).keys()
    assert {"episode", "python", "time", "genome SHA-256", "training seed", "calibration slope left"} <= set(keys)


@pytest.mark.parametrize(("folder", "members"), [(run_folder, 1), (closed_folder, 1), (crossfit_folder, 6)])
def test_an_evaluation_says_which_student_it_is_of(
    content: Dataset, tmp_path: Path, folder: Callable[[], Path], members: int
) -> None:
    run = load_run(folder())
    result = evaluate(run, content, store_of(content))
    student = result.results.student
    assert student is not None and student.members == members
    assert result.results.closed_form == (student.kind == "closed_form") == (folder is not run_folder)
    estimates = result.predictions.estimates
    assert student.views == ({} if folder is run_folder else {entry.environment: entry.view for entry in estimates})
    raised = [alarm.name for alarm in run.alarms]
    assert bool(student.nothing_transfers) == ("nothing_transfers" in raised)
    write_evaluation(result, tmp_path, run_folder=folder())
    logs = [folder() / "metrics.jsonl", folder() / "members" / "g0s0" / "metrics.jsonl"]
    assert (tmp_path / "training.jsonl").read_bytes() == logs[members > 1].read_bytes()
    assert read_model(tmp_path / "metrics.json", EvaluationResults, error=EpisodeError).student == student
    write_report(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert ("closed form" in page, "the mean of 6 members" in page) == (folder is not run_folder, members == 6)
    assert ("Nothing transfers, in training" in page) == ("nothing_transfers" in raised)


def test_known_only(content: Dataset) -> None:
    result = evaluate(lively_run(), content, store_of(content), known_only=True)
    assert list(result.results.environments) == ["train01", "train02"]
    assert set(result.predictions.pairs["environment"]) == {"train01", "train02"}
    unseen = content.select((content.pairs["cell_line"] == "unseen01").to_numpy())
    with pytest.raises(EpisodeError, match="known to the Teacher"):
        evaluate(lively_run(), unseen, store_of(unseen), known_only=True)


def test_other_windows_are_refused_with_the_options_that_would_do(content: Dataset) -> None:
    check_windows(lively_run(), content)
    other = replace(content, manifest=content.manifest.changed(windows=WindowConfig(enhancer=1024, promoter=0)))
    with pytest.raises(EpisodeError, match="--enhancer-window 0 --promoter-window 0"):
        evaluate(lively_run(), other, store_of(other))


def test_one_class_and_no_labels(content: Dataset) -> None:
    table = content.pairs.copy()
    table.loc[table["cell_line"] == "unseen01", "label"] = 1
    table.loc[table["cell_line"] == "unseen02", "label"] = -1
    changed = replace(content, pairs=table)
    entries = evaluate(lively_run(), changed, store_of(changed)).results.environments
    assert entries["unseen01"].aupr is None and entries["unseen01"].auroc is None
    assert known(entries["unseen01"].log_loss) > 0
    assert entries["unseen02"].n == 0 and entries["unseen02"].brier is None
    assert entries["unseen02"].r_used is not None
    unknown = replace(content, pairs=content.pairs.assign(label=-1))
    assert evaluate(lively_run(), unknown, store_of(unknown)).results.intervals is None
    assert entries["train01"].auroc is not None


def test_truth_of_the_world(content: Dataset) -> None:
    truth = load_truth(world() / "truth")
    summary: Any = evaluate(lively_run(), content, store_of(content), truth=truth).results
    simulated = truth.environments.set_index("cell_line")["impedance"]
    for name, entry in summary.environments.items():
        assert entry.r_true == pytest.approx(simulated[name])
        assert entry.aupr_bayes > entry.share_positive
    assert summary.truth.aupr_bayes_pooled > summary.pooled.share_positive


def test_the_folder(tmp_path: Path) -> None:
    content = dataset().select((dataset().pairs["split"] == "test").to_numpy())
    result = evaluate(lively_run(), content, store_of(content))
    write_evaluation(result, tmp_path, run_folder=run_folder())
    names = ["environments.tsv", "figures.json", "metrics.json", "metrics.tsv", "predictions.parquet", "training.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {entry["environment"] for entry in figures["impedance"]} == set(result.results.environments)
    assert figures["training"][0]["pacing"] and figures["training"][0]["validation"]
    assert set(figures["potential"]) == set(result.results.environments)
    written = json.loads((tmp_path / "metrics.json").read_text())
    said = result.results.model_dump(mode="json", by_alias=True)
    assert written == said | {"training_alarms": written["training_alarms"]}
    assert read_model(tmp_path / "metrics.json", EvaluationResults).training_alarms is not None
    assert read_model(tmp_path / "figures.json", Figures).training
    assert written["training_alarms"] == json.loads((run_folder() / "alarms.json").read_text())
    assert (tmp_path / "training.jsonl").read_bytes() == (run_folder() / "metrics.jsonl").read_bytes()
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    np.testing.assert_array_equal(table["potential"], result.predictions.pairs["potential"])
    before = (tmp_path / "metrics.json").read_bytes()
    write_evaluation(result, tmp_path, run_folder=run_folder())
    assert (tmp_path / "metrics.json").read_bytes() == before
