"""The comparison as its user meets it: one command, a table that grows, failures that are caught."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tiny_world
from episode.compare.folds import Fold, make_folds
from episode.compare.jobs import alone, blind, few_labels
from episode.compare.protocol import HoldoutConfig, Protocol, load_protocol
from episode.compare.results import ComparisonResults
from episode.evaluate.figures import ComparisonFigures
from episode.files import file_sha256
from episode.schema import read_model

pytestmark = pytest.mark.usefixtures("jobs_in_this_process")

DRAWS = """
name = "tiny"
[holdout]
by = "split"
[bootstrap]
draws = 50
"""


def protocol_file(folder: Path, text: str = DRAWS) -> Path:
    path = folder / "protocol.toml"
    path.write_text(text)
    return path


def compare(folder: Path, *arguments: object, out: str = "out") -> tiny_world.Outcome:
    options = [*tiny_world.as_options(), *arguments, "--workers", 1, "--out", folder / out]
    return tiny_world.episode("compare", protocol_file(folder), tiny_world.dataset_folder(), *options)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of EPIsode and two shortcuts on the tiny world, by a process of its own; do not alter it."""
    folder = tmp_path_factory.mktemp("compared")
    outcome = compare(folder, "--methods", "episode,shortcut", "--truth", tiny_world.world() / "truth")
    assert outcome.code == 0, outcome.err
    return folder


def results(folder: Path, out: str = "out") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / out / "results.json").read_text())
    return content


def test_the_results_are_complete_and_say_what_they_are_of(compared: Path) -> None:
    content = results(compared)
    read_model(compared / "out" / "results.json", ComparisonResults)
    figures = read_model(compared / "out" / "figures.json", ComparisonFigures)
    assert [alarm.model_dump() for alarm in figures.alarms] == content["alarms"]
    assert {"episode.potential", "episode.few_label_32", "mean_impedance", "em", "oracle", "bayes", "distance"} <= set(
        content["methods"]
    )
    assert content["provenance"]["pairs"] == len(tiny_world.dataset().pairs)
    assert content["audit"]["locus_leak"] is False
    assert content["methods"]["episode.potential"]["pooled"]["log_loss"]["value"] is None


def test_the_oracle_has_the_smallest_log_loss_of_all_impedances(compared: Path) -> None:
    methods = results(compared)["methods"]
    loss = {name: entry["pooled"]["log_loss"]["value"] for name, entry in methods.items()}
    for name in ("mean_impedance", "em", "bbse", "episode.student", "episode.fused"):
        assert loss["oracle"] < loss[name]


def test_no_impedance_changes_the_ranking_inside_an_environment(compared: Path) -> None:
    for entry in results(compared)["environments"].values():
        values = {
            name: entry["methods"][name]["auroc"]["value"] for name in ("episode.potential", "mean_impedance", "em")
        }
        assert np.ptp(list(values.values())) < 1e-12


def test_a_second_call_does_nothing_again_and_gives_the_same(compared: Path) -> None:
    before = results(compared)
    outcome = compare(compared, "--methods", "episode,shortcut", "--truth", tiny_world.world() / "truth")
    assert outcome.code == 0
    assert "[1/" not in outcome.err
    after = results(compared)
    for part in ("methods", "differences", "environments", "audit"):
        assert after[part] == before[part]


def test_more_methods_join_the_table(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "out", tmp_path / "out")
    alias = "--rows"  # of older versions
    outcome = compare(tmp_path, alias, "ctcf_convergence", "--truth", tiny_world.world() / "truth")
    assert outcome.code == 0, outcome.err
    content = results(tmp_path)
    assert "episode.potential-ctcf_convergence" in content["differences"]
    assert "episode.potential-ctcf_convergence" not in results(compared)["differences"]


