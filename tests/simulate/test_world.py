"""The simulated world is what it says, and hard enough to mean something."""

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from episode.config import StemConfig
from episode.encode.motifs import MotifBank, load_bank
from episode.errors import ConfigError
from episode.metrics.label_shift import em_prior
from episode.metrics.metrics import average_precision
from episode.simulate import PRESETS, RERANK, WORLDS, SetConfig, World, simulate
from episode.simulate.config import DOMAINS, WorldConfig
from episode.simulate.elements import Slots, Universe
from episode.simulate.grammar import Grammar, Rule
from known import known

CASES = [(world, seed) for world in WORLDS for seed in (0, 1)]
OPTIONAL = ("val_share", "training_prevalence", "unseen_prevalence")
"""Numbers that a world may lack."""


@pytest.fixture(scope="module")
def bank() -> MotifBank:
    return load_bank(StemConfig())


@pytest.fixture(scope="module")
def demo(bank: MotifBank) -> dict[tuple[str, int], World]:
    return {case: simulate(PRESETS["demo"], *case, bank=bank) for case in CASES}


@pytest.fixture(scope="module", params=CASES, ids=[f"{world}-{seed}" for world, seed in CASES])
def world(request: pytest.FixtureRequest, demo: dict[tuple[str, int], World]) -> World:
    return demo[request.param]


