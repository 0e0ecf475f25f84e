import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.errors import DatasetError
from episode.evaluate.results import Summary
from episode.evaluate.summary import Truth, check_truth, load_truth, metrics_table, summarise
from episode.metrics.metrics import average_precision, log_loss, oracle_impedance
from known import known

NAMES = ["a", "b", "c", "d"]
IMPEDANCE = {"a": 1.0, "b": 2.0, "c": 3.5, "d": 4.5}
TEMPERATURE = 0.8


def simulated(n: int = 400, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, Truth]:
    """Four environments whose potential is the truth, and whose Student is 0.2 off."""
    rng = np.random.default_rng(seed)
    frames = []
    for name, impedance in IMPEDANCE.items():
        potential = rng.normal(2.5, 1.2, n)
        logit = (potential - impedance) / TEMPERATURE
        frames.append(
            pd.DataFrame(
                {
                    "environment": name,
                    "cell_line": name,
                    "enhancer_name": [f"e{i}" for i in range(n)],
                    "promoter_name": "p",
                    "label": (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int8),
                    "potential": potential,
                    "impedance": impedance + 0.2,
                    "logit": (potential - impedance - 0.2) / TEMPERATURE,
                    "true_logit": logit,
                }
            )
        )
    predictions = pd.concat(frames, ignore_index=True)
    student = np.array(list(IMPEDANCE.values())) + 0.2
    environments = pd.DataFrame(
        {
            "environment": NAMES,
            "cell_line": NAMES,
            "assay": "",
            "n": n,
            "known": [True, False, False, False],
            "r_student": student,
            "r_student_sd": 0.3,
            "r_student_low": student - 0.5,
            "r_student_high": student + 0.5,
            "r_teacher": [1.1, math.nan, math.nan, math.nan],
            "r_used": student,
            "support_size": 400,
            "warnings": ["", "", "support is small", ""],
        }
    )
    truth = Truth(
        environments=pd.DataFrame({"cell_line": NAMES, "impedance": list(IMPEDANCE.values())}),
        pairs=predictions[["cell_line", "enhancer_name", "promoter_name", "potential"]].assign(
            logit=predictions["true_logit"]
        ),
    )
    return predictions.drop(columns="true_logit"), environments, truth


def summary_of(predictions: pd.DataFrame, environments: pd.DataFrame, truth: Truth | None) -> Any:
    return summarise(predictions, environments, temperature=TEMPERATURE, truth=truth, training_impedance=2.5)


def test_keys_and_json() -> None:
    found = summary_of(*simulated())
    summary = found.model_dump()
    assert Summary.model_validate_json(json.dumps(summary, allow_nan=False)) == found
    assert list(summary["environments"]) == NAMES
    wanted = "n positives known aupr_potential aupr auroc log_loss brier ece f1 precision recall r_student"
    wanted += " r_student_sd r_student_low r_student_high r_teacher r_used r_oracle collapsed support_size warnings"
    assert set(wanted.split()) <= set(summary["environments"]["a"])
    pooled = "aupr_potential aupr auroc log_loss brier ece f1 precision recall"
    assert set(pooled.split()) <= set(summary["pooled"]) and set(pooled.split()) <= set(summary["macro"])
    truth = "spearman_impedance aupr_pooled_oracle_impedance aupr_bayes_pooled aupr_bayes_macro"
    truth += " log_loss_mean_impedance oracle_gain_share interval_coverage macro_aupr_over_bayes log_loss_bayes"
    assert set(truth.split()) == set(summary["truth"])
    assert summary["environments"]["b"]["r_teacher"] is None
    assert summary["environments"]["a"]["known"] is True