def test_another_seed_or_setting_does_not_mix_into_the_table(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "out", tmp_path / "out")
    outcome = compare(tmp_path, "--methods", "distance", "--set", "training.patience=7")
    assert outcome.code == 2
    assert "holds a comparison with another config" in outcome.err


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    outcome = compare(tmp_path, "--methods", "distance")
    assert outcome.code == 2
    assert "is not empty and holds no comparison" in outcome.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_job_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    outcome = compare(tmp_path, "--methods", "ctcf_convergence,distance", "--set", "stem.min_information=19")
    assert outcome.code == 2
    assert "1 of 2 jobs failed: ctcf_convergence, seed 0, test:" in outcome.err
    assert (tmp_path / "out" / "scores" / "distance" / "seed0" / "test.parquet").exists()
    assert not (tmp_path / "out" / "results.json").exists()


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with alone(tmp_path / "out"):
        (tmp_path / "out" / "store").mkdir()
        outcome = compare(tmp_path, "--methods", "distance")
    assert outcome.code == 2
    assert "another process is running here" in outcome.err
    assert compare(tmp_path, "--methods", "distance").code == 0


def test_other_tables_than_those_built_from_are_refused(tmp_path: Path) -> None:
    tables, genome = tmp_path / "pairs.tsv", tiny_world.world() / "genome.fa"
    shutil.copy(tiny_world.world() / "pairs.tsv", tables)
    text = DRAWS + "[data]\nenhancer_window = 0\npromoter_window = 0\n"
    call = (
        "compare",
        protocol_file(tmp_path, text),
        "--genome",
        genome,
        "--methods",
        "distance",
        "--out",
        tmp_path / "out",
    )
    assert tiny_world.episode(*call[:2], tables, *call[2:], *tiny_world.as_options()).code == 0
    assert tiny_world.episode(*call[:2], tables, *call[2:], *tiny_world.as_options()).code == 0
    missing = tiny_world.episode(*call[:2], tmp_path / "typo.tsv", *call[2:], *tiny_world.as_options())
    assert missing.code == 2 and "typo.tsv: no such file" in missing.err
    tables.write_text(tables.read_text().replace("train01", "trainXX"))
    other = tiny_world.episode(*call[:2], tables, *call[2:], *tiny_world.as_options())
    assert other.code == 2 and "is not what" in other.err


def test_the_truth_of_another_world_is_noticed_before_the_work(tmp_path: Path) -> None:
    other = tmp_path / "truth"
    shutil.copytree(tiny_world.world() / "truth", other)
    table = pd.read_csv(other / "environments.tsv", sep="\t")
    table.iloc[:-1].to_csv(other / "environments.tsv", sep="\t", index=False)
    outcome = compare(tmp_path, "--methods", "distance", "--truth", other)
    assert outcome.code == 2
    assert "the truth has no impedance for 1 cell lines" in outcome.err
    assert not (tmp_path / "out").exists()


def tamper(compared: Path, folder: Path, methods: str, **columns: float) -> str:
    """Write other scores into a copy of a comparison, judge them, and return the page of the report."""
    shutil.copytree(compared / "out", folder / "out")
    path = folder / "out" / "scores" / "episode" / "seed0" / "test.parquet"
    scores = pd.read_parquet(path)
    mine = scores["name"].str.startswith(methods)
    for column, value in columns.items():
        scores.loc[mine & scores[column].notna(), column] = value
    scores.to_parquet(path, index=False)
    outcome = path.with_suffix(".json")
    outcome.write_text(json.dumps(json.loads(outcome.read_text()) | {"scores_sha256": file_sha256(path)}))
    assert compare(folder, "--methods", "distance", "--truth", tiny_world.world() / "truth").code == 0
    assert tiny_world.episode("report", folder / "out").code == 0
    return (folder / "out" / "index.html").read_text()