def fit(y: np.ndarray, *columns: ArrayLike) -> tuple[np.ndarray, float]:
    """Least squares with an intercept: slopes and R²."""
    design = np.column_stack([np.ones(len(y)), *columns])
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    return solution[1:], 1 - ((y - design @ solution) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def composition(world: World) -> pd.DataFrame:
    """Mean trace and nuisance burden of the distinct elements of each cell line, held-out loci left out."""
    rows = []
    for _, pairs in world.pairs[world.pairs["split"] != "val"].groupby("cell_line", sort=False):
        used = np.union1d(pairs["enhancer"], pairs["promoter"])
        rows.append(world.universe.elements.loc[used, ["trace", "nuisance"]].mean())
    return pd.DataFrame(rows).reset_index(drop=True)


def em_deviation(world: World) -> np.ndarray:
    """What EM, given the true posterior of the reference environment, takes for (R_E - R0)/T."""
    pairs = world.pairs[world.pairs["split"] != "val"]
    reference = expit(pairs["potential"] / world.config.temperature - world.config.impedance_mean)
    shares = [em_prior(part, world.prior) for _, part in reference.groupby(pairs["cell_line"], sort=False)]
    return logit(world.prior) - logit(np.array(shares))


def by_line(world: World, values: pd.Series) -> np.ndarray:
    """Mean of `values` in each cell line, in the order of the environments."""
    means = values.groupby(world.pairs.loc[values.index, "cell_line"]).mean()
    return means.reindex(world.environments["cell_line"]).to_numpy()


class TestDifficulty:
    def test_impedance_spreads_by_one_temperature(self, world: World) -> None:
        for _, lines in world.environments.groupby("role"):
            assert 0.8 < (lines["impedance"] / lines["temperature"]).std(ddof=0) < 1.2
        assert world.environments["impedance"].min() >= 0

    def test_the_trace_explains_the_impedance_in_part(self, world: World) -> None:
        lines = world.environments
        deviation = (lines["impedance"] / lines["temperature"]).to_numpy()
        assert 0.5 <= fit(deviation, lines["trace_factor"])[1] <= 0.8
        seen = composition(world)
        assert 0.5 <= fit(deviation, seen["trace"], seen["nuisance"])[1] <= 0.8
        assert fit(deviation, seen["nuisance"])[1] < 0.2

    def test_nuisance_varies_as_much_as_the_trace(self, world: World) -> None:
        seen = composition(world)
        assert 0.75 < seen["trace"].var() / seen["nuisance"].var() < 1.33
        lines = world.environments
        slopes, explained = fit(
            seen["trace"].to_numpy(), lines["trace_factor"].to_numpy(), lines["nuisance_factor"].to_numpy()
        )
        assert 0.3 < slopes[0] < 0.7
        assert explained > 0.85  # far above sampling noise

    def test_bayes_ranks_well_but_not_perfectly(self, world: World) -> None:
        pairs = world.pairs[world.pairs["split"] == "test"]
        each = [known(average_precision(p["label"], p["potential"])) for _, p in pairs.groupby("cell_line")]
        assert 0.45 <= np.mean(each) <= 0.75

    def test_knowing_the_impedance_helps_the_pooled_ranking(self, world: World) -> None:
        pairs = world.pairs[world.pairs["split"] == "test"]
        with_impedance = known(average_precision(pairs["label"], pairs["logit"]))
        assert with_impedance - known(average_precision(pairs["label"], pairs["potential"])) >= 0.03

    def test_no_rule_dominates(self, world: World) -> None:
        potential = world.grammar.potential(world.universe, world.slots)
        assert potential.std() == pytest.approx(world.config.potential_sd * world.config.temperature)
        without = [
            replace(world.grammar, rules=tuple(r for r in world.grammar.rules if r is not rule))
            for rule in world.grammar.rules
        ]
        left = [(potential - g.potential(world.universe, world.slots)).var() for g in without]
        assert max(left) < 0.3 * potential.var()


class TestShift:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_em_is_right_in_label_and_blind_in_concept(self, demo: dict, seed: int) -> None:
        slope, correlation = {}, {}
        for name in WORLDS:
            planted = demo[name, seed]
            deviation = planted.environments["deviation"].to_numpy()
            estimate = em_deviation(planted)
            slope[name] = fit(estimate, deviation)[0][0]
            correlation[name] = np.corrcoef(estimate, deviation)[0, 1]
        assert correlation["label"] > 0.9
        assert slope["label"] == pytest.approx(1.0, abs=0.2)
        assert abs(slope["concept"]) < 0.3
        assert slope["both"] == pytest.approx(0.5, abs=0.15)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_what_stays_fixed(self, demo: dict, seed: int) -> None:
        """In `label` U given y does not follow the impedance, in `concept` all of U does not."""

        def slopes(name: str) -> tuple[float, float, float]:
            planted = demo[name, seed]
            potential, label = planted.pairs["potential"], planted.pairs["label"]
            deviation = planted.environments["deviation"].to_numpy()
            parts = (potential, potential[label == 1], potential[label == 0])
            return tuple(fit(by_line(planted, part), deviation)[0][0] for part in parts)

        whole, positive, negative = slopes("label")
        assert whole < -0.25
        assert abs(positive) < 0.12 and abs(negative) < 0.12
        whole, positive, negative = slopes("concept")
        assert abs(whole) < 0.12
        assert positive > 0.2 and negative > 0.2

    def test_labels_follow_the_formula(self, world: World) -> None:
        lines = world.environments.set_index("cell_line")
        of = world.pairs["cell_line"].map
        recomputed = (world.pairs["potential"] - of(lines["impedance"])) / of(lines["temperature"])
        np.testing.assert_allclose(recomputed, world.pairs["logit"], rtol=0, atol=1e-12)
        bins = pd.cut(world.pairs["probability"], np.linspace(0, 1, 11).tolist())
        table = world.pairs.groupby(bins, observed=True).agg(
            n=("label", "size"), share=("label", "mean"), p=("probability", "mean")
        )
        z: pd.Series = (table["share"] - table["p"]) / np.sqrt(table["p"] * (1 - table["p"]) / table["n"])
        assert len(table) == 10
        assert z.abs().max() < 4

    def test_parts_of_the_shift_add_up(self, world: World) -> None:
        lines = world.environments
        whole = lines["impedance"] - world.config.temperature * world.config.impedance_mean
        np.testing.assert_allclose(lines["label_shift"] + lines["concept_shift"], whole, atol=1e-12)
        np.testing.assert_allclose(lines["label_shift"], WORLDS[world.world] * whole, atol=1e-12)


class TestPairs:
    def test_the_parts_share_no_element_and_no_chromosome(self, world: World) -> None:
        elements = world.universe.elements
        used = {
            split: set(np.union1d(part["enhancer"], part["promoter"]).tolist())
            for split, part in world.pairs.groupby("split")
        }
        chroms = {split: set(elements.loc[sorted(ids), "chrom"]) for split, ids in used.items()}
        for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
            assert not used[a] & used[b]
            assert not chroms[a] & chroms[b]
        roles = world.environments.set_index("cell_line")["role"]
        assert ((world.pairs["cell_line"].map(roles) == "unseen") == (world.pairs["split"] == "test")).all()

    def test_pairs_are_distinct_and_repeat_elements(self, world: World) -> None:
        assert not world.pairs.duplicated(["cell_line", "enhancer", "promoter"]).any()
        for _, part in world.pairs[world.pairs["split"] == "test"].groupby("cell_line"):
            assert 2 < len(part) / part["enhancer"].nunique() < 8
        lines_of_an_enhancer = world.pairs.groupby("enhancer")["cell_line"].nunique()
        assert lines_of_an_enhancer.mean() > 1.8

    def test_pairs_lie_in_a_locus_on_both_sides(self, world: World) -> None:
        elements = world.universe.elements
        enhancer = elements.iloc[world.pairs["enhancer"]].reset_index(drop=True)
        promoter = elements.iloc[world.pairs["promoter"]].reset_index(drop=True)
        assert (enhancer["kind"] == "enhancer").all() and (promoter["kind"] == "promoter").all()
        assert (enhancer["locus"] == promoter["locus"]).all()
        upstream = promoter["start"] < enhancer["start"]
        assert (upstream == world.pairs["mirrored"]).all()
        assert 0.4 < upstream.mean() < 0.6

    def test_sizes_vary_within_their_bounds(self, world: World) -> None:
        for split, part in world.pairs.groupby("split"):
            sizes = part.groupby("cell_line").size()
            low, high = getattr(world.config, str(split)).pairs
            assert low <= sizes.min() < 0.8 * sizes.max() <= 0.8 * high
        assert 0.2 < world.pairs["label"].mean() < 0.35

    def test_elements_lie_apart_on_small_chromosomes(self, world: World) -> None:
        elements = world.universe.elements
        for chrom, part in elements.groupby("chrom"):
            assert (part["start"].to_numpy()[1:] > part["end"].to_numpy()[:-1]).all()
            assert part["start"].min() > 0 and part["end"].max() < world.universe.chromosomes[str(chrom)]
        assert sum(world.universe.chromosomes.values()) < 17.5e6
        assert (elements["end"] - elements["start"]).sum() <= 16e6


class TestGrammar:
    def test_potential_by_hand(self) -> None:
        """Two enhancer motifs (slots 0, 1), two promoter motifs (2, 3); the second pair is mirrored."""
        slots = Slots(slice(0, 2), slice(2, 4), slice(4, 4), slice(4, 4), 4, 1, slice(4, 4))
        sites = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1], [0, 0, 1, 1]], dtype=np.int8)
        pairs = pd.DataFrame(
            {"enhancer": 0, "promoter": [1, 1, 2, 3, 3], "mirrored": [False, True, False, False, True]}
        )
        universe = Universe(pd.DataFrame(), sites, pairs, {})
        rules = (
            Rule(0, None, 1.0),
            Rule(None, 1, 10.0),
            Rule(0, 0, 100.0, convergent=True),
            Rule(0, 0, 1000.0),
            Rule(1, 1, 1e6),
        )
        potential = Grammar(rules, 0.5).potential(universe, slots)
        # Pair 0: forward then reverse. Pair 1, mirrored: reverse then forward. Pair 4: reverse, then reverse.
        np.testing.assert_allclose(potential, [1101.5, 1001.5, 11.5, 1011.5, 1011.5])

    def test_motifs_are_sharp_and_distinct(self, demo: dict) -> None:
        world = demo["both", 0]
        assert len(set(world.motifs)) == world.slots.count
        for motif in world.motifs:
            assert 8 <= len(world.bank.probabilities[motif]) <= 18
            assert world.bank.information[motif] >= 13.9

    def test_grammar_says_nothing_about_burdens(self, demo: dict) -> None:
        world = demo["both", 0]
        present = world.universe.sites != 0
        enhancers = world.universe.elements["kind"].to_numpy() == "enhancer"
        for name in ("trace", "nuisance"):
            burden = world.universe.elements[name].to_numpy()[enhancers]
            assert burden.std() == pytest.approx(1.0, abs=0.05)
            for slot in range(world.config.grammar_motifs):
                carried = present[enhancers, slot]
                assert 0.4 < carried.mean() < 0.5
                assert abs(np.corrcoef(burden, carried)[0, 1]) < 4 / np.sqrt(enhancers.sum())


