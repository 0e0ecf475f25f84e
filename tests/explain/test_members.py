"""Effects of a run of several members: the mean over them, their spread, in the units and the view of predictions."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from episode.checkpoint import Run, load_run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore, build_store
from episode.explain.explanation import Explainer, Explanation, Options
from episode.explain.figures import draw_motifs, draw_tracks
from episode.explain.gradient import Background, combine, integrate
from episode.explain.mutagenesis import base_effects, interactions, knock_out
from episode.explain.pair_scorer import KINDS, Pair, PairProbe, Reader, spread
from episode.explain.pair_selection import choose_pairs
from episode.explain.sites import find_sites
from episode.explain.tables import motif_table, pair_table, site_table, write_tables
from episode.inference.closed_form import Scale
from episode.inference.members import Member
from episode.predict.pairs import predict_dataset
from handmade_runs import Made, handmade, made, with_run
from tiny_world import closed_folder, crossfit_folder, dataset_folder, lively_run
from tiny_world import episode as command

PAIR = Pair(0, 1, (False,))
OPTIONS = Options(site_p=1e-3, joint=4, logos=1, flank=2, most_sites=40)


@pytest.fixture(scope="module")
def hand() -> Made:
    return made()


def handmade_readers(hand: Made) -> list[Reader]:
    """Two members of other weights, one unit of whose U_I is half a unit and two units of the run's."""
    return [
        Reader(handmade([0.5, -0.25, 0.0, 0.1], [0.3, 0.2, -0.4, 0.0], 0.05), hand.scores, 0.5),
        Reader(handmade([0.1, 0.3, 0.2, 0.0], [0.0, 0.6, 0.1, 0.2], 0.02), hand.scores, 2.0),
    ]


def test_effects_of_two_members_are_the_mean_of_what_each_shows_alone(hand: Made) -> None:
    readers = handmade_readers(hand)
    probe, *alone = (PairProbe(part, PAIR) for part in (readers, readers[:1], readers[1:]))
    thresholds = hand.run.bank.thresholds(1e-3)
    chosen = []
    for number, kind in enumerate(KINDS):
        found = find_sites(hand.content.sequence(number), hand.run.bank, 50, thresholds)
        end = hand.at + int(hand.run.bank.lengths[number])
        sites = [site for site in found if (site.start, site.end, site.motif) == (hand.at, end, number)]
        (both,) = knock_out(probe, kind, sites, channels=4)
        ((one,), (other,)) = (knock_out(each, kind, sites, channels=4) for each in alone)
        assert both.effect == pytest.approx((one.effect + other.effect) / 2)
        assert both.channel == pytest.approx((one.channel + other.channel) / 2)
        assert both.effect_sd == pytest.approx(abs(one.effect - other.effect) / math.sqrt(2))
        assert abs(one.effect - other.effect) > 0.1 and math.isnan(one.effect_sd)
        chosen.append(sites)
    joint = interactions(probe, *chosen)
    parts = [interactions(each, *chosen) for each in alone]
    np.testing.assert_allclose(joint, np.concatenate(parts))
    assert joint[1, 0, 0] / joint[0, 0, 0] == pytest.approx(2.0 * 0.02 / (0.5 * 0.05), rel=1e-3)
    bases = base_effects(probe, "enhancer", 118, 124)
    apart = [base_effects(each, "enhancer", 118, 124) for each in alone]
    np.testing.assert_allclose(bases.effect, (apart[0].effect + apart[1].effect) / 2)
    np.testing.assert_allclose(bases.mean_sd, np.abs(apart[0].mean - apart[1].mean) / math.sqrt(2), atol=1e-12)
    assert np.isnan(apart[0].mean_sd).all()


def test_gradients_of_two_members_are_the_mean_and_their_spread_that_of_two(hand: Made) -> None:
    background = Background({kind: np.full(4, 1.0) for kind in KINDS}, {})
    parts = [integrate(reader, PAIR, background) for reader in handmade_readers(hand)]
    mean, sd = combine(parts)
    assert sd is not None
    for kind in KINDS:
        one, other = (part.scores[kind] for part in parts)
        np.testing.assert_allclose(mean.scores[kind], (one + other) / 2)
        np.testing.assert_allclose(sd.scores[kind], np.abs(one - other) / math.sqrt(2), atol=1e-12)
    assert mean.difference == pytest.approx((parts[0].difference + parts[1].difference) / 2)
    own = integrate(replace(handmade_readers(hand)[1], unit=1.0), PAIR, background)
    assert parts[1].difference == pytest.approx(2 * own.difference)
    assert combine(parts[:1]) == (parts[0], None)


