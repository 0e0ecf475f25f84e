"""``episode explain``: what it writes, and what it says to a user who errs."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.checkpoint import save_run
from episode.data.genome import open_genome
from episode.data.storage import write_dataset
from episode.encode.motifs import MotifBank
from episode.explain.explanation import Explainer, Options
from episode.explain.figures import draw_tracks
from episode.explain.pair_selection import choose_pairs
from handmade_runs import noisy_run, with_run
from tiny_world import Outcome, dataset, dataset_folder, lively_run, rows_of, run_folder, world
from tiny_world import episode as command

FILES = ["bases.tsv", "explain.json", "figures", "gradient.tsv", "interactions.tsv", "motif_pairs.tsv", "motifs.tsv"]
FILES += ["pairs.tsv", "sites.bed", "sites.tsv"]
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def explain(out: Path, *options: object) -> Outcome:
    return command("explain", run_folder(), dataset_folder(), "--out", out, "--threads", 1, *options)


def only_alarms(said: str) -> bool:
    """Whether nothing is said but what training raised about the run."""
    return all(line.startswith("warning: alarm of the run, ") for line in said.splitlines())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs drawn by the seed, some mirrored, the first two drawn as figures."""
    path = tmp_path_factory.mktemp("explain") / "out"
    options = ("--pairs", 8, "--choose", "random", "--figures", 2, "--site-p", 1e-3, "--json")
    outcome = explain(path, *options)
    assert outcome.code == 0 and only_alarms(outcome.err)
    assert json.loads(outcome.out) == json.loads((path / "explain.json").read_text())
    return path


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.tsv", sep="\t", keep_default_na=False)


def test_the_folder_holds_what_the_page_says(out: Path) -> None:
    assert sorted(path.name for path in out.iterdir()) == FILES
    drawn = sorted(path.name for path in (out / "figures").iterdir())
    names = ["motifs", "pair001", "pair001_logos", "pair002", "pair002_logos"]
    assert drawn == sorted(f"{name}.{ending}" for name in names for ending in ("png", "svg"))
    page = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()
    for name in FILES:
        if name.endswith(".tsv"):
            for column in read(out, name.removesuffix(".tsv")).columns:
                assert f"`{column}`" in page, f"docs/explain.md says nothing of {column} in {name}"


def test_pairs_are_complete_and_counted(out: Path) -> None:
    pairs, sites, facts = read(out, "pairs"), read(out, "sites"), json.loads((out / "explain.json").read_text())
    assert len(pairs) == facts["pairs"] == 8
    assert set(pairs["mirrored"]) == {True, False}
    np.testing.assert_allclose(pairs["gradient_sum"] - pairs["above_background"], pairs["gradient_gap"], atol=1e-4)
    assert pairs["gradient_gap"].abs().max() <= 0.01
    assert pairs["sites"].tolist() == [int((sites["pair"] == name).sum()) for name in pairs["pair"]]


def test_a_site_in_bed_is_the_site_in_the_genome(out: Path) -> None:
    """The bases under every interval, read along its strand, score what the table says, mirrored or not."""
    genome, bank = open_genome(world() / "genome.fa"), lively_run().bank
    bed = pd.read_csv(out / "sites.bed", sep="\t", header=None)
    sites = read(out, "sites").sort_values(["chrom", "genome_start", "genome_end"], kind="stable")
    assert len(bed) == len(sites) > 50
    assert bed[0].tolist() == sites["chrom"].tolist() and bed[1].tolist() == sites["genome_start"].tolist()
    mirrored = read(out, "pairs").set_index("pair")["mirrored"]
    assert set(mirrored[sites["pair"]]) == {True, False}
    site: Any
    for site in sites.itertuples():
        text = genome.fetch(site.chrom, site.genome_start, site.genome_end).upper()
        assert score(bank, site.motif_id, text, site.strand) == pytest.approx(site.score, abs=1e-3)
    assert bed[4].max() == 1000 and bed[4].min() >= 0
    strongest = sites["effect"].abs().max()
    for row in bed.itertuples(index=False):
        mine = sites[(sites["genome_start"] == row[1]) & (sites["pair"] == row[3].split("|")[1])]
        assert row[4] == pytest.approx(1000 * abs(float(mine["effect"].iloc[0])) / strongest, abs=0.6)
        assert (row[5], row[6], row[7]) == (mine["strand"].iloc[0], row[1], row[2])
        assert row[8] == ("0,114,178" if float(mine["effect"].iloc[0]) >= 0 else "213,94,0")


def score(bank: MotifBank, motif_id: str, text: str, strand: str) -> float:
    letters = text if strand == "+" else text[::-1].translate(COMPLEMENT)
    bits = bank.log_odds(bank.index(motif_id))
    return float(bits[np.arange(len(bits)), ["ACGT".index(letter) for letter in letters]].sum())