class TestSeeds:
    def test_a_seed_decides_everything(self, bank: MotifBank) -> None:
        first, second = (simulate(PRESETS["tiny"], "both", 5, bank=bank) for _ in range(2))
        pd.testing.assert_frame_equal(first.pairs, second.pairs)
        pd.testing.assert_frame_equal(first.environments, second.environments)
        other = simulate(PRESETS["tiny"], "both", 6, bank=bank)
        assert other.grammar != first.grammar

    def test_worlds_of_a_seed_share_elements_and_grammar(self, demo: dict) -> None:
        label, concept = demo["label", 0], demo["concept", 0]
        np.testing.assert_array_equal(label.universe.sites, concept.universe.sites)
        assert label.grammar == concept.grammar
        np.testing.assert_array_equal(label.environments["impedance"], concept.environments["impedance"])

    def test_one_more_cell_line_leaves_the_universe_alone(self, bank: MotifBank) -> None:
        few = simulate(PRESETS["tiny"], "both", 1, bank=bank)
        more = simulate(replace(PRESETS["tiny"], unseen_lines=6), "both", 1, bank=bank)
        assert few.grammar == more.grammar
        columns = few.pairs["split"] != "test", more.pairs["split"] != "test"
        pd.testing.assert_frame_equal(few.pairs[columns[0]], more.pairs[columns[1]])