def test_collapse_raises_the_alarm(compared: Path, tmp_path: Path) -> None:
    page = tamper(compared, tmp_path, "episode.fused", logit=4.0)
    entry = results(tmp_path)["methods"]["episode.fused"]["pooled"]
    assert entry["recall"]["value"] == 1.0
    alarm = page[page.index("Collapse: at probability 0.5") :]
    assert "episode.fused" in alarm[: alarm.index("</li>")].replace("<wbr>", "")


def test_student_that_repeats_the_mean_raises_the_alarm(compared: Path, tmp_path: Path) -> None:
    path = compared / "out" / "scores" / "episode" / "seed0" / "test.json"
    for folder, spread in ((tmp_path / "flat", 0.0), (tmp_path / "alive", 1.0)):
        shutil.copytree(compared / "out", folder / "out")
        content = json.loads(path.read_text())
        oracle = {
            record["environment"]: record["r_oracle"]
            for record in json.loads((compared / "out" / "figures.json").read_text())["impedance"]
        }
        for record in content["extras"]["impedance"]:
            record["r_student"] = 3.0 + spread * oracle[record["environment"]]
        (folder / "out" / "scores" / "episode" / "seed0" / "test.json").write_text(json.dumps(content))
        assert compare(folder, "--methods", "distance", "--truth", tiny_world.world() / "truth").code == 0
        assert tiny_world.episode("report", folder / "out").code == 0
    assert "Mean-impedance Student" in (tmp_path / "flat" / "out" / "index.html").read_text()
    assert "Mean-impedance Student" not in (tmp_path / "alive" / "out" / "index.html").read_text()


def test_a_matched_baseline_draws_as_many_pairs_as_the_training_run(compared: Path, tmp_path: Path) -> None:
    """In whole batches of 64: less than one batch is missing."""
    shutil.copytree(compared / "out", tmp_path / "out")
    outcome = compare(tmp_path, "--methods", "epivan.matched", "--truth", tiny_world.world() / "truth")
    assert outcome.code == 0, outcome.err
    assert "[1/1] epivan.matched, seed 0, test" in outcome.err
    content = results(tmp_path)
    methods = content["methods"]
    (own,), (matched,) = (methods[name]["budget"] for name in ("episode.potential", "epivan.matched"))
    assert own["pairs_drawn"] - 64 < matched["pairs_drawn"] <= own["pairs_drawn"]
    assert matched["fold"] == own["fold"] == "test"
    assert matched["seconds"] == methods["epivan.matched"]["seconds"]
    assert methods["distance"]["budget"][0]["pairs_drawn"] is None
    assert "budget" not in methods["oracle"]
    assert "episode.potential-epivan.matched" in content["differences"]
    assert tiny_world.episode("report", tmp_path / "out").code == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "pairs drawn a fold" in page and f"{own['pairs_drawn']:,}" in page


def test_a_matched_baseline_needs_to_know_what_the_training_run_drew(compared: Path, tmp_path: Path) -> None:
    """As in a folder whose training run is of a version that did not count."""
    shutil.copytree(compared / "out", tmp_path / "out")
    path = tmp_path / "out" / "scores" / "episode" / "seed0" / "test.json"
    content = json.loads(path.read_text())
    del content["pairs_drawn"]
    path.write_text(json.dumps(content))
    outcome = compare(tmp_path, "--methods", "epivan.matched", "--truth", tiny_world.world() / "truth")
    assert outcome.code == 2
    assert "epivan.matched draws as many pairs as the training run of EPIsode" in outcome.err
    assert "test.json does not say how many" in outcome.err


SHARED = """
name = "shared"
[holdout]
by = "cell-lines"
[selection]
by = "row"
share = 0.1
[leakage]
policy = "audit"
[bootstrap]
draws = 20
"""


