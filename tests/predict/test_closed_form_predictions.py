"""Predictions under a closed-form Student, by hand from what the run holds: members, scale, forecast, Teacher."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from episode.checkpoint import ClosedStudent, Run, load_run
from episode.data.dataset import Dataset
from episode.data.places import Places
from episode.encode.store import ElementStore, build_store
from episode.errors import ConfigError
from episode.inference.closed_form import Scale, View
from episode.inference.composition import Composition
from episode.inference.pairs import PairRows, pair_rows
from episode.inference.scoring import score_rows
from episode.predict.impedance import map_impedance
from episode.predict.pairs import Predictions, predict_dataset
from episode.predict.streaming import blocks as staging
from episode.predict.streaming.job import Request, open_job
from episode.predict.student import Prevalence
from tiny_world import (
    KEY,
    NUMBERS,
    TOLERANCE,
    closed_folder,
    crossfit_folder,
    dataset_folder,
    episode,
    read,
    rows_of,
    shuffled,
    world,
)

LINES = ("train01", "train02", "unseen01", "unseen02")
SCALES: dict[View, Scale] = {"shared": Scale(0.8, -1.1, 0.3), "new": Scale(0.5, -0.7, 0.25)}
ESTIMATES = ["r_student", "r_student_sd", "r_student_low", "r_student_high", "r_teacher", "r_used", "r_used_low"]
REACH = 1.6448536269514722


def lively(folder: Path) -> Run:
    """A run with noise on the weights of its members, and slopes that so few steps do not reach."""
    run = load_run(folder)
    assert run.student is not None
    noise = torch.Generator().manual_seed(1)
    for member in run.members:
        for parameter in member.system.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    scales = {view: SCALES[view] for view in run.student.fitted.scales}
    return replace(run, student=replace(run.student, fitted=replace(run.student.fitted, scales=scales)))


@functools.cache
def crossfitted() -> Run:
    """Six members."""
    return lively(crossfit_folder())


@functools.cache
def single() -> Run:
    """One member."""
    return lively(closed_folder())


def student_of(run: Run) -> ClosedStudent:
    assert run.student is not None
    return run.student


def elsewhere(run: Run) -> Run:
    """The run as if training had been at other loci."""
    nowhere = Places.of(pd.DataFrame({"chrom": [], "start": [], "end": []}), [])
    return replace(run, student=replace(student_of(run), places=nowhere))


def store_of(content: Dataset) -> ElementStore:
    run = crossfitted()
    return build_store(content, run.bank, run.facts.config.stem)


def predict(run: Run, content: Dataset, **options: Any) -> Predictions:
    return predict_dataset(run, content, store_of(content), **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def content(folder: Path) -> Dataset:
    return read(rows_of(*LINES), folder)


@pytest.fixture(scope="module")
def predictions(content: Dataset) -> Predictions:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = predict(crossfitted(), content)
    torch.set_num_threads(threads)
    return result


# -- by hand ----------------------------------------------------------------------------------------------------------


def standardised(run: Run, content: Dataset) -> np.ndarray:
    """Mean over the members of (U_I - L) / T."""
    rows, store = pair_rows(content), store_of(content)
    parts = [
        (score_rows(member.system.backbone, store, rows).potential.double().numpy() - member.level) / member.temperature
        for member in run.members
    ]
    return np.mean(parts, axis=0)


def view_of(environment: str) -> View:
    """Training lines lie where training has been; the unseen ones of the world are on chromosomes of their own."""
    return "shared" if environment.startswith("train") else "new"


@pytest.mark.parametrize(
    ("made", "view"),
    [(crossfitted, view_of), (lambda: elsewhere(crossfitted()), lambda _: "new"), (single, lambda _: "new")],
    ids=["cross-fitted", "elsewhere", "single"],
)
def test_every_number_by_hand(made: Callable[[], Run], view: Callable[[str], View], content: Dataset) -> None:
    run, found = made(), predict(made(), content)
    u, fitted = standardised(run, content), student_of(run).fitted
    composition = Composition(store_of(content), run.bank, run.facts.config.stem)
    weight = run.facts.config.environment.fusion_weight
    assert len(run.members) == (1 if made is single else 6)
    known = 0
    for estimate, support in zip(found.estimates, found.supports, strict=True):
        mine = (content.pairs["environment"] == estimate.environment).to_numpy()
        seen = view(estimate.environment)
        scale = SCALES[seen]
        assert estimate.view == seen
        assert len(support) == mine.sum() == estimate.support_size, "the whole environment is read"
        rows = pair_rows(content).take(support)
        reading = fitted.read(seen, u[support], composition.pairs(rows), rows.clusters)
        forecast = fitted.forecast(reading, seen)
        student = max(0.0, 3 - forecast.level)
        assert estimate.r_student == pytest.approx(student, abs=TOLERANCE)
        assert estimate.r_student_sd == pytest.approx(forecast.sd, rel=1e-4)
        assert estimate.r_student_high - estimate.r_student == pytest.approx(forecast.half_width, rel=1e-4)
        members = [one for one in run.members if estimate.environment in one.environments]
        assert estimate.known == bool(members)
        impedance, half = student, forecast.half_width
        if members:
            known += 1
            levels = [
                (float(one.system.teacher()[one.environments.index(estimate.environment)]) - mean) / one.temperature
                for one in members
                for mean in [float(one.system.teacher().mean())]
            ]
            b = -scale.slope * float(np.mean(levels))
            assert estimate.r_teacher == pytest.approx(max(0.0, 3 - b), abs=TOLERANCE)
            impedance, half = weight * max(0.0, 3 - b) + (1 - weight) * student, (1 - weight) * half
        else:
            assert math.isnan(estimate.r_teacher)
        assert estimate.r_used == pytest.approx(impedance, abs=TOLERANCE)
        potential = scale.slope * u[mine] + scale.intercept + 3
        logit = potential - impedance
        table = found.pairs[mine]
        wanted = {
            "potential": potential,
            "impedance": np.full(mine.sum(), impedance),
            "logit": logit,
            "probability": expit(logit),
            "probability_low": expit(logit - half),
            "probability_high": expit(np.minimum(logit + half, potential)),  # R_E is not below 0
        }
        for name, values in wanted.items():
            np.testing.assert_allclose(table[name], values, atol=2 * TOLERANCE, err_msg=name)
    assert known, "a known line is among them"


def test_the_run_under_test_tells_pairs_and_environments_apart(content: Dataset, predictions: Predictions) -> None:
    assert predictions.pairs["potential"].std() > 1e3 * TOLERANCE
    assert predictions.environments["r_student"].std() > 1e2 * TOLERANCE
    run, rows, store = crossfitted(), pair_rows(content), store_of(content)
    found = [score_rows(one.system.backbone, store, rows).potential.double().numpy() for one in run.members]
    members = [(u - one.level) / one.temperature for u, one in zip(found, run.members, strict=True)]
    assert np.median(np.std(members, axis=0)) > 1e2 * TOLERANCE, "members differ, so their mean is none of them"


def test_the_impedance_leaves_the_ranking_in_an_environment_alone(predictions: Predictions) -> None:
    for _, part in predictions.pairs.groupby("environment"):
        assert part["impedance"].max() == part["impedance"].min()
        by_potential, by_logit = (np.argsort(part[name].to_numpy(), kind="stable") for name in ("potential", "logit"))
        np.testing.assert_array_equal(by_potential, by_logit)


def test_a_forecast_beyond_the_gauge_is_clipped(content: Dataset) -> None:
    """A line more than e^3 easier than the mean has R_S = 0, and an interval that begins there."""
    fitted = student_of(crossfitted()).fitted
    offsets = {view: replace(offset, level=offset.level + 40.0) for view, offset in fitted.offsets.items()}
    easy = replace(crossfitted(), student=replace(student_of(crossfitted()), fitted=replace(fitted, offsets=offsets)))
    for estimate in predict(easy, content).estimates:
        assert estimate.r_student == estimate.r_student_low == 0.0
        assert estimate.r_student_high > 0


# -- views ------------------------------------------------------------------------------------------------------------


def pairs_of(enhancer: list[int], promoter: list[int]) -> PairRows:
    count = len(enhancer)
    return PairRows(
        enhancer=np.array(enhancer),
        promoter=np.array(promoter),
        mirrored=np.zeros(count, dtype=bool),
        oriented=np.ones(count, dtype=bool),
        label=np.full(count, -1, dtype=np.int8),
        locus=np.arange(count),
        shortcuts=np.zeros((count, 9), dtype=np.float32),
        distance=np.ones(count),
    )


@pytest.mark.parametrize(
    ("enhancer", "promoter", "view"),
    [
        ([0, 1, 2], [3, 0, 4], "shared"),
        ([1, 1, 2], [3, 0, 4], "new"),
        ([0, 1], [3, 4], "new"),
        ([0, 0], [3, 4], "shared"),
    ],
)
def test_the_view_is_that_of_most_pairs(enhancer: list[int], promoter: list[int], view: View) -> None:
    """Element 0 overlaps a place of training by a base; half of the pairs are not most of them."""
    columns = {"chrom": ["c"] * 5, "start": [99, 100, 200, 300, 400], "end": [150, 150, 250, 350, 450]}
    places = Places.of(pd.DataFrame({"chrom": ["c"], "start": [50], "end": [100]}), [b""])
    student = replace(student_of(crossfitted()), places=places)
    elements, digests = pd.DataFrame(columns), [f"{number:032x}".encode() for number in range(5)]
    assert student.view(elements, digests, pairs_of(enhancer, promoter)) == view
    alone = replace(student, fitted=replace(student.fitted, scales={"shared": SCALES["shared"]}))
    assert alone.view(elements, digests, pairs_of(enhancer, promoter)) == "shared", "the only one that was fitted"


def test_views_are_decided_by_the_support_and_said(content: Dataset) -> None:
    views = predict(crossfitted(), content).environments.set_index("environment")["view"]
    assert views.to_dict() == {name: view_of(name) for name in LINES}
    assert set(predict(elsewhere(crossfitted()), content).environments["view"]) == {"new"}


# -- labels and told prevalence ---------------------------------------------------------------------------------------


def test_few_labels_update_the_impedance_in_log_odds(content: Dataset, folder: Path) -> None:
    labelled = read(rows_of("unseen01").head(12).assign(label="1"), folder, "labelled.tsv")
    told = (labelled, store_of(labelled))
    before, after = (predict(crossfitted(), content, labelled=one).environments for one in (None, told))
    free: Any
    row: Any
    free, row = (table.set_index("environment").loc["unseen01"] for table in (before, after))
    potential = SCALES["new"].slope * standardised(crossfitted(), labelled) + SCALES["new"].intercept + 3
    prior_sd = (free["r_used_high"] - free["r_used"]) / REACH
    best, sd = map_impedance(potential, np.ones(12, dtype=int), 1.0, prior=free["r_used"], prior_sd=prior_sd)
    assert row["r_used"] == pytest.approx(best, abs=1e-4) and row["r_used"] < free["r_used"]
    assert row["r_used_high"] == pytest.approx(best + REACH * sd, abs=1e-4)
    assert (row["labels"], row["r_student"]) == (12, free["r_student"])
    one, two = (table[table["environment"] != "unseen01"] for table in (before, after))
    pd.testing.assert_frame_equal(one, two)


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


@pytest.mark.parametrize("made", [crossfitted, single])
def test_a_told_prevalence_by_hand(made: Callable[[], Run], content: Dataset) -> None:
    """From the prevalence at which the view is calibrated."""
    told = predict(made(), content, told=Prevalence(0.2))
    free = predict(made(), content)
    usual = {"shared": 0.3, "new": 0.25}
    for name, part in told.pairs.groupby("environment"):
        view = view_of(str(name)) if made is crossfitted else "new"
        np.testing.assert_allclose(part["impedance"], 3 - (log_odds(0.2) - log_odds(usual[view])))
    np.testing.assert_array_equal(told.pairs["potential"], free.pairs["potential"])
    for name in ("probability_low", "probability_high"):
        np.testing.assert_array_equal(told.pairs[name], told.pairs["probability"])
    assert set(told.environments["prevalence"]) == {0.2} and free.environments["prevalence"].isna().all()
    pd.testing.assert_frame_equal(told.environments[ESTIMATES[:5]], free.environments[ESTIMATES[:5]])


def test_a_told_prevalence_that_is_not_certain_by_hand(content: Dataset) -> None:
    """Mean 0.2 and sd 0.1 are a beta of 3 and 12: log-odds of mean H(2) - H(11), variance from sums of 1/k^2."""
    mean = 1.5 - sum(1 / k for k in range(1, 12))
    sixth = math.pi**2 / 6
    variance = (sixth - 1 - 1 / 4) + (sixth - sum(1 / k**2 for k in range(1, 12)))
    told = predict(single(), content, told=Prevalence(0.2, 0.1)).environments
    np.testing.assert_allclose(told["r_used"], 3 - (mean - log_odds(0.25)), rtol=1e-9)
    np.testing.assert_allclose(told["r_used_high"] - told["r_used"], REACH * math.sqrt(variance), rtol=1e-9)
    np.testing.assert_allclose(told["r_used"] - told["r_used_low"], REACH * math.sqrt(variance), rtol=1e-9)


def test_labels_refine_a_told_prevalence_unless_it_is_certain(content: Dataset, folder: Path) -> None:
    labelled = read(rows_of("unseen01").head(12).assign(label="1"), folder, "told.tsv")
    few = (labelled, store_of(labelled))
    for sd, moves in ((0.0, False), (0.1, True)):
        tables = [predict(crossfitted(), content, told=Prevalence(0.2, sd), labelled=one) for one in (None, few)]
        before, after = (estimate.r_used for table in tables for estimate in table.estimates[2:3])
        assert tables[1].estimates[2].environment == "unseen01"
        assert (after < before - 0.01) if moves else after == before


@pytest.mark.parametrize(
    ("mean", "sd", "message"),
    [
        (0.0, 0.0, "--prevalence 0: needed a number between 0 and 1"),
        (1.0, 0.0, "--prevalence 1: needed a number between 0 and 1"),
        (math.nan, 0.0, "--prevalence nan"),
        (0.2, -0.1, "--prevalence-sd -0.1"),
        (
            0.2,
            0.4,
            "--prevalence-sd 0.4: needed a number from 0 to below 0.4, the most that a prevalence of 0.2 can",
        ),
        (0.2, math.nan, "--prevalence-sd nan"),
    ],
)
def test_prevalences_that_do_not_exist(mean: float, sd: float, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Prevalence(mean, sd)
    assert message in str(caught.value)


# -- invariance -------------------------------------------------------------------------------------------------------


def assert_same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    left, right = (one.set_index(KEY)[NUMBERS].sort_index() for one in (first, second))
    assert left.index.equals(right.index) and left.index.is_unique
    pd.testing.assert_frame_equal(left, right, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("batch", [64, 7])
def test_batch_size(content: Dataset, predictions: Predictions, batch: int) -> None:
    assert_same(predict(crossfitted(), content, batch=batch).pairs, predictions.pairs)


def test_row_order(folder: Path, predictions: Predictions) -> None:
    turned = predict(crossfitted(), read(shuffled(rows_of(*LINES)), folder, "shuffled.tsv"))
    assert_same(turned.pairs, predictions.pairs)
    left, right = (one.environments.set_index("environment")[ESTIMATES].sort_index() for one in (turned, predictions))
    pd.testing.assert_frame_equal(left, right, rtol=TOLERANCE, atol=TOLERANCE)


def test_threads(content: Dataset, predictions: Predictions) -> None:
    torch.set_num_threads(2)  # one_thread puts it back
    assert_same(predict(crossfitted(), content).pairs, predictions.pairs)


def test_labels_are_not_read(content: Dataset, predictions: Predictions) -> None:
    flipped = replace(content, pairs=content.pairs.assign(label=(1 - content.pairs["label"]).astype(np.int8)))
    found = predict(crossfitted(), flipped)
    pd.testing.assert_frame_equal(found.pairs[NUMBERS], predictions.pairs[NUMBERS])
    assert found.environments.equals(predictions.environments)


def test_a_job_of_several_files_equals_a_prediction_in_memory(
    predictions: Predictions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "ROWS", 64)
    monkeypatch.setattr("episode.predict.streaming.first_pass.load_run", lambda _: crossfitted())
    table = shuffled(rows_of(*LINES))
    places = [name for name in table.columns if name.endswith(("_start", "_end"))]
    table = table.astype(dict.fromkeys(places, "int64"))
    (tmp_path / "tables").mkdir()
    for number in range(3):
        table.iloc[number::3].to_parquet(tmp_path / "tables" / f"{number}.parquet", index=False)
    files = tuple(str(tmp_path / "tables" / f"{number}.parquet") for number in range(3))
    request = Request(str(crossfit_folder()), files, genome=str(world() / "genome.fa"), formats=("parquet",))
    job = open_job(request, tmp_path / "out")
    assert len(job.parts) > 3
    for part in job.parts:
        job.score(part)
    plan = job.finish()
    found = [pd.read_parquet(path) for path in sorted((tmp_path / "out" / "predictions").iterdir())]
    assert_same(pd.concat(found), predictions.pairs)
    for one, two in zip(plan.estimates, predictions.estimates, strict=True):
        assert (one.environment, one.view, one.support_size) == (two.environment, two.view, two.support_size)
        assert one.r_student == pytest.approx(two.r_student, abs=TOLERANCE)


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [closed_folder, crossfit_folder])
def test_predict_tells_the_prevalence_it_was_told(made: Callable[[], Path], tmp_path: Path) -> None:
    rows_of("unseen01").to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    words = ("predict", made(), tmp_path / "pairs.tsv", "--genome", world() / "genome.fa", "--threads", 1)
    outcome = episode(*words, "--out", tmp_path / "out", "--prevalence", 0.2)
    assert outcome.code == 0, outcome.err
    assert "told prevalence 0.2" in outcome.out
    usual = student_of(load_run(made())).fitted.scales["new"].prevalence
    table = pd.read_csv(tmp_path / "out" / "environments.tsv", sep="\t")
    assert table["r_used"].item() == pytest.approx(3 - log_odds(0.2) + log_odds(usual))
    assert table["view"].item() == "new"
    for wrong, need in (
        (("--prevalence-sd", 0.1), "--prevalence-sd: needs --prevalence"),
        (("--prevalence", 1), "--prevalence"),
        (("--prevalence", 0.1, "--prevalence-sd", 0.5), "--prevalence-sd 0.5"),
    ):
        refused = episode(*words, "--out", tmp_path / "refused", *wrong)
        assert refused.code != 0 and need in refused.err
        assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("made", [closed_folder, crossfit_folder])
def test_a_run_is_evaluated_reported_and_explained(made: Callable[[], Path], tmp_path: Path) -> None:
    evaluated = episode("evaluate", made(), dataset_folder(), "--out", tmp_path / "evaluated", "--threads", 1)
    assert evaluated.code == 0, evaluated.err
    assert (tmp_path / "evaluated" / "training.jsonl").read_text()
    reported = episode("report", tmp_path / "evaluated", "--out", tmp_path / "report")
    assert reported.code == 0, reported.err
    options = ("--pairs", 1, "--figures", 0, "--threads", 1)
    explained = episode("explain", made(), dataset_folder(), "--out", tmp_path / "explained", *options)
    assert explained.code == 0, explained.err
