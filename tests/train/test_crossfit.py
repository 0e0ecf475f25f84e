"""Cross-fitting: who leaves out what, what a run folder of members holds, and that each member is made once."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import episode.train.crossfit as crossfit
import episode.train.data as reading
import episode.train.loop as loop
from episode.checkpoint import Run, load_run, load_unseen
from episode.config import Config, CrossfitConfig, override
from episode.data.dataset import Dataset
from episode.data.places import Places
from episode.encode.motifs import load_bank
from episode.encode.store import ElementStore, build_store
from episode.episodes.roles import BUFFER
from episode.errors import CheckpointError, EpisodeError
from episode.inference.closed_form import View
from episode.inference.composition import Composition
from episode.inference.pairs import pair_rows
from episode.inference.scoring import score_rows
from episode.metrics.metrics import oracle_impedance
from episode.predict.pairs import predict_dataset
from episode.train.crossfit import Group, make_groups
from episode.train.finalize import TrainingResult
from episode.train.student_fit import averaging_factor, fit_scales
from episode.train.student_records import LineScores
from known import known
from made_once import made_once
from resealed import reseal
from small_systems import pair_table
from tiny_world import (
    CROSSFIT,
    as_options,
    closed_folder,
    crossfit_folder,
    dataset,
    dataset_folder,
    episode,
    merged,
    run_folder,
)

LINES = ("train01", "train02", "train03")
QUICK = merged(*CROSSFIT, "crossfit.seeds=1", "training.steps=2", "training.settle_steps=1")
read_bank = functools.cache(load_bank)
SIDES = ("enhancer", "promoter")


def groups_of(pairs: pd.DataFrame, count: int = 3, seed: int = 0) -> list[Group]:
    return make_groups(pairs, CrossfitConfig(groups=count), seed)


def tables(*sizes: int) -> pd.DataFrame:
    """Lines a, b, c ... of so many pairs."""
    parts = [pair_table(1, size, seed).assign(cell_line="abcdefgh"[seed]) for seed, size in enumerate(sizes)]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(environment=table["cell_line"])


def held_out(group: Group) -> np.ndarray:
    return group.block | group.new_loci


# -- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lines", "count", "found"), [(5, 3, 3), (6, 6, 6), (2, 5, 2), (3, 2, 2), (3, 64, 3)])
def test_every_line_is_left_out_once(lines: int, count: int, found: int) -> None:
    groups = groups_of(pair_table(lines, 40), count)
    assert len(groups) == found
    assert sorted(line for group in groups for line in group.lines) == [f"line{n}" for n in range(lines)]
    assert all(group.lines for group in groups)


def test_groups_have_about_as_many_labelled_pairs() -> None:
    """By hand: 40 + 10 and 30 + 20."""
    assert [group.lines for group in groups_of(tables(10, 40, 20, 30), 2)] == [("a", "b"), ("c", "d")]


def test_pairs_without_label_do_not_count() -> None:
    table = tables(60, 40, 30)
    table.loc[(table["cell_line"] == "a") & (table.index > 4), "label"] = -1  # 5 are left: 40 against 30 + 5
    assert [group.lines for group in groups_of(table, 2)] == [("b",), ("a", "c")]


def test_rows_have_one_place_each() -> None:
    pairs = pair_table(5, 80)
    pairs["split"] = np.resize(["train", "val", "test", ""], len(pairs))
    used = (pairs["split"] != "test").to_numpy()
    for group in groups_of(pairs):
        own = pairs["cell_line"].isin(group.lines).to_numpy()
        masks = np.stack([group.learned, group.block, group.known_loci, group.new_loci])
        assert masks.sum(0).max() == 1 and masks.any(1).all()
        assert not masks[:, ~used].any()
        assert not masks[:2, own].any() and not masks[2:, ~own].any()
        assert (pairs["split"].to_numpy()[group.learned] == "val").any(), "rows of split val are learned from"


def test_loci_held_out_differ_by_group_and_lie_away_from_what_is_learned() -> None:
    pairs = pair_table(4, 240)
    groups = groups_of(pairs, 4)
    assert np.stack([held_out(group) for group in groups]).sum(0).max() == 1
    low = pairs[["enhancer_start", "promoter_start"]].min(axis=1).to_numpy()
    high = pairs[["enhancer_end", "promoter_end"]].max(axis=1).to_numpy()
    for group, chrom in itertools.product(groups, ("chr1", "chr2", "chr3")):
        here = (pairs["enhancer_chrom"] == chrom).to_numpy()
        inside, learned = here & held_out(group), here & (group.learned | group.known_loci)
        assert inside.sum() == pytest.approx(0.2 * here.sum(), abs=2)
        gaps = np.maximum(low[learned][:, None] - high[inside], low[inside] - high[learned][:, None])
        assert gaps.min() >= BUFFER


def test_on_short_chromosomes_the_gap_is_a_twentieth() -> None:
    pairs = pair_table(3, 300)
    for column in (f"{side}_{end}" for side in SIDES for end in ("start", "end")):
        pairs[column] //= 50  # within 2 Mb
    ends, starts = pairs["promoter_end"].to_numpy(), pairs["enhancer_start"].to_numpy()
    for group in groups_of(pairs):
        assert group.learned.any() and group.block.any()
        for chrom in ("chr1", "chr2", "chr3"):
            here = (pairs["enhancer_chrom"] == chrom).to_numpy()
            inside, learned = here & held_out(group), here & group.learned
            gaps = np.maximum(starts[learned][:, None] - ends[inside], starts[inside] - ends[learned][:, None])
            assert gaps.min() >= (ends[here].max() - starts[here].min()) / 20


def test_without_coordinates_whole_loci_are_held_out() -> None:
    pairs = pair_table(3, 300).assign(has_coordinates=False)
    pairs["locus"] = np.arange(len(pairs)) % 150
    blocks = []
    for group in groups_of(pairs):
        learned, out = (set(pairs["locus"][mask]) for mask in (group.learned | group.known_loci, held_out(group)))
        assert not learned & out and len(learned) + len(out) == 150
        assert 10 < len(out) < 55
        blocks.append(out)
    assert not any(one & two for one, two in itertools.combinations(blocks, 2))


def test_groups_do_not_depend_on_the_order_of_rows() -> None:
    pairs = pair_table(5, 60)
    order = np.random.default_rng(0).permutation(len(pairs))
    for one, two in zip(groups_of(pairs), groups_of(pairs.iloc[order].reset_index(drop=True)), strict=True):
        assert one.lines == two.lines
        for name in ("learned", "block", "known_loci", "new_loci"):
            np.testing.assert_array_equal(getattr(one, name)[order], getattr(two, name))


# -- what members learn from ------------------------------------------------------------------------------------------


def three_lines() -> Dataset:
    return dataset().select(dataset().pairs["cell_line"].isin(LINES).to_numpy())


def quick(*settings: str) -> Config:
    """Settings of three members of three steps, with some changed."""
    return override(Config(), list(merged(*QUICK, *settings)))


@pytest.fixture(autouse=True)
def one_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The motif bank is read and thinned once: it takes longer than so short a training run."""
    monkeypatch.setattr(reading, "load_bank", read_bank)


