"""Effects by hand: a Backbone whose U_I is known, and relations that hold for every Backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.dna import reverse_complement
from episode.encode.store import ElementStore, build_store
from episode.explain.explanation import Explainer, Explanation, Options
from episode.explain.gradient import TOLERANCE, Background, integrate
from episode.explain.mutagenesis import base_effects, interactions, knock_out
from episode.explain.mutations import ElementScores
from episode.explain.pair_scorer import KINDS, Pair, PairProbe, Reader
from episode.explain.pair_selection import choose_pairs, distinct_pairs
from episode.explain.sites import find_sites
from episode.explain.tables import pair_table
from episode.inference.pairs import pair_rows
from episode.inference.scoring import score_rows
from handmade_runs import Made, gated_run, handmade, made, noisy_run, reversed_dataset, with_run
from small_systems import all_rows, scan
from tiny_world import lively_run

A, B, C = [0.5, -0.25, 0.0, 0.1], [0.3, 0.2, -0.4, 0.0], 0.05
PAIR = Pair(0, 1, (False,))


@pytest.fixture(scope="module")
def hand() -> Made:
    return made()


def best(codes: np.ndarray, hand: Made) -> np.ndarray:
    """Best score of each motif in an element, not below 0."""
    return scan(codes, hand.run.bank, 50).max(axis=(0, 1)).clip(0).astype(np.float64)


def potential(enhancer: np.ndarray, promoter: np.ndarray, hand: Made) -> float:
    one, other = best(enhancer, hand), best(promoter, hand)
    return float(one @ A + other @ B + C * one[0] * other[1])


def without(codes: np.ndarray, start: int, end: int) -> np.ndarray:
    edited = codes.copy()
    edited[start:end] = 4
    return edited


def planted(hand: Made) -> dict[str, tuple[int, int]]:
    """Start and end of the planted site of each element."""
    return {kind: (hand.at, hand.at + int(hand.run.bank.lengths[i])) for i, kind in enumerate(KINDS)}


def test_knocking_a_site_out_takes_what_it_gave(hand: Made) -> None:
    probe = PairProbe([Reader(handmade(A, B, C), hand.scores)], PAIR)
    codes = {kind: hand.content.sequence(i) for i, kind in enumerate(KINDS)}
    whole = potential(codes["enhancer"], codes["promoter"], hand)
    assert probe.potential() == pytest.approx(whole, abs=1e-4)
    for number, kind in enumerate(KINDS):
        start, end = planted(hand)[kind]
        sites = find_sites(codes[kind], hand.run.bank, 50, hand.run.bank.thresholds(1e-3))
        (found,) = [k for k in knock_out(probe, kind, sites, channels=4) if (k.site.start, k.site.end) == (start, end)]
        assert (found.site.motif, found.site.strand) == (number, 0)
        left = codes | {kind: without(codes[kind], start, end)}
        assert found.effect == pytest.approx(whole - potential(left["enhancer"], left["promoter"], hand), abs=1e-4)
        slope = (
            A[0] + C * best(codes["promoter"], hand)[1] if number == 0 else B[1] + C * best(codes["enhancer"], hand)[0]
        )
        before, after = (scan(part, hand.run.bank, 50)[..., number].max(axis=0) for part in (codes[kind], left[kind]))
        fall = float(before.max()) - max(float(after[0]), float(before[1]), 0.0)  # the forward strand alone
        assert found.channel == pytest.approx(slope * fall, abs=1e-4)


def test_an_interaction_is_the_product_of_what_both_lose(hand: Made) -> None:
    probe = PairProbe([Reader(handmade(A, B, C), hand.scores)], PAIR)
    spans, falls, sites = planted(hand), [], []
    for number, kind in enumerate(KINDS):
        codes = hand.content.sequence(number)
        found = find_sites(codes, hand.run.bank, 50, hand.run.bank.thresholds(1e-3))
        sites.append([s for s in found if (s.start, s.end, s.motif) == (*spans[kind], number)])
        falls.append(best(codes, hand)[number] - best(without(codes, *spans[kind]), hand)[number])
    both = interactions(probe, *sites)
    assert both.shape == (1, 1, 1)
    assert both[0, 0, 0] == pytest.approx(C * falls[0] * falls[1], rel=1e-4)
    assert interactions(PairProbe([Reader(handmade(A, B, 0.0), hand.scores)], PAIR), *sites)[0, 0, 0] == pytest.approx(
        0, abs=1e-4
    )
    assert interactions(probe, [], sites[1]).shape == (1, 0, 1)


def test_each_substitution_is_scored_as_the_substituted_sequence(hand: Made) -> None:
    probe = PairProbe([Reader(handmade(A, B, C), hand.scores)], PAIR)
    codes, other = hand.content.sequence(0), hand.content.sequence(1)
    found = base_effects(probe, "enhancer", 118, 128)
    whole = potential(codes, other, hand)
    for place in range(10):
        assert found.effect[place, codes[118 + place]] == 0
        for base in range(4):
            changed = codes.copy()
            changed[118 + place] = base
            assert found.effect[place, base] == pytest.approx(whole - potential(changed, other, hand), abs=1e-4)
    np.testing.assert_allclose(found.mean, found.effect.sum(axis=1) / 3)
    assert found.mean.max() > 0.5


def test_gradients_of_a_sum_of_best_scores_are_weight_times_rise(hand: Made) -> None:
    background = Background({kind: np.full(4, level) for kind, level in zip(KINDS, (1.0, 2.0), strict=True)}, {})
    gradient = integrate(Reader(handmade(A, B, 0.0), hand.scores), PAIR, background)
    for number, (kind, weights, level) in enumerate(zip(KINDS, (A, B), (1.0, 2.0), strict=True)):
        tokens = scan(hand.content.sequence(number), hand.run.bank, 50).astype(np.float64)
        for motif, weight in enumerate(weights):
            part = gradient.scores[kind][:, :, motif]
            top = tokens[:, :, motif] == tokens[:, :, motif].max()  # several where a site lies on an edge, or repeats
            rise = max(tokens[..., motif].max(), 0.0) - level
            assert part[top].sum() == pytest.approx(weight * rise, abs=5e-3)
            np.testing.assert_allclose(part[~top], 0, atol=1e-6)
    assert abs(gradient.gap) <= TOLERANCE


# -- relations that hold whatever the weights -------------------------------------------------------------------------

OPTIONS = Options(site_p=1e-3, joint=4, logos=1, flank=2, most_sites=40)


RUNS: dict[str, Callable[[], Run]] = {
    "motif": lively_run,
    "gate": gated_run,
    "conv": lambda: noisy_run("stem.kind=conv", "stem.filters=6"),
    "known": lambda: noisy_run("stem.kind=conv", "stem.known=true", "stem.filters=2", "stem.min_information=16"),
    "kmer": lambda: noisy_run("stem.kind=kmer", "stem.kmer=4", "stem.filters=8"),
}


@pytest.fixture(scope="module", params=list(RUNS))
def parts(request: pytest.FixtureRequest) -> tuple:
    return with_run(RUNS[request.param]())


def explained(parts: tuple, *, mirrored: bool) -> tuple[Explainer, Explanation]:
    run, content, store = parts
    chosen = next(c for c in choose_pairs(run, content, store, 40, by="random") if c.mirrored == mirrored)
    explainer = Explainer(run, content, store, OPTIONS)
    return explainer, explainer.explain(chosen)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_pair_read_from_the_other_strand_has_the_same_effects(parts: tuple, mirrored: bool) -> None:
    run, content, _ = parts
    _, here = explained(parts, mirrored=mirrored)
    turned = reversed_dataset(content)
    other = Explainer(run, turned, build_store(turned, run.bank, run.facts.config.stem), OPTIONS)
    orientations = tuple(not reading for reading in here.chosen.pair.orientations)
    pair = replace(here.chosen.pair, orientations=orientations)
    chosen = replace(here.chosen, pair=pair, mirrored=not mirrored)
    there = other.explain(chosen)
    assert there.potential == pytest.approx(here.potential, abs=1e-5)

    def facts(found: Explanation, *, turn: bool) -> dict:
        result = {}
        for effect in found.sites:
            site, length = effect.site, found.chosen.elements[effect.kind].length
            start = length - site.end if turn else site.start
            strand = site.strand ^ turn if len(run.bank) else -1  # else either strand of a palindrome may lead
            key = (effect.kind, site.gate, site.motif, strand, start)
            result[key] = (effect.knockout.effect, effect.knockout.channel, effect.gradient)
        return result

    left, right = facts(here, turn=False), facts(there, turn=True)
    assert left.keys() == right.keys()
    for key, values in left.items():
        assert right[key] == pytest.approx(values, abs=2e-4, nan_ok=True)
    np.testing.assert_allclose(there.interaction, here.interaction, atol=2e-4)


def test_gradients_are_complete_and_read_the_strongest_sites(parts: tuple) -> None:
    explainer, found = explained(parts, mirrored=False)
    assert abs(found.gradient.gap) <= TOLERANCE
    assert found.gradient.total == pytest.approx(found.gradient.difference, abs=TOLERANCE)
    gradients = np.array([effect.gradient for effect in found.sites])
    if len(explainer.run.bank):
        assert np.abs(gradients).max() > 0
    else:  # no channel of the stem is a motif
        assert np.isnan(gradients).all() and all(np.isnan(effect.knockout.channel) for effect in found.sites)
    for kind in KINDS:
        assert found.gradient.scores[kind].shape[2] == len(explainer.channels)


def test_an_effect_is_what_scoring_the_edited_sequence_loses(parts: tuple) -> None:
    """The long way: the bases of the dataset replaced, its store built anew, the pair scored as in prediction."""
    run, content, _ = parts
    _, found = explained(parts, mirrored=True)
    row = content.pairs.query(
        f"enhancer_id == {found.chosen.pair.enhancer} and promoter_id == {found.chosen.pair.promoter}"
    )
    strongest = max(found.sites, key=lambda effect: abs(effect.knockout.effect))
    codes = np.array(content.codes)
    first = int(content.elements["offset"].iloc[found.chosen.pair.element(strongest.kind)])
    codes[first + strongest.site.start : first + strongest.site.end] = 4
    potential = []
    for part in (content, replace(content, codes=codes)):
        store = build_store(part, run.bank, run.facts.config.stem)
        rows = pair_rows(content, run.facts.shortcuts).take(row.index.to_numpy()[:1])
        potential.append(float(score_rows(run.system.backbone, store, rows).potential[0]))
    assert strongest.knockout.effect == pytest.approx(potential[0] - potential[1], abs=1e-4)
    assert abs(strongest.knockout.effect) > 1e-3


def test_a_pair_without_coordinates_is_the_mean_of_both_orientations(parts: tuple) -> None:
    run, content, store = parts
    scores = ElementScores(run, content, store)
    one, other = int(content.pairs["enhancer_id"].iloc[0]), int(content.pairs["promoter_id"].iloc[0])
    backbone = run.system.backbone
    value = {
        read: float(PairProbe([Reader(scores.backbone, scores)], Pair(one, other, read)).potential()[0])
        for read in ((False,), (True,), (False, True))
    }
    assert value[False, True] == pytest.approx((value[(False,)] + value[(True,)]) / 2, abs=1e-5)
    pairs = content.pairs.assign(has_coordinates=False)
    unplaced: Dataset = replace(content, pairs=pairs)
    expected = score_rows(backbone, store, pair_rows(unplaced, run.facts.shortcuts).take(np.array([0]))).potential
    assert value[False, True] == pytest.approx(float(expected[0]), abs=1e-5)
    background = Background.measure(scores, {"enhancer": np.array([one]), "promoter": np.array([other])}, None)  # type: ignore[arg-type]
    parts_ = [
        integrate(Reader(scores.backbone, scores), Pair(one, other, (read,)), background) for read in (False, True)
    ]
    both = integrate(Reader(scores.backbone, scores), Pair(one, other, (False, True)), background)
    mean = (parts_[0].scores["enhancer"] + parts_[1].scores["enhancer"]) / 2
    np.testing.assert_allclose(both.scores["enhancer"], mean, atol=1e-5)
    assert both.difference == pytest.approx((parts_[0].difference + parts_[1].difference) / 2, abs=1e-6)


def test_the_potential_is_that_of_predictions(parts: tuple) -> None:
    run, content, store = parts
    chosen = choose_pairs(run, content, store, 5)
    distinct = distinct_pairs(content)
    rows = score_rows(run.system.backbone, store, pair_rows(distinct, run.facts.shortcuts)).potential.numpy()
    offset = float(run.system.temperature.offset)
    explainer = Explainer(run, content, store, OPTIONS)
    found = [explainer.explain(one).potential for one in chosen]
    assert found == pytest.approx((np.sort(rows)[::-1][:5] + offset).tolist(), abs=1e-4)


def test_the_distance_term_is_what_the_potential_lacks_without_a_distance() -> None:
    run, content, store = with_run(noisy_run("potential.distance=true"))
    explainer = Explainer(run, content, store, replace(OPTIONS, logos=0))
    chosen = choose_pairs(run, content, store, 1)[0]
    far = replace(chosen, pair=replace(chosen.pair, distance=2e6))
    unknown = replace(chosen, pair=replace(chosen.pair, distance=np.nan))
    found, without_one = explainer.explain(far), explainer.explain(unknown)
    assert found.distance_term < -0.1
    assert found.distance_term == pytest.approx(found.potential - without_one.potential, abs=1e-5)
    table = pair_table([found, without_one])
    assert table["distance_term"].tolist() == [found.distance_term, 0.0]


def test_without_a_contact_decay_the_distance_term_is_empty() -> None:
    run, content, store = with_run(lively_run())
    explainer = Explainer(run, content, store, replace(OPTIONS, logos=0))
    found = explainer.explain(choose_pairs(run, content, store, 1)[0])
    assert pair_table([found])["distance_term"].isna().all()


@pytest.mark.parametrize(("kind", "word"), [("conv", "filter"), ("kmer", "kmer_channel")])
def test_channels_without_a_motif_are_named_by_what_they_are(kind: str, word: str) -> None:
    explainer = Explainer(*with_run(noisy_run(f"stem.kind={kind}", "stem.filters=4")), OPTIONS)
    assert explainer.channels == [(f"{word}{i}", f"{word}{i}") for i in (1, 2, 3, 4)]


def test_no_more_candidates_than_allowed_and_the_rest_is_counted() -> None:
    run, content, store = with_run(lively_run())
    explainer = Explainer(run, content, store, replace(OPTIONS, most_sites=3, logos=0))
    chosen = choose_pairs(run, content, store, 1)[0]
    found = explainer.explain(chosen)
    every = [len(explainer.candidates(chosen.pair.element(kind))) for kind in KINDS]
    assert found.candidates == {"enhancer": 3, "promoter": 3}
    assert found.left_out == sum(every) - 6 > 0
    assert not found.bases


def test_whole_elements_are_substituted_on_request() -> None:
    run, content, store = with_run(lively_run())
    explainer = Explainer(run, content, store, replace(OPTIONS, logos=0, whole=True))
    chosen = choose_pairs(run, content, store, 1)[0]
    lengths = [len(found.reference) for _, _, found in explainer.explain(chosen).bases]
    assert lengths == [chosen.elements[kind].length for kind in KINDS]


def test_the_background_leaves_out_bins_without_a_site() -> None:
    hand = made(2)
    short = replace(hand.content, codes=np.where(np.arange(800) < 250, 4, hand.content.codes).astype(np.uint8))
    store: ElementStore = build_store(short, hand.run.bank, hand.run.facts.config.stem)
    scores = ElementScores(hand.run, short, store)
    background = Background.measure(scores, {"enhancer": np.array([0])}, None)  # type: ignore[arg-type]
    tokens = all_rows(store)[:6].astype(np.float64)
    expected = [tokens[..., motif][tokens[..., motif] > -32].mean() for motif in range(4)]
    np.testing.assert_allclose(background.scores["enhancer"], expected)


def test_reverse_complements_are_what_the_reversed_dataset_holds() -> None:
    _, content, _ = with_run(lively_run())
    np.testing.assert_array_equal(reversed_dataset(content).sequence(3), reverse_complement(content.sequence(3)))