def test_cell_lines_on_shared_loci(tmp_path: Path) -> None:
    """Two of twelve lines are tested; a third joins the same folder; another balance does not."""
    lines = sorted(tiny_world.dataset().pairs["cell_line"].unique())

    def run(*arguments: object, methods: str = "distance,locus_memory") -> tiny_world.Outcome:
        (tmp_path / "shared.toml").write_text(SHARED)
        call = ("compare", tmp_path / "shared.toml", tiny_world.dataset_folder(), "--methods", methods, "--workers", 1)
        return tiny_world.episode(*call, *arguments, "--out", tmp_path / "out", *tiny_world.as_options())

    outcome = run("--balance", "--test-cell-lines", f"{lines[1]},{lines[4]}")
    assert outcome.code == 0, outcome.err
    content = results(tmp_path)
    assert [fold["fold"] for fold in content["audit"]["folds"]] == ["fold2", "fold5"]
    assert list(content["environments"]) == [lines[1], lines[4]]
    assert {entry["share_positive"] for entry in content["environments"].values()} == {0.5}
    assert content["audit"]["locus_leak"] and not content["audit"]["allowed"]
    assert list(content["protocol"]["subsets"]) == ["unseen_loci", "seen_loci"]
    memory = content["methods"]["locus_memory"]
    assert memory["unseen_loci"]["auroc"]["value"] == pytest.approx(0.5)  # one rate for all
    assert memory["seen_loci"]["auroc"]["value"] != pytest.approx(0.5)
    more = run("--balance", "--test-cell-lines", f"{lines[1]},{lines[4]},{lines[2]}")
    assert more.code == 0, more.err
    assert "fold3" in more.err and "fold2" not in more.err
    assert set(results(tmp_path)["environments"]) == {lines[1], lines[2], lines[4]}
    assert "holds a comparison with another holdout" in run("--no-balance").err


def test_cell_lines_to_test_are_refused_where_groups_are_tested(tmp_path: Path) -> None:
    outcome = compare(tmp_path, "--methods", "distance", "--test-cell-lines", "train01")
    assert outcome.code == 2
    assert '--test-cell-lines: protocol tiny has holdout.by = "split"; needed "cell-lines"' in outcome.err


def test_an_unknown_method_is_answered_with_a_near_one(tmp_path: Path) -> None:
    outcome = compare(tmp_path, "--methods", "ctfc_gbm")
    assert outcome.code == 2
    assert "no method 'ctfc_gbm'; did you mean 'ctcf_gbm'?" in outcome.err


def lines_only(folder: Path) -> Path:
    """A protocol that holds out cell lines and nothing else."""
    lines = sorted(tiny_world.dataset().pairs["cell_line"].unique())
    text = f'name = "lines"\n[holdout]\ncell_lines = {json.dumps([lines[::2], lines[1::2]])}\n[bootstrap]\ndraws = 20\n'
    path = folder / "lines.toml"
    path.write_text(text)
    return path


def test_leak_is_refused_and_marked_where_it_is_allowed(tmp_path: Path) -> None:
    arguments = ("compare", lines_only(tmp_path), tiny_world.dataset_folder(), "--methods", "distance", "--workers", 1)
    refused = tiny_world.episode(*arguments, "--out", tmp_path / "out", *tiny_world.as_options())
    assert refused.code == 2
    assert "leaks in 2 of 2 folds" in refused.err and "--allow-leakage" in refused.err
    assert not (tmp_path / "out").exists()
    allowed = tiny_world.episode(*arguments, "--allow-leakage", "--out", tmp_path / "out", *tiny_world.as_options())
    assert allowed.code == 0, allowed.err
    assert "THIS SPLIT LEAKS" in allowed.out
    assert results(tmp_path)["audit"]["allowed"] is True


def test_choice_on_test_has_no_label_to_choose_by() -> None:
    dataset = tiny_world.dataset()
    (fold,) = make_folds(load_protocol("simulated"), dataset)
    seen = blind(dataset, fold).pairs
    assert (seen["label"][fold.test] == -1).all()
    assert (seen["label"][fold.learnable] == dataset.pairs["label"][fold.learnable]).all()
    assert set(seen["split"][fold.test]) == {"test"}