@pytest.fixture(scope="module")
def store() -> ElementStore:
    run = load_run(run_folder())
    return build_store(dataset(), run.bank, run.facts.config.stem)


@pytest.fixture
def train(store: ElementStore) -> Callable[..., TrainingResult]:
    def start(folder: Path, *settings: str, content: Dataset | None = None, **options: Any) -> TrainingResult:
        given: dict[str, Any] = {"seed": 0, "store": store} | options
        return crossfit.train(three_lines() if content is None else content, quick(*settings), folder=folder, **given)

    return start


def test_a_member_sees_nothing_of_its_lines_and_learns_nothing_of_its_block(
    train: Callable[..., TrainingResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, Dataset, Config, int]] = []

    def remember(content: Dataset, config: Config, **options: Any) -> None:
        seen.append((options["folder"].name, content, config, options["seed"]))

    monkeypatch.setattr(crossfit, "train_member", remember)
    monkeypatch.setattr(crossfit, "_close", lambda *_: None)
    train(tmp_path / "run", "crossfit.seeds=2")
    assert [name for name, *_ in seen] == ["g0s0", "g0s1", "g1s0", "g1s1", "g2s0", "g2s1"]
    assert len({seed for *_, seed in seen}) == 6
    groups = make_groups(three_lines().pairs, CrossfitConfig(groups=3), 0)
    key = ["environment", "enhancer_id", "promoter_id"]
    whole = three_lines().pairs
    for number, (_, content, config, _) in enumerate(seen):
        group, table = groups[number // 2], content.pairs
        assert not set(table["cell_line"]) & set(group.lines) and table["cell_line"].nunique() == 2
        learned, judged = (table.loc[table["split"] == split, key].to_numpy() for split in ("train", "val"))
        np.testing.assert_array_equal(learned, whole.loc[group.learned, key].to_numpy())
        np.testing.assert_array_equal(judged, whole.loc[group.block, key].to_numpy())
        assert len(learned) and len(judged)
        assert (config.training.keep, config.environment.student, config.crossfit.groups) == ("last", "network", 0)
        assert config.episodes.validation_share == 0, "no line is kept from a member for validation"


# -- the run folder ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run() -> Run:
    return load_run(crossfit_folder())


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_files_of_the_run_folder() -> None:
    members = [f"g{group}s{seed}" for group in range(3) for seed in range(2)]
    each = ("alarms.json", "metrics.jsonl", "model.safetensors", "run.json")
    files = {f"members/{name}/{file}" for name in members for file in each}
    own = {"alarms.json", "members/bank.json", "run.json", "student.safetensors", "unseen.parquet"}
    assert set(bytes_of(crossfit_folder())) == files | own
    assert json.loads((crossfit_folder() / "members" / "g0s0" / "run.json").read_text())["bank"] is None
    alone = {"alarms.json", "metrics.jsonl", "model.safetensors", "run.json", "student.safetensors", "unseen.parquet"}
    assert set(bytes_of(closed_folder())) == alone


def test_what_the_run_says_of_its_members(run: Run) -> None:
    assert run.facts.student is not None
    groups = make_groups(dataset().pairs, CrossfitConfig(groups=3), run.facts.seed)
    names = [f"g{group}s{seed}" for group in range(3) for seed in range(2)]
    assert [member.name for member in run.facts.student.members] == names
    drawn = 0
    for number, facts in enumerate(run.facts.student.members):
        member = load_run(crossfit_folder() / "members" / facts.name)
        assert facts.left_out == groups[number // 2].lines
        assert not set(member.facts.environments) & set(facts.left_out)
        assert member.facts.provenance.best_step == member.facts.provenance.steps == 5, "the last step is kept"
        assert facts.temperature == member.facts.calibration.trained_temperature
        assert run.members[number].environments == member.facts.environments
        drawn += known(member.facts.provenance.queried)
    assert run.facts.provenance.queried == drawn > 0
    assert run.temperature == 1.0
    lines = sorted(dataset().pairs.loc[dataset().pairs["split"] != "test", "environment"].unique())
    assert sorted({name for member in run.members for name in member.environments}) == list(run.facts.environments)
    assert set(run.facts.environments) <= set(lines)


def test_places_are_those_of_every_element_of_training(run: Run) -> None:
    assert run.student is not None
    content = dataset()
    used = content.pairs["split"] != "test"
    ids = np.unique(content.pairs.loc[used, ["enhancer_id", "promoter_id"]])
    wanted = Places.of(content.elements.iloc[ids], [content.digests[number] for number in ids])
    for name in ("chrom", "start", "end", "digests"):
        np.testing.assert_array_equal(getattr(run.student.places, name), getattr(wanted, name))


def standardised(run: Run, numbers: list[int], rows: np.ndarray, store: ElementStore) -> np.ndarray:
    """(U_I - L) / T of some members, shape (members, rows)."""
    table = pair_rows(dataset()).take(rows)
    members = [run.members[number] for number in numbers]
    potential = [score_rows(one.system.backbone, store, table).potential.double().numpy() for one in members]
    return np.stack([(u - one.level) / one.temperature for u, one in zip(potential, members, strict=True)])


def test_the_level_of_a_member_fits_what_it_learned_from(run: Run, store: ElementStore) -> None:
    label = dataset().pairs["label"].to_numpy()
    groups = make_groups(dataset().pairs, CrossfitConfig(groups=3), run.facts.seed)
    for number in (0, 3):
        rows = np.flatnonzero(groups[number // 2].learned & (label >= 0))
        u = standardised(run, [number], rows, store)[0]
        assert oracle_impedance(u, label[rows], 1.0) == pytest.approx(0, abs=1e-5)


def test_unseen_pairs_are_scored_by_the_members_that_left_their_line_out(run: Run, store: ElementStore) -> None:
    assert run.student is not None
    table = dataset().pairs
    label, line = table["label"].to_numpy(), table["environment"].to_numpy()
    groups = make_groups(table, CrossfitConfig(groups=3), run.facts.seed)
    unseen = load_unseen(crossfit_folder())
    means: list[np.ndarray] = []
    differences: list[np.ndarray] = []
    lines: dict[View, list[LineScores]] = {"shared": [], "new": []}
    composition = np.zeros((1, 1), np.float32)
    parts: tuple[tuple[View, str], ...] = (("shared", "known_loci"), ("new", "new_loci"))
    for view, part in parts:
        for number, group in enumerate(groups):
            for name in group.lines:
                rows = np.flatnonzero(getattr(group, part) & (line == name))
                u = standardised(run, [2 * number, 2 * number + 1], rows, store)
                means.append(u.mean(0))
                for other, held in enumerate(groups):
                    if other != number and held.block[rows].any():
                        theirs = standardised(run, [2 * other, 2 * other + 1], rows[held.block[rows]], store)
                        differences.append(u.mean(0)[held.block[rows]] - theirs.mean(0))
                nothing = np.broadcast_to(composition, (len(rows), 1))
                clusters = pair_rows(dataset()).take(rows).clusters
                lines[view].append(LineScores(name, u.mean(0), label[rows].astype(np.int8), clusters, nothing))
    scales = fit_scales(lines)
    for view, same in lines.items():
        for scores in same:
            known_rows = scores.label >= 0
            mine = unseen[(unseen["view"] == view) & (unseen["environment"] == scores.environment)]
            wanted = np.sort(scales[view].logit(scores.potential[known_rows]))
            np.testing.assert_allclose(np.sort(mine["logit"]), wanted, atol=1e-5)
            assert mine["label"].sum() == (scores.label == 1).sum()
            assert (mine["level"] == mine["level"].iloc[0]).all()
    factor = averaging_factor(means, differences, groups=3)
    assert factor > 1
    for view, scale in run.student.fitted.scales.items():
        assert scale.slope == pytest.approx(factor * scales[view].slope, rel=1e-4)
        assert scale.prevalence == pytest.approx(scales[view].prevalence)


def test_a_composition_channel_for_each_matrix_and_side(run: Run, store: ElementStore) -> None:
    assert run.student is not None
    rows = pair_rows(dataset()).take(np.arange(5))
    found = Composition(store, run.bank, run.facts.config.stem).pairs(rows)
    assert found.shape == (5, 2 * len(run.bank)) == (5, len(run.student.fitted.centre))


# -- once, whoever makes it -------------------------------------------------------------------------------------------


def quick_folder() -> Path:
    """Three members of three steps, by the command."""
    options = ("--cell-lines", ",".join(LINES), "--threads", 1, *as_options(QUICK))

    def make(path: Path) -> None:
        outcome = episode("train", dataset_folder(), "--out", path, *options)
        assert outcome.code == 0, outcome.err

    return made_once("quick-crossfit", make)


def test_the_same_bytes_from_the_library(train: Callable[..., TrainingResult], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    train(tmp_path / "run", report=lambda step, steps, _: told.append((step, steps)))
    assert bytes_of(tmp_path / "run") == bytes_of(quick_folder())
    assert told == [(step, 9) for step in range(1, 10)], "progress counts the steps of all members"


def test_what_is_missing_is_made_again_and_nothing_else(
    train: Callable[..., TrainingResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = bytes_of(quick_folder()), tmp_path / "run"
    shutil.copytree(quick_folder(), folder)
    (folder / "run.json").unlink()
    shutil.rmtree(folder / "members" / "g1s0")
    stepped: list[str] = []
    step = loop._Training.step

    def count(self: Any) -> str:
        stepped.append(self.folder.name)
        return step(self)

    monkeypatch.setattr(loop._Training, "step", count)
    result = train(folder, resume=True)
    assert bytes_of(folder) == whole
    assert stepped == ["g1s0"] * 3
    assert result.notes == () and result.roles.training == list(load_run(folder).facts.environments)
    again = train(folder, resume=True)
    assert len(stepped) == 3 and again.best_loss == result.best_loss
    assert bytes_of(folder) == whole


def test_a_run_is_not_begun_twice(train: Callable[..., TrainingResult], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(quick_folder(), folder)
    with pytest.raises(EpisodeError, match="--resume"):
        train(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(EpisodeError, match=r"notes\.txt is in the way"):
        train(tmp_path / "other", resume=True)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        (("training.learning_rate=0.02",), {}, "another"),
        (("crossfit.loci=0.3",), {}, "another"),
        (("crossfit.groups=2",), {}, "another"),
        ((), {"seed": 1}, "another"),
    ],
)
def test_other_settings_are_refused(
    train: Callable[..., TrainingResult],
    tmp_path: Path,
    finished: bool,
    settings: tuple[str, ...],
    options: dict[str, int],
    message: str,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(quick_folder(), folder)
    if not finished:
        (folder / "run.json").unlink()
    before = bytes_of(folder)
    with pytest.raises(EpisodeError, match=message):
        train(folder, *settings, resume=True, **options)
    assert bytes_of(folder) == before


def test_other_motifs_leave_the_bank_of_the_members_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(quick_folder(), folder)
    (folder / "run.json").unlink()
    before = bytes_of(folder)
    with pytest.raises(CheckpointError, match=r"bank\.json: the members here have other motifs"):
        crossfit.train(three_lines(), quick("stem.min_information=19"), seed=0, folder=folder, resume=True)
    assert bytes_of(folder) == before


@pytest.mark.slow
def test_two_processes_share_the_members(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", dataset_folder(), "--out", folder, "--resume", "--cell-lines", ",".join(LINES), "--threads", 1]
    command = [sys.executable, "-m", "episode.cli.main", *map(str, words), *as_options(QUICK)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
        assert str(folder) in out
    assert bytes_of(folder) == bytes_of(quick_folder())


# -- with one line, and damaged ---------------------------------------------------------------------------------------


def test_with_one_line_a_single_member_is_trained_and_it_is_said(tmp_path: Path) -> None:
    options = ("--cell-lines", "train01", "--threads", 1, *as_options(QUICK))
    outcome = episode("train", dataset_folder(), "--out", tmp_path / "run", *options)
    assert outcome.code == 0, outcome.err
    assert "note: one cell line to train on: nothing is left out (crossfit.groups)" in outcome.out
    run = load_run(tmp_path / "run")
    assert len(run.members) == 1 and run.student is not None and run.student.fitted.model is None
    alone = dataset().select(dataset().pairs["cell_line"] == "train01")
    assert run.facts.config == crossfit.applied_config(alone, quick())
    assert run.facts.config.crossfit.groups == 0


@pytest.mark.parametrize(
    "name",
    [
        "members/bank.json",
        "members/g1s0/run.json",
        "members/g1s0/model.safetensors",
        "student.safetensors",
        "unseen.parquet",
    ],
)
@pytest.mark.parametrize("removed", [True, False])
def test_a_damaged_run_is_refused_in_one_line(tmp_path: Path, name: str, removed: bool) -> None:
    folder = tmp_path / "run"
    shutil.copytree(quick_folder(), folder)
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if not removed:
        path.write_bytes(content[:-7] + b"damaged")
    with pytest.raises(CheckpointError) as caught:
        load_run(folder)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_student_of_other_places_is_refused(tmp_path: Path) -> None:
    """Sealed again, so that the content itself is met."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "run"
    shutil.copytree(quick_folder(), folder)
    arrays = load_file(folder / "student.safetensors")
    save_file({name: value for name, value in arrays.items() if name != "places.end"}, folder / "student.safetensors")
    reseal(folder / "run.json")
    with pytest.raises(CheckpointError, match=r"places\.end is missing"):
        load_run(folder)


def test_a_run_of_format_3_has_the_network(tmp_path: Path, store: ElementStore) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder(), folder)
    content = json.loads((folder / "run.json").read_text())
    content["format_version"] = 3
    for place, names in (
        (content, ["student"]),
        (content["config"], ["crossfit"]),
        (content["config"]["environment"], ["student"]),
        (content["config"]["training"], ["keep"]),
        (content["calibration"], ["trained_temperature"]),
        (content["provenance"], ["queried"]),
    ):
        for name in names:
            del place[name]
    (folder / "run.json").write_text(json.dumps(content))
    reseal(folder / "run.json")
    old, new = load_run(folder), load_run(run_folder())
    assert old.student is None and old.facts.config == new.facts.config
    chosen = dataset().select((dataset().pairs["cell_line"] == "unseen01").to_numpy())
    one, two = (predict_dataset(run, chosen, store).pairs["logit"] for run in (old, new))
    np.testing.assert_array_equal(one, two)
