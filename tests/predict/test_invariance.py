"""Predictions do not depend on how the work was cut up, nor on labels; and they follow the formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from episode.data.dataset import Dataset, assemble
from episode.data.genome import open_genome
from episode.data.readers import read_pairs
from episode.metrics.metrics import average_precision
from episode.predict.pairs import Predictions, genome_warning, predict_dataset
from episode.predict.student import half_width
from tiny_world import KEY, NUMBERS, TOLERANCE, dataset, lively_run, pairs, read, rows_of, shuffled, store_of, world

ESTIMATES = ["r_student", "r_student_sd", "r_student_low", "r_student_high", "r_teacher", "r_used", "r_used_low"]
LINES = ("train01", "train02", "unseen01", "unseen02")


def predict(content: Dataset, *, batch: int = 4096, seed: int = 0) -> Predictions:
    return predict_dataset(lively_run(), content, store_of(content), batch=batch, seed=seed)


def assert_same(first: Predictions, second: Predictions) -> None:
    """The same pairs and environments get the same numbers, in whatever order they stand."""
    left, right = (one.pairs.set_index(KEY)[NUMBERS].sort_index() for one in (first, second))
    assert left.index.equals(right.index) and left.index.is_unique
    pd.testing.assert_frame_equal(left, right, rtol=TOLERANCE, atol=TOLERANCE)
    left, right = (one.environments.set_index("environment")[ESTIMATES].sort_index() for one in (first, second))
    pd.testing.assert_frame_equal(left, right, rtol=TOLERANCE, atol=TOLERANCE)


def only(environment: str, predictions: Predictions) -> Predictions:
    """What was said of one environment."""
    pairs, environments = (
        table.loc[table["environment"] == environment] for table in (predictions.pairs, predictions.environments)
    )
    return Predictions(pairs, environments, (), (), predictions.exposure)


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
    result = predict(content)
    torch.set_num_threads(threads)
    return result


def test_the_run_under_test_tells_pairs_and_environments_apart(predictions: Predictions) -> None:
    """Else the invariances below would hold of anything."""
    assert predictions.pairs["potential"].std() > 1e3 * TOLERANCE
    assert predictions.environments["r_student"].std() > 1e2 * TOLERANCE
    assert (predictions.environments["r_student_sd"] > 1e2 * TOLERANCE).all()


@pytest.mark.parametrize("batch", [1 << 20, 64, 7])
def test_batch_size(content: Dataset, predictions: Predictions, batch: int) -> None:
    assert_same(predict(content, batch=batch), predictions)


def test_row_order(folder: Path, predictions: Predictions) -> None:
    assert_same(predict(read(shuffled(rows_of(*LINES)), folder, "shuffled.tsv")), predictions)


def test_order_of_cell_lines(folder: Path, predictions: Predictions) -> None:
    blocks = pd.concat([rows_of(name) for name in reversed(LINES)])
    assert_same(predict(read(blocks, folder, "blocks.tsv")), predictions)


def test_other_cell_lines_in_the_table(folder: Path, predictions: Predictions) -> None:
    """Each environment is estimated from its own pairs, so the others may as well be absent."""
    alone = predict(read(rows_of("unseen01"), folder, "alone.tsv"))
    assert_same(alone, only("unseen01", predictions))


def test_threads(content: Dataset, predictions: Predictions) -> None:
    torch.set_num_threads(2)  # one_thread puts it back
    alone = predict(content.select((content.pairs["environment"] == "unseen02").to_numpy()))
    assert_same(alone, only("unseen02", predictions))


def test_elements_that_no_pair_uses(predictions: Predictions) -> None:
    """A selection of a dataset keeps all its elements."""
    selection = dataset().select(dataset().pairs["cell_line"].isin(LINES).to_numpy())
    used = np.union1d(selection.pairs["enhancer_id"], selection.pairs["promoter_id"])
    assert len(used) < len(selection.elements)
    wanted = pairs()["cell_line"].isin(LINES).sum()
    assert len(selection.pairs) == len(predictions.pairs) == wanted
    assert_same(predict(selection), predictions)


@pytest.mark.parametrize("label", [-1, 0, 1, "flipped"])
def test_labels_are_not_read(content: Dataset, predictions: Predictions, label: int | str) -> None:
    table = content.pairs.copy()
    table["label"] = (1 - table["label"] if label == "flipped" else np.full(len(table), label)).astype(np.int8)
    result = predict(replace(content, pairs=table))
    for name in NUMBERS:
        np.testing.assert_array_equal(result.pairs[name], predictions.pairs[name])
    assert result.environments.equals(predictions.environments)


def test_seed_decides_which_pairs_are_the_support(content: Dataset, predictions: Predictions) -> None:
    """Every cell line here has more pairs than the largest support."""
    other = predict(content, seed=1)
    assert (other.environments["r_student"] != predictions.environments["r_student"]).all()
    np.testing.assert_array_equal(other.pairs["potential"], predictions.pairs["potential"])


def test_the_formula(predictions: Predictions) -> None:
    table, temperature = predictions.pairs, float(lively_run().system.temperature())
    logit = (table["potential"] - table["impedance"]) / temperature
    np.testing.assert_allclose(table["logit"], logit, rtol=1e-12)
    np.testing.assert_allclose(table["probability"], expit(logit), rtol=1e-12)
    assert (table["probability_low"] <= table["probability"]).all()
    assert (table["probability"] <= table["probability_high"]).all()
    assert (table["probability_low"] < table["probability_high"]).mean() > 0.9


def test_one_impedance_an_environment_leaves_its_ranking_alone(predictions: Predictions) -> None:
    for name, part in predictions.pairs.groupby("environment"):
        assert len(set(part["impedance"])) == 1
        row = predictions.environments.set_index("environment").loc[name]
        assert part["impedance"].iloc[0] == row["r_used"]
        np.testing.assert_array_equal(
            np.argsort(part["potential"].to_numpy(), kind="stable"),
            np.argsort(part["logit"].to_numpy(), kind="stable"),
        )
        label = part["label"].to_numpy()
        ranked = average_precision(label, part["potential"].to_numpy())
        assert ranked == pytest.approx(average_precision(label, part["logit"].to_numpy()), abs=1e-12)


def test_known_and_unseen_environments(predictions: Predictions) -> None:
    run = lively_run()
    weight = run.facts.config.environment.fusion_weight
    table = predictions.environments.set_index("environment")
    assert table["known"].to_dict() == {name: name in run.facts.environments for name in LINES}
    assert table["known"].sum() == 2  # train01 and train02 are in the Teacher's table of this run
    impedance = run.system.teacher()
    for name, row in table.iterrows():
        if row["known"]:
            assert row["r_teacher"] == float(impedance[run.facts.environments.index(str(name))])
            fused = weight * row["r_teacher"] + (1 - weight) * row["r_student"]
            assert row["r_used"] == pytest.approx(fused, abs=1e-6)
            assert abs(row["r_teacher"] - row["r_student"]) > 1e-3
        else:
            assert np.isnan(row["r_teacher"]) and row["r_used"] == row["r_student"]
        assert row["r_used_low"] < row["r_used"] < row["r_used_high"]
        share = 1 - weight if row["known"] else 1.0  # R_T is known without an error
        half = row["r_student_high"] - row["r_student"]
        assert row["r_used_high"] - row["r_used"] == pytest.approx(share * half, rel=1e-6)


def test_the_interval_counts_what_validation_did_not_see() -> None:
    run = lively_run()
    changes = {"impedance_error": 0.3, "impedance_environments": 8, "bootstrap_sd": 0.2}
    facts = run.facts.changed(calibration=run.facts.calibration.changed(**changes))
    calibrated = replace(run, facts=facts)
    quantile = 1.894578605  # 95 % of Student's t with 7 degrees of freedom
    assert half_width(calibrated, 0.1) == half_width(calibrated, 0.2) == pytest.approx(quantile * 0.3)
    assert half_width(calibrated, 0.52) == pytest.approx(quantile * (0.09 + 0.48**2) ** 0.5)


def test_another_assay_of_a_known_cell_line_is_unseen(folder: Path, predictions: Predictions) -> None:
    table = rows_of("train01")
    table["assay"] = "HiC"
    other = predict(read(table, folder, "assay.tsv")).environments.iloc[0]
    known = predictions.environments.set_index("environment").loc["train01"]
    assert (other["environment"], other["cell_line"], other["assay"]) == ("train01:HiC", "train01", "HiC")
    assert not other["known"] and np.isnan(other["r_teacher"])
    assert other["r_used"] == other["r_student"] == pytest.approx(known["r_student"], abs=TOLERANCE)


@pytest.mark.parametrize("count", [1, 3])
def test_a_handful_of_pairs_is_predicted_with_a_warning(folder: Path, count: int) -> None:
    result = predict(read(rows_of("unseen01").head(count), folder, f"few{count}.tsv"))
    row = result.environments.iloc[0]
    assert (row["n"], row["support_size"]) == (count, count)
    assert f"support of {count} pairs is smaller than any in training (32)" in row["warnings"]
    assert np.isfinite(result.pairs[NUMBERS].to_numpy(float)).all()


def test_no_warning_for_the_size_of_a_support_as_large_as_in_training(predictions: Predictions) -> None:
    assert (predictions.environments["support_size"] == 64).all()
    assert not predictions.environments["warnings"].str.contains("smaller").any()


def sequences(folder: Path, table: pd.DataFrame, name: str) -> Dataset:
    """A table of the world with sequences in place of coordinates."""
    content = read(table, folder, f"placed-{name}")
    letters = np.array(list("ACGTN"))
    columns: dict[str, Any] = {
        "cell_line": content.pairs["cell_line"],
        "label": content.pairs["label"].astype(str).replace("-1", ""),
    }
    for side in ("enhancer", "promoter"):
        columns[f"{side}_sequence"] = [
            "".join(letters[content.sequence(element)]) for element in content.pairs[f"{side}_id"]
        ]
    path = folder / name
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False)
    return assemble(read_pairs([path]), None, lively_run().facts.windows)


def test_pairs_without_coordinates_are_scored_in_both_orientations(folder: Path) -> None:
    """U_I of an unplaced pair is the mean of what it would be with the promoter on either side."""
    table = rows_of("unseen01").head(40)
    placed = read(table, folder, "placed.tsv")
    unplaced = sequences(folder, table, "unplaced.tsv")
    assert not unplaced.pairs["has_coordinates"].any()
    turned = replace(placed, pairs=placed.pairs.assign(mirrored=~placed.pairs["mirrored"]))
    forward, backward, mean = (predict(one).pairs["potential"].to_numpy() for one in (placed, turned, unplaced))
    assert np.abs(forward - backward).max() > 1e-2
    np.testing.assert_allclose(mean, (forward + backward) / 2, atol=TOLERANCE)


def test_row_order_of_pairs_without_coordinates(folder: Path) -> None:
    table = rows_of("unseen01")
    first = predict(sequences(folder, table, "first.tsv"))
    second = predict(sequences(folder, shuffled(table), "second.tsv"))
    columns = [*NUMBERS, "label"]
    left, right = (np.sort(one.pairs[columns].to_numpy(float), axis=0) for one in (first, second))
    np.testing.assert_allclose(left, right, atol=TOLERANCE)
    numbers = [name for name in ESTIMATES if name != "r_teacher"]
    np.testing.assert_allclose(
        first.environments[numbers].to_numpy(float), second.environments[numbers].to_numpy(float), atol=TOLERANCE
    )


def reverse_complement(text: str) -> str:
    return text.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def test_reading_the_other_strand_of_the_genome_changes_no_potential(folder: Path) -> None:
    """Every chromosome reverse-complemented, every coordinate counted from its other end: the same pairs."""
    table = rows_of("unseen01").head(60)
    placed = read(table, folder, "this-strand.tsv")
    lengths: dict[str, int] = {}
    with (folder / "turned.fa").open("w") as stream:
        for record in (world() / "genome.fa").read_text().split(">")[1:]:
            name, *lines = record.splitlines()
            letters = "".join(lines)
            lengths[name] = len(letters)
            stream.write(f">{name}\n{reverse_complement(letters)}\n")
    turned = table.copy()
    for side in ("enhancer", "promoter"):
        length = table[f"{side}_chrom"].map(lengths)
        turned[f"{side}_start"] = length - table[f"{side}_end"].astype(int)
        turned[f"{side}_end"] = length - table[f"{side}_start"].astype(int)
    path = folder / "other-strand.tsv"
    turned.to_csv(path, sep="\t", index=False)
    other = assemble(read_pairs([path]), open_genome(folder / "turned.fa"), lively_run().facts.windows)
    np.testing.assert_array_equal(other.pairs["mirrored"], ~placed.pairs["mirrored"])
    assert placed.pairs["mirrored"].nunique() == 2
    one, two = (predict(content).pairs["potential"].to_numpy() for content in (placed, other))
    assert np.std(one) > 1e3 * TOLERANCE
    np.testing.assert_allclose(one, two, atol=TOLERANCE)


def test_reverse_complements_of_pairs_without_coordinates_have_their_potential(folder: Path) -> None:
    unplaced = sequences(folder, rows_of("unseen01").head(40), "one-strand.tsv")
    table = pd.read_csv(folder / "one-strand.tsv", sep="\t")
    for side in ("enhancer", "promoter"):
        table[f"{side}_sequence"] = table[f"{side}_sequence"].map(reverse_complement)
    table.to_csv(folder / "two-strand.tsv", sep="\t", index=False)
    turned = assemble(read_pairs([folder / "two-strand.tsv"]), None, lively_run().facts.windows)
    assert not turned.pairs["has_coordinates"].any()
    one, two = (predict(content).pairs["potential"].to_numpy() for content in (unplaced, turned))
    assert np.std(one) > 1e3 * TOLERANCE
    np.testing.assert_allclose(one, two, atol=TOLERANCE)


def test_genome_warning(content: Dataset) -> None:
    run = lively_run()
    assert genome_warning(run, content.genome_hash) is None
    other = replace(run, facts=run.facts.changed(genome_sha256="0" * 64))
    text = genome_warning(other, content.genome_hash)
    assert text is not None and "another genome file" in text and content.genome_hash[:12] in text  # type: ignore[index]
    unknown = replace(run, facts=run.facts.changed(genome_sha256=None))
    assert genome_warning(unknown, content.genome_hash) is None