def test_a_site_faces_its_partner_or_not(out: Path) -> None:
    sites, mirrored = read(out, "sites"), read(out, "pairs").set_index("pair")["mirrored"]
    site: Any
    for site in sites.itertuples():
        partner_lies_right = (site.element == "enhancer") != bool(mirrored[site.pair])
        assert site.faces_partner == ("yes" if (site.strand == "+") == partner_lies_right else "no")


def test_bases_are_those_of_the_genome_and_around_the_strongest_sites(out: Path) -> None:
    genome, bases, sites = open_genome(world() / "genome.fa"), read(out, "bases"), read(out, "sites")
    base: Any
    for base in bases.iloc[::17].itertuples():
        assert genome.fetch(base.chrom, base.genome_position, base.genome_position + 1).upper() == base.base
        assert getattr(base, f"effect_{base.base}") == 0
    mine = sites[sites["pair"] == "pair001"]
    strongest = mine.iloc[int(mine["effect"].abs().to_numpy().argmax())]
    shown = bases[(bases["pair"] == "pair001") & (bases["element"] == strongest["element"])]["position"].tolist()
    assert set(range(int(strongest["start"]), int(strongest["end"]))) <= set(shown)


def test_interactions_are_of_the_sites_listed(out: Path) -> None:
    joint, sites = read(out, "interactions"), read(out, "sites")
    assert joint["interaction"].abs().is_monotonic_decreasing
    for kind in ("enhancer", "promoter"):
        keys = joint[["pair", f"{kind}_start", f"{kind}_strand", f"{kind}_effect"]].to_numpy().tolist()
        mine = sites[sites["element"] == kind]
        assert {tuple(key) for key in keys} <= set(
            mine[["pair", "start", "strand", "effect"]].itertuples(index=False, name=None)
        )


def test_the_ranking_of_motifs_is_by_what_they_do_in_an_average_pair(out: Path) -> None:
    motifs, sites = read(out, "motifs"), read(out, "sites")
    first = motifs.iloc[0]
    mine = sites[(sites["element"] == first["element"]) & (sites["motif_id"] == first["motif_id"])]
    assert first["sites"] == len(mine)
    assert first["per_pair"] == pytest.approx(mine["channel_effect"].abs().sum() / 8, rel=1e-4)
    assert first["mean_own_effect"] == pytest.approx(mine["channel_effect"].mean(), rel=1e-3)
    assert first["mean_gradient"] == pytest.approx(mine["gradient"].mean(), rel=1e-3)
    assert motifs["per_pair"].is_monotonic_decreasing


def test_the_same_command_writes_the_same_bytes(out: Path, tmp_path: Path) -> None:
    options = ("--pairs", 8, "--choose", "random", "--figures", 2, "--site-p", 1e-3)
    assert explain(tmp_path / "again", *options).code == 0
    for path in sorted(out.rglob("*")):
        if path.suffix in (".tsv", ".bed", ".png"):
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(out)).read_bytes(), path.name


def test_a_table_chooses_the_pairs_and_no_figure_is_drawn(tmp_path: Path) -> None:
    rows = dataset().pairs[["enhancer_name", "promoter_name"]].iloc[:2].set_axis(["enhancer", "promoter"], axis=1)
    rows.to_csv(tmp_path / "mine.tsv", sep="\t", index=False)
    outcome = explain(tmp_path / "out", "--only", tmp_path / "mine.tsv", "--figures", 0)
    assert outcome.code == 0 and only_alarms(outcome.err)
    assert "2 pairs, " in outcome.out and f"explanation: {tmp_path / 'out'}" in outcome.out
    assert not (tmp_path / "out" / "figures").exists()
    assert read(tmp_path / "out", "pairs")["enhancer"].tolist() == rows["enhancer"].tolist()


def test_fewer_pairs_than_asked_for_is_said(tmp_path: Path) -> None:
    rows_of("unseen01").head(3).to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    build = ("--genome", world() / "genome.fa", "--enhancer-window", 0, "--promoter-window", 0, "--out")
    assert command("data", "build", tmp_path / "pairs.tsv", *build, tmp_path / "few").code == 0
    options = ("--out", tmp_path / "out", "--pairs", 8, "--figures", 0, "--site-p", 1e-5, "--threads", 1)
    outcome = command("explain", run_folder(), tmp_path / "few", *options)
    assert "warning: --pairs 8: there are only 3 distinct pairs to choose from" in outcome.err


def test_a_distance_that_is_not_known_is_said(tmp_path: Path) -> None:
    run, content = noisy_run("potential.distance=true"), dataset()
    save_run(tmp_path / "run", run)
    write_dataset(replace(content, pairs=content.pairs.assign(distance=np.nan)), tmp_path / "dataset")
    options = ("--out", tmp_path / "out", "--pairs", 1, "--figures", 0, "--site-p", 1e-5, "--threads", 1)
    outcome = command("explain", tmp_path / "run", tmp_path / "dataset", *options)
    assert outcome.code == 0
    assert outcome.err.startswith("warning: U_I of this model has a distance term (potential.distance); it is absent")