def test_the_spread_by_hand() -> None:
    np.testing.assert_allclose(spread(np.array([[1.0, 2.0], [3.0, 2.0], [8.0, 2.0]])), [math.sqrt(13), 0.0])
    assert np.isnan(spread(np.ones((1, 2)))).all()


# -- whole runs -------------------------------------------------------------------------------------------------------


def two_members() -> tuple[Run, list[Run]]:
    """A run of two members whose weights are noise, views of known scale; and each member as a run."""
    run = load_run(crossfit_folder())
    assert run.student is not None
    systems, names = [lively_run().system, copy.deepcopy(lively_run().system)], lively_run().facts.environments
    noise = torch.Generator().manual_seed(5)
    for parameter in systems[1].parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    members = Member(systems[0], 2.5, 0.8, names), Member(systems[1], 3.25, 1.6, names)
    fitted = replace(run.student.fitted, scales={"new": Scale(1.5, -1.25, 0.2), "shared": Scale(0.75, -1.0, 0.2)})

    def of(*chosen: Member) -> Run:
        assert run.student is not None
        return replace(run, system=chosen[0].system, student=replace(run.student, fitted=fitted, members=chosen))

    return of(*members), [of(member) for member in members]


@pytest.fixture(scope="module")
def explained() -> tuple[Run, Dataset, ElementStore, list[Explanation], list[list[Explanation]]]:
    """Four pairs, two of each view, explained by two members and by each alone."""
    run, alone = two_members()
    run, content, store = with_run(run)
    views = predict_dataset(run, content, store).environments.set_index("environment")["view"]
    drawn = choose_pairs(run, content, store, 60, by="random")
    chosen = [pair for view in ("shared", "new") for pair in [p for p in drawn if views[p.environment] == view][:2]]
    found = [[Explainer(each, content, store, OPTIONS).explain(pair) for pair in chosen] for each in (run, *alone)]
    return run, content, store, found[0], found[1:]


def test_a_run_of_two_members_explains_what_it_predicts(explained: tuple) -> None:
    run, content, store, found, alone = explained
    pairs = predict_dataset(run, content, store).pairs
    assert [explanation.view for explanation in found] == ["shared", "shared", "new", "new"]
    for number, explanation in enumerate(found):
        pair = explanation.chosen.pair
        mine = pairs[(pairs["enhancer_id"] == pair.enhancer) & (pairs["promoter_id"] == pair.promoter)].iloc[0]
        assert mine["environment"] == explanation.chosen.environment
        assert explanation.potential == pytest.approx(mine["potential"], abs=1e-4)
        one, other = (part[number] for part in alone)
        assert explanation.potential == pytest.approx((one.potential + other.potential) / 2)
        assert explanation.potential_sd == pytest.approx(abs(one.potential - other.potential) / math.sqrt(2))
        assert one.potential != pytest.approx(other.potential, abs=0.05)


def test_effects_of_a_run_are_the_mean_of_those_of_its_members(explained: tuple) -> None:
    _, _, _, found, alone = explained

    def effects(explanation: Explanation) -> dict[tuple, tuple[float, float]]:
        keys = [(e.kind, e.site.gate, e.site.motif, e.site.strand, e.site.start) for e in explanation.sites]
        return dict(zip(keys, ((e.knockout.effect, e.gradient) for e in explanation.sites), strict=True))

    compared = 0
    for both, one, other in zip(found, *alone, strict=True):
        mean, first, second = map(effects, (both, one, other))
        for key in mean.keys() & first.keys() & second.keys():  # which of overlapping sites leads may differ
            expected = (np.array(first[key]) + np.array(second[key])) / 2
            assert mean[key] == pytest.approx(expected, abs=1e-6)
            compared += 1
    assert compared > 20