def test_pooled_oracle_mean_impedance_and_truth_against_direct_computation() -> None:
    predictions, environments, truth = simulated()
    summary = summary_of(predictions, environments, truth)
    label, potential = predictions["label"].to_numpy(), predictions["potential"].to_numpy()
    oracle = np.concatenate(
        [
            (part["potential"] - known(oracle_impedance(part["potential"], part["label"], TEMPERATURE))) / TEMPERATURE
            for _, part in predictions.groupby("environment", sort=False)
        ]
    )
    best = average_precision(label, oracle)
    assert summary.pooled.aupr_potential == average_precision(label, potential)
    assert summary.truth.aupr_pooled_oracle_impedance == pytest.approx(best)
    assert summary.truth.log_loss_mean_impedance == pytest.approx(log_loss(label, (potential - 2.5) / TEMPERATURE))
    pooled = summary.pooled
    assert summary.truth.oracle_gain_share == pytest.approx(
        (pooled.aupr - pooled.aupr_potential) / (best - pooled.aupr_potential)
    )
    assert summary.truth.oracle_gain_share == pytest.approx(1, abs=0.1)
    assert summary.truth.spearman_impedance == pytest.approx(1)
    assert summary.truth.macro_aupr_over_bayes == pytest.approx(1)  # its potential is the truth
    assert summary.truth.aupr_bayes_macro == pytest.approx(summary.macro.aupr_potential)
    assert summary.truth.log_loss_bayes == pytest.approx(log_loss(label, truth.pairs["logit"]))
    assert summary.oracle.log_loss < summary.pooled.log_loss < summary.mean_impedance.log_loss


def test_macro_is_the_mean_over_environments() -> None:
    summary = summary_of(*simulated())
    for key in ("aupr", "f1", "ece", "log_loss"):
        values = [getattr(entry, key) for entry in summary.environments.values()]
        assert getattr(summary.macro, key) == pytest.approx(sum(values) / 4)
    assert summary.macro.environments == 4


def test_interval_coverage_counts_environments() -> None:
    predictions, environments, truth = simulated()
    environments.loc[[0, 2], ["r_student_low", "r_student_high"]] = [90.0, 91.0]
    assert summary_of(predictions, environments, truth).truth.interval_coverage == 0.5


def test_row_order_does_not_matter() -> None:
    predictions, environments, truth = simulated()
    shuffled = predictions.sample(frac=1, random_state=1)
    before, after = summary_of(predictions, environments, truth), summary_of(shuffled, environments, truth)
    assert after.truth.model_dump() == pytest.approx(before.truth.model_dump())
    assert after.pooled.model_dump() == pytest.approx(before.pooled.model_dump())


def test_unlabelled_rows_and_one_class() -> None:
    predictions, environments, truth = simulated()
    predictions.loc[predictions["environment"] == "b", "label"] = -1
    predictions.loc[predictions["environment"] == "c", "label"] = 0
    summary = summary_of(predictions, environments, truth)
    empty, single = summary.environments["b"], summary.environments["c"]
    assert (empty.n, empty.share_positive, empty.log_loss, empty.r_oracle) == (
        0,
        None,
        None,
        None,
    )
    assert (single.n, single.positives, single.aupr, single.r_oracle) == (400, 0, None, None)
    assert single.log_loss > 0
    assert summary.macro.aupr == pytest.approx(np.mean([summary.environments[name].aupr for name in "ad"]))
    assert summary.pooled.n == 1200


def test_without_labels_everything_is_null_but_nothing_fails() -> None:
    predictions, environments, truth = simulated(50)
    summary = summary_of(predictions.assign(label=-1), environments, truth)
    assert summary.pooled.n == 0 and summary.macro.aupr is None
    assert summary.truth.macro_aupr_over_bayes is None and summary.oracle.gain_share is None
    json.dumps(summary.model_dump(), allow_nan=False)


def test_constant_student_has_no_rank_correlation() -> None:
    predictions, environments, truth = simulated()
    summary = summary_of(predictions, environments.assign(r_student=2.0), truth)
    assert summary.truth.spearman_impedance is None


def test_without_truth_there_is_no_such_key() -> None:
    predictions, environments, _ = simulated()
    summary = summary_of(predictions, environments, None)
    content = summary.model_dump()
    assert summary.truth is None and "truth" not in content and "r_true" not in content["environments"]["a"]
    assert summary.oracle.spearman_impedance == pytest.approx(1)


def test_missing_truth_is_an_error() -> None:
    predictions, environments, truth = simulated()
    with pytest.raises(DatasetError, match="lacks 1 of 1600 pairs, first a e0 p"):
        summary_of(predictions, environments, Truth(truth.environments, truth.pairs.iloc[1:]))
    with pytest.raises(DatasetError, match="no impedance for 1 cell lines, first 'd'"):
        summary_of(predictions, environments, Truth(truth.environments.iloc[:3], truth.pairs))