def test_names_in_a_track_do_not_overlap_however_close_the_sites() -> None:
    run, content, store = with_run(lively_run())
    explainer = Explainer(run, content, store, Options(site_p=1e-3, most_sites=20, logos=0))
    found = explainer.explain(choose_pairs(run, content, store, 1)[0])
    sites = sorted(found.sites, key=lambda effect: -abs(effect.knockout.effect))
    for crowded, fewest in ((False, 2), (True, 1)):
        moved = [replace(e.site, start=100 + i, end=108 + i) for i, e in enumerate(sites)]
        placed = [replace(e, knockout=replace(e.knockout, site=at)) for e, at in zip(sites, moved, strict=True)]
        figure = draw_tracks(replace(found, sites=tuple(placed)) if crowded else found, explainer.motifs)
        for axes in figure.axes[:2]:
            boxes = [text.get_window_extent() for text in axes.texts]
            assert fewest <= len(boxes) <= 4
            assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
            assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


@pytest.mark.parametrize("kind", ["motif", "conv", "kmer"])
def test_the_legend_tells_of_gradients_where_some_are_drawn(kind: str) -> None:
    run, content, store = with_run(noisy_run(*([] if kind == "motif" else [f"stem.kind={kind}", "stem.filters=4"])))
    explainer = Explainer(run, content, store, Options(site_p=1e-3, most_sites=20, logos=0))
    figure = draw_tracks(explainer.explain(choose_pairs(run, content, store, 1)[0]), explainer.motifs)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["knock-out, raises U_I", "lowers it", *(["gradient"] if kind == "motif" else [])]


@pytest.mark.parametrize("size", [0.004, 2.0])
def test_joint_knock_outs_that_do_nothing_stay_pale(size: float) -> None:
    run, content, store = with_run(lively_run())
    explainer = Explainer(run, content, store, Options(site_p=1e-3, most_sites=20, logos=0))
    found = explainer.explain(choose_pairs(run, content, store, 1)[0])
    joint = replace(found, interactions=np.full_like(found.interactions, size))
    colours = draw_tracks(joint, explainer.motifs).axes[2].images[0].norm
    assert (colours.vmin, colours.vmax) == (-max(size, 0.05), max(size, 0.05))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--pairs", 0), "argument --pairs: needed a whole number from 1 to 1,000,000, got '0'"),
        (("--site-p", 2), "argument --site-p: needed a number of more than 0 and less than 1, got '2'"),
        (("--figures", -1), "argument --figures: needed a whole number from 0 to 1,000,000, got '-1'"),
        (("--cell-lines", "nobody"), "error: cell line 'nobody' is not in the dataset"),
        (("--only", "absent.tsv"), "absent.tsv: no such file"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: tuple, words: str) -> None:
    outcome = explain(tmp_path / "out", *options)
    assert outcome.code == 2 and words in outcome.err
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_and_a_missing_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    outcome = explain(tmp_path)
    assert (outcome.code, outcome.err) == (
        2,
        f"error: {tmp_path}: exists already and is not empty; give a new folder or remove it first\n",
    )
    outcome = command("explain", tmp_path, dataset_folder(), "--out", tmp_path / "out")
    assert (outcome.code, outcome.err) == (2, f"error: {tmp_path}: not a finished run (no run.json there)\n")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_without_captum_the_command_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    outcome = explain(tmp_path / "out")
    need = "error: gradients need Captum, which is not installed: pip install 'episode-epi[explain]'\n"
    assert (outcome.code, outcome.err) == (2, need)
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_behind_when_a_figure_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("episode.explain.figures._write", broken)
    outcome = explain(tmp_path / "out", "--pairs", 1)
    assert (outcome.code, outcome.err) == (2, f"error: {tmp_path / 'out'}: No space left on device\n")
    assert list(tmp_path.iterdir()) == []


def test_the_summary_is_of_all_pairs_however_few_are_drawn(out: Path) -> None:
    from episode.explain.figures import draw_motifs

    motifs = pd.read_csv(out / "motifs.tsv", sep="\t")
    axes = draw_motifs(motifs, 8).axes[0]
    assert axes.get_xlabel() == "mean effect of a site on U_I, 8 pairs"
    first = motifs.iloc[0]
    assert axes.get_yticklabels()[-1].get_text() == f"{first['motif']} ({first['element']}, {first['sites']})"
    bar: Any = axes.patches[-1]
    assert bar.get_width() == pytest.approx(first["mean_own_effect"])