class TestRefusals:
    def test_unknown_world(self, bank: MotifBank) -> None:
        with pytest.raises(ConfigError, match="'shift' is not one of label, concept, both"):
            simulate(PRESETS["tiny"], "shift", 0, bank=bank)

    def test_too_few_pairs(self, bank: MotifBank) -> None:
        small = replace(PRESETS["tiny"], train=SetConfig(1, 2, (5000, 5000)))
        with pytest.raises(ConfigError, match="needs 5000; give them more loci"):
            simulate(small, "both", 0, bank=bank)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"enhancer_length": 200}, "cannot hold all motifs"),
            ({"main_effects": 6}, "more main effects than motifs"),
            ({"rules": 26}, "26 rules need more than 5 motifs"),
            ({"spacer": (5, 2)}, "not a pair of minimum and maximum"),
            ({"unseen_lines": 0}, "at least one training and one unseen"),
        ],
    )
    def test_impossible_config(self, change: dict, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            replace(PRESETS["tiny"], **change)

    @pytest.mark.parametrize("value", [-1, 10**18, math.nan, math.inf, "x", None, 1e300, True, (1, 2, 3), (1,)])
    @pytest.mark.parametrize("name", [item.name for item in fields(WorldConfig) if item.name in DOMAINS])
    def test_every_number_has_a_domain(self, name: str, value: Any) -> None:
        given: Any = (1, value) if isinstance(getattr(PRESETS["tiny"], name), tuple) and value != (1,) else value
        if (name == "selection" and value == -1) or (value is None and name in OPTIONAL):
            return
        with pytest.raises(ConfigError, match=f"^{name} "):
            replace(PRESETS["tiny"], **{name: given})

    @pytest.mark.parametrize("value", [-1, 10**18, math.nan, 0.5, "x", None, True])
    @pytest.mark.parametrize("name", ["chromosomes", "loci", "pairs"])
    def test_so_has_every_number_of_a_set(self, name: str, value: Any) -> None:
        given: Any = {name: (1, value) if name == "pairs" else value}
        with pytest.raises(ConfigError, match=f"^{name} "):
            replace(PRESETS["tiny"].train, **given)

    def test_all_numbers_are_known(self) -> None:
        numbers = {item.name for kind in (SetConfig, WorldConfig) for item in fields(kind)}
        assert numbers - set(DOMAINS) == {"train", "val", "test", "chance_sites"}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"enhancer_length": 1_000_000, "enhancers_per_locus": (8, 20_000)}, "may have .* bases; needed at most"),
            ({"spacer": (0, 1_000_000), "enhancers_per_locus": (8, 20_000)}, "bases; needed at most"),
            ({"enhancers_per_locus": (1, 10_000), "promoters_per_locus": (1, 10_000)}, "of one locus; needed at most"),
            ({"training_lines": 100_000, "train": SetConfig(3, 32, (9, 100_000))}, "pairs of cell lines; needed"),
            ({"unseen_lines": 100_000, "test": SetConfig(3, 32, (9, 100_000))}, "pairs of cell lines; needed"),
        ],
    )
    def test_a_world_too_large_for_any_machine(self, change: dict, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            replace(PRESETS["tiny"], **change)

    def test_too_few_motifs(self, bank: MotifBank) -> None:
        few = MotifBank(ids=bank.ids[:5], names=bank.names[:5], probabilities=bank.probabilities[:5])
        with pytest.raises(ConfigError, match="26 are needed"):
            simulate(PRESETS["tiny"], "both", 0, bank=few)


@pytest.fixture(scope="module")
def rerank() -> World:
    return simulate(PRESETS["tiny"], RERANK, 0)


class TestRerank:
    """The world whose environments re-rank pairs."""

    def test_exposures_lie_on_the_simplex_and_are_those_of_the_sites(self, rerank: World) -> None:
        pairs, universe, spectrum = rerank.pairs, rerank.universe, rerank.spectrum
        assert spectrum is not None
        first = pairs["exposure_1"].to_numpy()
        np.testing.assert_allclose(first + pairs["exposure_2"], 1.0)
        site = universe.sites[:, rerank.slots.exposure] != 0
        enhancer, promoter = (site[pairs[kind].to_numpy(), k] for k, kind in enumerate(("enhancer", "promoter")))
        for e in (False, True):
            for p in (False, True):
                here = (enhancer == e) & (promoter == p)
                log_odds = spectrum.enhancer_weight * (2 * e - 1) + spectrum.promoter_weight * (2 * p - 1)
                assert here.any()
                np.testing.assert_allclose(first[here], 1 / (1 + np.exp(-log_odds)))

    def test_exposure_motifs_stand_in_their_own_kind_only(self, rerank: World) -> None:
        site = rerank.universe.sites[:, rerank.slots.exposure] != 0
        is_enhancer = (rerank.universe.elements["kind"] == "enhancer").to_numpy()
        assert not site[~is_enhancer, 0].any() and not site[is_enhancer, 1].any()
        assert abs(site[is_enhancer, 0].mean() - 0.5) < 0.1 and abs(site[~is_enhancer, 1].mean() - 0.5) < 0.1

    def test_the_impedance_of_a_pair_is_the_mean_over_channels(self, rerank: World) -> None:
        lines = rerank.environments.set_index("cell_line").loc[rerank.pairs["cell_line"]]
        expected = sum(rerank.pairs[f"exposure_{k}"].to_numpy() * lines[f"impedance_{k}"].to_numpy() for k in (1, 2))
        np.testing.assert_allclose(rerank.pairs["impedance"], expected)
        logit = (rerank.pairs["potential"] - rerank.pairs["impedance"]) / rerank.config.temperature
        np.testing.assert_allclose(rerank.pairs["logit"], logit)
        assert (rerank.environments[["impedance_1", "impedance_2"]] > 0).all(axis=None)

    def test_channels_have_deviations_and_traces_of_their_own(self) -> None:
        lines = simulate(PRESETS["demo"], RERANK, 0).environments
        lines = lines[lines["role"] == "train"]
        one, two = lines["impedance_1"], lines["impedance_2"]
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
        for k, other in ((1, 2), (2, 1)):
            trace = lines[f"trace_factor_{k}"]
            assert np.corrcoef(lines[f"impedance_{k}"], trace)[0, 1] ** 2 == pytest.approx(0.75, abs=0.05)
            assert abs(np.corrcoef(lines[f"impedance_{other}"], trace)[0, 1]) < 0.3

    def test_the_candidates_of_a_cell_line_show_each_trace(self) -> None:
        world = simulate(PRESETS["demo"], RERANK, 0)
        lines = world.environments.set_index("cell_line")
        for k in (1, 2):
            burden = world.universe.elements[f"trace_{k}"].to_numpy()
            mean = burden[world.pairs["enhancer"].to_numpy()] + burden[world.pairs["promoter"].to_numpy()]
            shown = pd.Series(mean).groupby(world.pairs["cell_line"].to_numpy()).mean()
            assert np.corrcoef(shown, lines.loc[shown.index, f"trace_factor_{k}"])[0, 1] > 0.8

    @pytest.mark.parametrize("seed", [0, 1])
    def test_what_there_is_to_gain_inside_unseen_cell_lines(self, seed: int) -> None:
        pairs = simulate(PRESETS["demo"], RERANK, seed).pairs
        gains = [
            known(average_precision(part["label"].to_numpy(), part["logit"].to_numpy()))
            - known(average_precision(part["label"].to_numpy(), part["potential"].to_numpy()))
            for _, part in pairs[pairs["split"] == "test"].groupby("cell_line")
        ]
        assert 0.03 < np.mean(gains) < 0.06

    def test_the_other_worlds_know_no_spectrum(self) -> None:
        world = simulate(PRESETS["tiny"], "concept", 0)
        assert world.spectrum is None and world.slots.count == 26
        assert not [name for name in map(str, world.pairs) if "exposure" in name or name == "impedance"]

    def test_elements_too_short_for_the_exposure_motifs_are_refused(self) -> None:
        config = replace(PRESETS["tiny"], enhancer_length=380)
        simulate(config, "concept", 0)
        with pytest.raises(ConfigError, match="make them longer"):
            simulate(config, RERANK, 0)