def test_names_that_pairs_share_have_no_truth() -> None:
    predictions, _, truth = simulated(20)
    check_truth(predictions.assign(enhancer_id=np.arange(len(predictions)), promoter_id=0), truth)
    twice = pd.concat([predictions, predictions.iloc[:1]], ignore_index=True)
    check_truth(twice.assign(enhancer_id=[*range(len(predictions)), 0], promoter_id=0), truth)
    with pytest.raises(DatasetError, match="several pairs are called a e0 p; needs names of their own"):
        check_truth(twice.assign(enhancer_id=np.arange(len(twice)), promoter_id=0), truth)


def test_unlisted_environment() -> None:
    predictions, environments, _ = simulated()
    with pytest.raises(ValueError, match="'d'"):
        summary_of(predictions, environments.iloc[:3], None)


def test_table() -> None:
    summary = summary_of(*simulated())
    table = metrics_table(summary)
    assert table["level"].tolist() == ["environment"] * 4 + ["macro", "pooled"]
    assert table.loc[5, "aupr"] == summary.pooled.aupr
    assert table.loc[0, "n"] == 400 and pd.isna(table["n"])[4]


class TestLoadTruth:
    def write(self, folder: Path) -> None:
        _, _, truth = simulated(20)
        folder.mkdir(exist_ok=True)
        truth.environments.assign(temperature=TEMPERATURE).to_csv(folder / "environments.tsv", sep="\t", index=False)
        truth.pairs.assign(split="test").to_parquet(folder / "pairs.parquet")

    def test_round_trip(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        predictions, environments, truth = simulated(20)
        loaded = load_truth(tmp_path)
        assert summary_of(predictions, environments, loaded) == summary_of(predictions, environments, truth)

    def test_missing_file_and_column(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"environments\.tsv: no such file"):
            load_truth(tmp_path)
        self.write(tmp_path)
        (tmp_path / "environments.tsv").write_text("cell_line\tR\na\t1\n")
        with pytest.raises(DatasetError, match="'impedance' is missing"):
            load_truth(tmp_path)
        (tmp_path / "environments.tsv").write_text("cell_line\timpedance\na\t1\nb\tx\n")
        with pytest.raises(DatasetError, match=r"environments\.tsv:3: impedance is not a number"):
            load_truth(tmp_path)

    def test_two_truths_for_a_cell_line(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        (tmp_path / "environments.tsv").write_text("cell_line\timpedance\na\t1\nb\t2\na\t3\n")
        with pytest.raises(DatasetError, match=r"environments\.tsv:4: cell line 'a' is there twice"):
            load_truth(tmp_path)

    def test_two_truths_for_a_pair(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        pairs = pd.read_parquet(tmp_path / "pairs.parquet")
        pd.concat([pairs, pairs.iloc[:1].assign(logit=9.0)]).to_parquet(tmp_path / "pairs.parquet")
        with pytest.raises(DatasetError, match="a e0 p has two different truths"):
            load_truth(tmp_path)


def test_with_a_spectrum_the_oracle_is_a_shift_on_top_of_what_pairs_differ_in() -> None:
    """Deviations that are also in the potential cancel: oracle, levels and log-loss stay those of the scalar."""
    predictions, environments, truth = simulated()
    scalar = summary_of(predictions, environments, truth)
    deviation = np.random.default_rng(5).normal(0, 1, len(predictions))
    apart = predictions.assign(
        potential=predictions["potential"] + deviation, impedance=predictions["impedance"] + deviation
    )
    spectrum = summary_of(apart, environments, truth)
    for name in NAMES:
        one, two = (summary.environments[name] for summary in (scalar, spectrum))
        assert two.r_oracle == pytest.approx(one.r_oracle, abs=1e-4)
        assert two.aupr == one.aupr and two.aupr_potential < one.aupr_potential
    assert spectrum.oracle.log_loss == pytest.approx(scalar.oracle.log_loss, abs=1e-6)