def test_an_effect_is_what_the_prediction_of_the_edited_sequence_loses(explained: tuple) -> None:
    run, content, _, found, _ = explained
    explanation = found[0]
    strongest = max(explanation.sites, key=lambda effect: abs(effect.knockout.effect))
    codes = np.array(content.codes)
    pair = explanation.chosen.pair
    first = int(content.elements["offset"].iloc[pair.element(strongest.kind)])
    codes[first + strongest.site.start : first + strongest.site.end] = 4
    mine = content.pairs["environment"] == explanation.chosen.environment
    potential = []
    for part in (content, replace(content, codes=codes)):
        chosen = part.select(mine.to_numpy())
        pairs = predict_dataset(run, chosen, build_store(chosen, run.bank, run.facts.config.stem)).pairs
        same = (pairs["enhancer_id"] == pair.enhancer) & (pairs["promoter_id"] == pair.promoter)
        potential.append(float(pairs.loc[same, "potential"].iloc[0]))
    assert strongest.knockout.effect == pytest.approx(potential[0] - potential[1], abs=1e-4)
    assert abs(strongest.knockout.effect) > 1e-2


def test_tables_hold_the_spread_where_there_are_several_members(explained: tuple, tmp_path: Path) -> None:
    run, content, store, found, alone = explained
    explainer = Explainer(run, content, store, OPTIONS)
    tables = write_tables(found, explainer, tmp_path)
    sites = tables["sites"]
    assert sites["effect_sd"].tolist() == [e.knockout.effect_sd for x in found for e in x.sites]
    assert sites["gradient_sd"].notna().any() and (sites["effect_sd"].max() > 0)
    for name in ("interaction_sd", "mean_effect_sd", "gradient_sd", "potential_sd", "mean_own_effect_sd"):
        holder = next(table for table in tables.values() if name in table)
        assert (holder[name].dropna() >= 0).all() and holder[name].max() > 0
    first = tables["motifs"].iloc[0]
    mine = [
        [e.knockout.channels for e in x.sites if (e.kind, explainer.motifs.ids[e.site.motif]) == tuple(first.iloc[:2])]
        for x in found
    ]
    by_member = np.array([row for rows in mine for row in rows]).mean(axis=0)
    assert first["mean_own_effect"] == pytest.approx(by_member.mean())
    assert first["mean_own_effect_sd"] == pytest.approx(abs(by_member[0] - by_member[1]) / math.sqrt(2))
    for table in (site_table(alone[0], explainer.motifs), pair_table(alone[0]), motif_table(sites, 3)):
        assert not [name for name in table if str(name).startswith("effect_sd") or str(name) == "potential_sd"]
    assert set(pair_table(alone[0])["view"]) <= {"shared", "new"}


def test_figures_mark_the_spread_where_there_are_several_members(explained: tuple, tmp_path: Path) -> None:
    run, content, store, found, alone = explained
    explainer = Explainer(run, content, store, OPTIONS)
    words = [
        [t.get_text() for t in draw_tracks(x[0], explainer.motifs).legends[0].get_texts()] for x in (found, *alone)
    ]
    assert ["SD between members" in each for each in words] == [True, False, False]
    motifs = write_tables(found, explainer, tmp_path)["motifs"]
    for table, marked in ((motifs, True), (motifs.drop(columns="mean_own_effect_sd"), False)):
        labels = [t.get_text() for t in draw_motifs(table, 3).legends[0].get_texts()]
        assert ("SD between members" in labels) == marked


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [closed_folder, crossfit_folder])
def test_the_command_explains_runs_with_a_closed_form_student(tmp_path: Path, folder: object) -> None:
    run = folder()  # type: ignore[operator]
    options = ("--pairs", 3, "--figures", 1, "--site-p", 1e-4, "--split", "test", "--threads", 1)
    outcome = command("explain", run, dataset_folder(), "--out", tmp_path / "out", *options)
    assert outcome.code == 0, outcome.err
    members = len(load_run(run).members)
    facts = json.loads((tmp_path / "out" / "explain.json").read_text())
    assert facts["members"] == members and sum(facts["views"].values()) == 3
    assert (" SD " in outcome.out.splitlines()[0]) == (members > 1)
    page = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()
    spreads = set()
    for path in (tmp_path / "out").glob("*.tsv"):
        columns = pd.read_csv(path, sep="\t", nrows=0).columns
        assert all(f"`{column}`" in page for column in columns), path.name
        spreads |= {(path.stem, column) for column in columns if column.endswith("_sd")}
    assert len(spreads) == (0 if members == 1 else 8)
    pairs = pd.read_csv(tmp_path / "out" / "pairs.tsv", sep="\t")
    assert pairs["view"].isin(["shared", "new"]).all()
    assert pairs["potential"].is_monotonic_decreasing