def test_blinding_hides_what_is_neither_learned_nor_tested() -> None:
    dataset = tiny_world.dataset()
    chromosomes = sorted(dataset.pairs["enhancer_chrom"].unique())
    lines = sorted(dataset.pairs["cell_line"].unique())
    protocol = Protocol(
        name="x",
        holdout=HoldoutConfig(cell_lines=[lines[:6], lines[6:]], chromosomes=[chromosomes[:3], chromosomes[3:]]),
    )
    folds: list[Fold] = make_folds(protocol, dataset)
    for fold in folds:
        seen = blind(dataset, fold).pairs
        outside = ~fold.learnable
        assert (outside & ~fold.test).any()
        assert (seen["label"][outside] == -1).all()
        assert set(seen["split"][fold.gap]) <= {"skip"}
        assert set(seen["split"][fold.held_out]) == {"val"}


def test_shown_labels_are_nested_at_most_half_and_left_out() -> None:
    dataset = tiny_world.dataset()
    (fold,) = make_folds(load_protocol("simulated"), dataset)
    few = few_labels(dataset, fold, seed=3)
    environment = dataset.pairs["environment"]
    assert set(few.rows[8]) < set(few.rows[32]) < set(few.rows[128])
    assert len(few.rows[0]) == 0
    assert (environment.iloc[few.rows[8]].value_counts() == 8).all()
    size = environment[fold.test].value_counts()
    assert (environment.iloc[few.rows[128]].value_counts() <= size / 2).all()
    assert few.left_out[few.rows[128]].all()
    assert not (few.left_out & ~fold.test).any()
    assert (few.label >= 0).sum() == len(few.rows[128])
    shown = set(map(tuple, dataset.pairs.loc[few.left_out, ["enhancer_id", "promoter_id"]].to_numpy()))
    kept = set(map(tuple, dataset.pairs.loc[fold.test & ~few.left_out, ["enhancer_id", "promoter_id"]].to_numpy()))
    assert not shown & kept


def test_few_label_methods_are_judged_on_the_same_pairs(compared: Path) -> None:
    methods = results(compared)["methods"]
    counts = {methods[f"episode.few_label_{count}"]["n"] for count in (0, 8, 32, 128)}
    assert len(counts) == 1
    assert counts.pop() < methods["episode.fused"]["n"]


def test_environment_of_one_class_has_no_ranking_and_is_left_out_of_the_mean(tmp_path: Path) -> None:
    table = pd.read_csv(tiny_world.world() / "pairs.tsv", sep="\t", dtype=str)
    line = table.loc[table["split"] == "test", "cell_line"].iloc[0]
    table.loc[(table["cell_line"] == line) & (table["split"] == "test"), "label"] = "0"
    path = tmp_path / "pairs.tsv"
    table.to_csv(path, sep="\t", index=False)
    text = DRAWS + "[data]\nenhancer_window = 0\npromoter_window = 0\n"
    outcome = tiny_world.episode(
        "compare",
        protocol_file(tmp_path, text),
        path,
        "--genome",
        tiny_world.world() / "genome.fa",
        *("--methods", "distance", "--workers", 1, "--out", tmp_path / "out"),
        *tiny_world.as_options(),
    )
    assert outcome.code == 0, outcome.err
    content = results(tmp_path)
    by_line = {name: entry["methods"]["distance"]["auroc"]["value"] for name, entry in content["environments"].items()}
    assert by_line[line] is None
    others = [value for name, value in by_line.items() if name != line]
    assert content["methods"]["distance"]["macro"]["auroc"]["value"] == pytest.approx(np.mean(others))


def test_the_methods_of_a_comparison_stay_methods_of_sequence(tmp_path: Path) -> None:
    outcome = compare(tmp_path, "--methods", "distance", "--set", "potential.distance=true")
    assert outcome.code == 2 and "add episode_distance to --methods" in outcome.err
